// Whole kernels through the interpreter with poison on, against plain loops.
#include <gtest/gtest.h>

#include "dsl/interpret.h"
#include "tests/ir/kernels.h"

namespace tessera::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// |got - want| <= abs + rel |want|; equal infinities pass, NaN never does.
void expect_near(const Buffer& got, const std::vector<double>& want, double abs, double rel, const std::string& what) {
  ASSERT_EQ(got.size(), static_cast<std::int64_t>(want.size())) << what;
  for (std::size_t k = 0; k < want.size(); ++k) {
    const double g = got.get(static_cast<std::int64_t>(k));
    ASSERT_TRUE(g == want[k] || std::fabs(g - want[k]) <= abs + rel * std::fabs(want[k]))
        << what << " at " << k << ": got " << g << ", want " << want[k];
  }
}

/// Memory a kernel must fill: what it leaves untouched stays NaN.
Buffer unwritten(DType t, ir::Dims dims) {
  Buffer b(t, std::move(dims));
  b.fill(std::numeric_limits<double>::quiet_NaN());
  return b;
}

struct Shape2 {
  std::int64_t m, n;
};

TEST(InterpretKernels, CopyOfRaggedTiles) {
  const auto kernel = load_kernel("copy");
  for (const Shape2 s : {Shape2{32, 48}, {1, 1}, {33, 49}, {70, 100}, {5, 200}, {0, 7}, {7, 0}}) {
    Buffer x(DType::F32, {s.m, s.n});
    x.fill_random(1);
    Buffer y = unwritten(DType::F32, {s.m, s.n});
    Launch launch(*kernel);
    launch.view("x", x).view("y", y);
    interpret(*kernel, launch.frame());
    EXPECT_EQ(x.bytes, y.bytes) << s.m << " x " << s.n;
  }
}

TEST(InterpretKernels, RowSum) {
  const auto kernel = load_kernel("row_sum");
  for (const Shape2 s : {Shape2{16, 64}, {1, 1}, {17, 65}, {40, 130}, {3, 0}}) {
    Buffer x(DType::BF16, {s.m, s.n});
    x.fill_integers(2, 8);
    Buffer y = unwritten(DType::F32, {s.m});
    Launch launch(*kernel);
    launch.view("x", x).view("y", y);
    interpret(*kernel, launch.frame());
    expect_near(y, reference_row_sum(x), 0, 0, std::to_string(s.m) + " x " + std::to_string(s.n));
  }
}

TEST(InterpretKernels, Softmax) {
  const auto kernel = load_kernel("softmax");
  for (const Shape2 s : {Shape2{8, 32}, {1, 1}, {9, 33}, {20, 100}}) {
    Buffer x(DType::F32, {s.m, s.n});
    x.fill_random(3, 4);
    for (std::int64_t j = 1; j < s.n; j += 3) x.set(j, -kInf);  // a row with masked entries
    for (const bool exact : {false, true}) {
      Buffer y = unwritten(DType::F32, {s.m, s.n});
      Launch launch(*kernel);
      launch.view("x", x).view("y", y);
      InterpretOptions options;
      options.exact = exact;
      interpret(*kernel, launch.frame(), options);
      expect_near(y, reference_softmax(x), 1e-37, exact ? 1e-7 : 4e-6, std::to_string(s.m) + " x " + std::to_string(s.n));
    }
  }
}

TEST(InterpretKernels, Gemm) {
  const auto kernel = load_kernel("gemm");
  struct Shape {
    std::int64_t m, n, k;
  };
  for (const Shape s : {Shape{32, 48, 16}, {1, 1, 1}, {33, 50, 17}, {64, 96, 100}, {5, 100, 3}, {10, 10, 0}}) {
    Buffer a(DType::BF16, {s.m, s.k});
    Buffer b(DType::BF16, {s.k, s.n});
    a.fill_integers(4, 2);
    b.fill_integers(5, 2);
    Buffer c = unwritten(DType::BF16, {s.m, s.n});
    Launch launch(*kernel);
    launch.view("a", a).view("b", b).view("c", c);
    interpret(*kernel, launch.frame());
    std::vector<double> want = reference_gemm(a, b);
    for (double& w : want) w = round_to_float(DType::BF16, w);
    expect_near(c, want, 0, 0, std::to_string(s.m) + " x " + std::to_string(s.n) + " x " + std::to_string(s.k));
  }
}

void check_attention(const AttentionShape& s, bool exact) {
  const std::string what = "lq " + std::to_string(s.lq) + " lk " + std::to_string(s.lk) + " heads " + std::to_string(s.heads) + "/" +
                           std::to_string(s.kv_heads) + (exact ? " exact" : "");
  const auto kernel = load_kernel("attention");
  const double scale = 0.125;
  Buffer q(DType::BF16, {s.batch, s.lq, s.heads, s.dim});
  Buffer k(DType::BF16, {s.batch, s.lk, s.kv_heads, s.dim});
  Buffer v(DType::BF16, {s.batch, s.lk, s.kv_heads, s.dim});
  q.fill_random(6);
  k.fill_random(7);
  v.fill_random(8);
  Buffer o = unwritten(DType::BF16, q.dims);
  Buffer lse = unwritten(DType::F32, {s.batch, s.heads, s.lq});
  Launch launch(*kernel);
  launch.view("q", q).view("k", k).view("v", v).view("o", o).view("lse", lse).scalar("scale", scale).symbol("R", s.heads / s.kv_heads);
  InterpretOptions options;
  options.exact = exact;
  interpret(*kernel, launch.frame(), options);
  const AttentionReference want = reference_attention(s, q, k, v, scale);
  // exact: only the stores round. Otherwise each of up to lk products carries the rounding of a probability to bf16.
  expect_near(o, want.o, exact ? 1e-30 : 0.01, exact ? 0x1p-8 : 0.02, what + " o");
  expect_near(lse, want.lse, exact ? 1e-30 : 1e-5, exact ? 0x1p-23 : 1e-5, what + " lse");
}

TEST(InterpretKernels, Attention) {
  for (const bool exact : {false, true}) {
    check_attention({1, 32, 48, 1, 1}, exact);
    check_attention({2, 50, 50, 2, 1}, exact);
    check_attention({1, 1, 100, 4, 2}, exact);  // decode
    check_attention({1, 33, 97, 2, 2}, exact);  // append
    check_attention({1, 70, 20, 2, 1}, exact);  // 50 rows see nothing
    check_attention({1, 40, 0, 1, 1}, exact);   // no keys at all
    check_attention({1, 1, 1, 1, 1}, exact);
    check_attention({1, 0, 10, 1, 1}, exact);
  }
}

TEST(InterpretKernels, LayerNorm) {
  const auto kernel = load_kernel("layer_norm");
  for (const Shape2 s : {Shape2{4, 64}, {1, 1}, {5, 65}, {9, 200}}) {
    Buffer x(DType::BF16, {s.m, s.n});
    Buffer w(DType::F32, {s.n});
    x.fill_random(9, 3);
    w.fill_random(10);
    Buffer y = unwritten(DType::BF16, {s.m, s.n});
    Launch launch(*kernel);
    launch.view("x", x).view("w", w).view("y", y).scalar("eps", 1e-5);
    interpret(*kernel, launch.frame());
    expect_near(y, reference_layer_norm(x, w, 1e-5), 1e-5, 0x1p-7, std::to_string(s.m) + " x " + std::to_string(s.n));
  }
}

TEST(InterpretKernels, PagedDecode) {
  const auto kernel = load_kernel("paged_decode");
  const std::int64_t batch = 4, groups = 2, pages = 9, most = 4, dim = 64;
  const std::int64_t lengths[] = {37, 16, 1, 0};
  Buffer q(DType::BF16, {batch, groups, 8, dim}), kpool(DType::BF16, {pages, 16, groups, dim}), vpool(kpool.dtype, kpool.dims);
  q.fill_random(11);
  kpool.fill_random(12);
  vpool.fill_random(13);
  Buffer table = ints(DType::I32, {batch, most}, {7, 2, 5, -1, 0, 99, 99, 99, 3, -1, -1, -1, -1, -1, -1, -1});
  Buffer len = ints(DType::I32, {batch}, {lengths[0], lengths[1], lengths[2], lengths[3]});
  Buffer o = unwritten(DType::BF16, q.dims);
  Launch launch(*kernel);
  launch.view("q", q).view("kpool", kpool).view("vpool", vpool).view("table", table).view("len", len).view("o", o).scalar("scale", 0.125);
  interpret(*kernel, launch.frame());
  std::vector<double> want;
  for (std::int64_t b = 0; b < batch; ++b) {
    // The pages laid end to end make an ordinary attention of one query.
    const AttentionShape shape{1, 1, lengths[b], groups * 8, groups, dim};
    Buffer q1(DType::BF16, {1, 1, groups * 8, dim}), k1(DType::BF16, {1, lengths[b], groups, dim}), v1(k1.dtype, k1.dims);
    for (std::int64_t at = 0; at < q1.size(); ++at) q1.set(at, q.get(b * q1.size() + at));
    const std::int64_t row = groups * dim;
    for (std::int64_t j = 0; j < lengths[b]; ++j) {
      const std::int64_t from = (table.get_int(b * most + j / 16) * 16 + j % 16) * row;
      for (std::int64_t e = 0; e < row; ++e) {
        k1.set(j * row + e, kpool.get(from + e));
        v1.set(j * row + e, vpool.get(from + e));
      }
    }
    const std::vector<double> part = reference_attention(shape, q1, k1, v1, 0.125).o;
    want.insert(want.end(), part.begin(), part.end());
  }
  expect_near(o, want, 0.01, 0.02, "o");
}

TEST(InterpretKernels, Bucket) {
  const auto kernel = load_kernel("bucket");
  Buffer ids = ints(DType::I32, {11}, {2, 0, -1, 2, 1, 0, 0, -1, 2, 2, 1});
  Buffer start = ints(DType::I32, {3}, {0, 3, 5});
  Buffer cursor = ints(DType::I32, {3}, {0, 0, 0});
  Buffer src = ints(DType::I32, {10}, std::vector<std::int64_t>(10, -7));
  Buffer place(DType::I32, {11});
  Launch launch(*kernel);
  launch.view("ids", ids).view("start", start).view("cursor", cursor).view("src", src).view("place", place);
  interpret(*kernel, launch.frame());
  EXPECT_EQ(cursor.bytes, ints(DType::I32, {3}, {3, 2, 4}).bytes);
  EXPECT_EQ(src.bytes, ints(DType::I32, {10}, {1, 5, 6, 4, 10, 0, 3, 8, 9, -7}).bytes);
  EXPECT_EQ(place.bytes, ints(DType::I32, {11}, {5, 0, -1, 6, 3, 1, 2, -1, 7, 8, 4}).bytes);
}

/// The guards are what keeps padding out: without poison nothing may change, and a kernel that forgets one shows NaN.
TEST(InterpretKernels, PoisonShowsAForgottenGuard) {
  auto kernel = load_kernel("row_sum");
  ir::walk(kernel->body, [](ir::Op& op) {
    for (ir::Value*& v : op.operands) {
      if (v->def != nullptr && v->def->kind == ir::OpKind::Select) v = v->def->operands[1];
    }
  });
  Buffer x(DType::BF16, {16, 65});
  x.fill(1);
  for (const bool poison : {false, true}) {
    Buffer y(DType::F32, {16});
    Launch launch(*kernel);
    launch.view("x", x).view("y", y);
    InterpretOptions options;
    options.poison = poison;
    interpret(*kernel, launch.frame(), options);
    EXPECT_EQ(std::isnan(y.get(0)), poison);
  }
}

}  // namespace
}  // namespace tessera::test
