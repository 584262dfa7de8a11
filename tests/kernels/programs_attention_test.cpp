// The attention programs of tests/programs at tiny shapes, against the float64 oracle.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/kernels/philox_oracle.h"
#include "tests/kernels/requests.h"

namespace tessera::test {
namespace {

constexpr On kTargets[] = {On::Interp, On::Exact, On::Cpu};
constexpr DType kT = DType::BF16;
constexpr double kScale = 0.125;

Buffer random(DType t, ir::Dims dims, unsigned seed) { return Buffer(t, std::move(dims)).fill_random(seed); }

/// x permuted so that result axis i is axis perm[i] of x.
std::vector<double> permuted(const Buffer& x, const std::vector<int>& perm) {
  std::vector<double> out;
  const ir::Dims strides = row_major(x.dims);
  std::vector<std::int64_t> at(perm.size(), 0);
  for (std::int64_t n = 0; n < x.size(); ++n) {
    std::int64_t from = 0;
    for (std::size_t a = 0; a < perm.size(); ++a) from += at[a] * strides[static_cast<std::size_t>(perm[a])];
    out.push_back(x.get(from));
    for (std::size_t a = perm.size(); a-- > 0;) {
      if (++at[a] < x.dims[static_cast<std::size_t>(perm[a])]) break;
      at[a] = 0;
    }
  }
  return out;
}

/// One batch entry of a dense launch [1, Sq, H, D].
struct Dense {
  int lq = 22, lk = 37, g = 1, r = 2, d = 64;

  Call call(const std::string& file, const std::string& kernel) const {
    Call c{.file = "tests/programs/" + file + ".tile", .kernel = kernel, .constants = {{"T", kT}, {"D", d}, {"R", r}, {"BM", 16}, {"BN", 16}}};
    c.tensors = {{"q", random(kT, {1, lq, g * r, d}, 1)},
                 {"k", random(kT, {1, lk, g, d}, 2)},
                 {"v", random(kT, {1, lk, g, d}, 3)},
                 {"o", unwritten(kT, {1, lq, g * r, d})},
                 {"lse", unwritten(DType::F32, {1, lq, g * r})}};
    c.scalars["scale"] = kScale;
    return c;
  }
  Attention problem(const Call& c) const {
    return {.lq = lq,
            .lk = lk,
            .heads = g * r,
            .kv_heads = g,
            .d = d,
            .e = d,
            .scale = kScale,
            .q = values(c.tensors.at("q")),
            .k = values(c.tensors.at("k")),
            .v = values(c.tensors.at("v"))};
  }
  void check(const Call& c, const Attention& a) const {
    for (const On on : kTargets) {
      const auto out = run(c, on);
      expect_attention(values(out.at("o")), values(out.at("lse")), a, kT, on == On::Exact, fmt::format("{} on {}", c.kernel, name(on)));
    }
  }
};

// cap * tanh(s / cap) - slope * (q - k), keys k <= q, k > q - left.
void gemma(Call& c, int heads) {
  Buffer slopes(DType::F32, {heads});
  for (int h = 0; h < heads; ++h) slopes.set(h, 0.25 / (1 + h));
  c.tensors.emplace("x.slopes", slopes);
  c.scalars["x.cap"] = 1.5;
  c.scalars["x.left"] = 9;
}
void gemma(Attention& a) {
  a.score = [](double s, int h, int i, int j) { return 1.5 * std::tanh(s / 1.5) - static_cast<float>(0.25 / (1 + h)) * (i - j); };
  a.keep = [](int, int i, int j) { return j <= i && j > i - 9; };
}

TEST(Programs, Attention) {
  const Dense s;
  Call c = s.call("attention", "gemma_fwd");
  gemma(c, 2);
  Attention a = s.problem(c);
  gemma(a);
  s.check(c, a);

  c = s.call("attention", "drop_fwd");
  c.scalars["x.seed"] = 3;
  c.scalars["x.keep_p"] = 0.5;
  a = s.problem(c);
  a.factor = [](int h, int i, int j) { return uniform4(3, 0, h, i, j) < 0.5F ? 2.0 : 0.0; };
  s.check(c, a);
}

TEST(Programs, Zoo) {
  const Dense s{.lq = 30, .lk = 30};
  Call c = s.call("zoo", "fwd_docs");
  Buffer doc(DType::I32, {30});
  for (int i = 0; i < 30; ++i) doc.set_int(i, i / 7);
  c.tensors.emplace("x.doc", doc);
  Attention a = s.problem(c);
  a.keep = [](int, int i, int j) { return i / 7 == j / 7 && j <= i; };
  s.check(c, a);

  c = s.call("zoo", "fwd_bits");
  Buffer bits(DType::U8, {(30 * 30 + 7) / 8});
  for (std::int64_t i = 0; i < bits.size(); ++i) bits.set_int(i, i * 73 % 256);
  c.tensors.emplace("x.bits", bits);
  c.tensors.emplace("x.off", Buffer(DType::I32, {1}).fill(0));
  a = s.problem(c);
  a.keep = [&bits](int, int i, int j) { return (bits.get_int((i * 30 + j) / 8) >> (i * 30 + j) % 8 & 1) != 0; };
  s.check(c, a);

  c = s.call("zoo", "fwd_win");
  c.scalars["x.left"] = 5;
  c.scalars["x.chunk"] = 8;
  c.scalars["x.cap"] = 1;
  a = s.problem(c);
  a.score = [](double x, int, int, int) { return std::tanh(x); };
  a.keep = [](int, int i, int j) { return j <= i && j >= i - 5; };
  s.check(c, a);
}

TEST(Programs, SigmoidAttention) {
  Call c{.file = "tests/programs/zoo.tile", .kernel = "sigmoid_attn", .constants = {{"T", kT}, {"D", 64}, {"BM", 16}, {"BN", 16}}};
  c.tensors = {{"q", random(kT, {1, 2, 18, 64}, 1)},
               {"k", random(kT, {1, 2, 25, 64}, 2)},
               {"v", random(kT, {1, 2, 25, 64}, 3)},
               {"o", unwritten(kT, {1, 2, 18, 64})}};
  c.scalars = {{"scale", kScale}, {"bias", -2}};
  for (const On on : kTargets) {
    const auto out = run(c, on);
    for (int row = 0; row < 2 * 18; ++row) {
      const int h = row / 18;
      for (int x = 0; x < 64; ++x) {
        double want = 0;
        double size = 0;
        for (int j = 0; j <= row % 18 + 7; ++j) {
          double s = 0;
          for (int y = 0; y < 64; ++y) s += c.tensors.at("q").get(row * 64 + y) * c.tensors.at("k").get((h * 25 + j) * 64 + y);
          const double p = c.tensors.at("v").get((h * 25 + j) * 64 + x) / (1 + std::exp(-(s * kScale - 2)));
          want += p;
          size += std::fabs(p);
        }
        const double inner = on == On::Exact ? 1e-9 : 1.1 * roundoff(kT) * size;  // weights are rounded to T
        ASSERT_NEAR(out.at("o").get(row * 64 + x), want, inner + 1.01 * roundoff(kT) * std::fabs(want))
            << name(on) << ", row " << row << ", column " << x;
      }
    }
  }
}

TEST(Programs, DifferentialAttention) {
  Call c{.file = "tests/programs/zoo.tile", .kernel = "diff_attn", .constants = {{"T", kT}, {"D", 64}, {"E", 32}, {"BM", 16}, {"BN", 16}}};
  const int lq = 18;
  const int lk = 25;
  c.tensors = {{"q", random(kT, {1, 1, 2, lq, 64}, 1)},
               {"k", random(kT, {1, 1, 2, lk, 64}, 2)},
               {"v", random(kT, {1, 1, lk, 32}, 3)},
               {"lambda", Buffer(DType::F32, {1}).fill(0.5)},
               {"o", unwritten(kT, {1, 1, lq, 32})}};
  c.scalars["scale"] = kScale;
  AttentionResult half[2];
  for (int n = 0; n < 2; ++n) {
    Attention a{.lq = lq, .lk = lk, .d = 64, .e = 32, .scale = kScale, .v = values(c.tensors.at("v"))};
    const std::vector<double> q = values(c.tensors.at("q"));
    const std::vector<double> k = values(c.tensors.at("k"));
    a.q.assign(q.begin() + n * lq * 64, q.begin() + (n + 1) * lq * 64);
    a.k.assign(k.begin() + n * lk * 64, k.begin() + (n + 1) * lk * 64);
    a.keep = [](int, int i, int j) { return j <= i + lk - lq; };
    half[n] = attend(a);
  }
  std::vector<double> want;
  for (std::size_t i = 0; i < half[0].o.size(); ++i) want.push_back(half[0].o[i] - 0.5 * half[1].o[i]);
  for (const On on : kTargets) expect_near(values(run(c, on).at("o")), want, on == On::Exact ? 1e-9 : 1e-2, 1.01 * roundoff(kT), name(on));
}

TEST(Programs, FlashAttention1) {
  const int lq = 22;
  const int lk = 37;
  Call c{.file = "tests/programs/fa1.tile", .kernel = "fa1_fwd", .constants = {{"T", kT}, {"D", 32}, {"BM", 16}, {"BN", 16}}};
  c.tensors = {{"q", random(kT, {1, 2, lq, 32}, 1)},         {"k", random(kT, {1, 2, lk, 32}, 2)},     {"v", random(kT, {1, 2, lk, 32}, 3)},
               {"o", unwritten(DType::F32, {1, 2, lq, 32})}, {"m", unwritten(DType::F32, {1, 2, lq})}, {"l", unwritten(DType::F32, {1, 2, lq})}};
  c.scalars["scale"] = kScale;
  Attention a{.lq = lq, .lk = lk, .heads = 2, .kv_heads = 2, .d = 32, .e = 32, .scale = kScale};
  a.q = permuted(c.tensors.at("q"), {0, 2, 1, 3});
  a.k = permuted(c.tensors.at("k"), {0, 2, 1, 3});
  a.v = permuted(c.tensors.at("v"), {0, 2, 1, 3});
  a.keep = [](int, int i, int j) { return j <= i; };
  for (const On on : {On::Interp, On::Cpu}) {
    const auto out = run(c, on);
    std::vector<double> lse = permuted(out.at("m"), {0, 2, 1});
    const std::vector<double> l = permuted(out.at("l"), {0, 2, 1});
    for (std::size_t i = 0; i < l.size(); ++i) lse[i] += std::log(l[i]);
    expect_attention(permuted(out.at("o"), {0, 2, 1, 3}), lse, a, kT, false, name(on));
  }
}

/// A weighted sum of partial results (o, lse) of one row.
struct Partial {
  const Buffer *o, *lse;
  std::int64_t row;
};
void merge(const std::vector<Partial>& parts, int e, std::vector<double>& o, std::vector<double>& lse) {
  double m = -std::numeric_limits<double>::infinity();
  for (const Partial& p : parts) m = std::max(m, p.lse->get(p.row));
  double total = 0;
  std::vector<double> sum(static_cast<std::size_t>(e));
  for (const Partial& p : parts) {
    const double w = std::isinf(m) ? 0 : std::exp(p.lse->get(p.row) - m);
    total += w;
    for (int x = 0; x < e; ++x) sum[static_cast<std::size_t>(x)] += w * p.o->get(p.row * e + x);
  }
  for (const double x : sum) o.push_back(total > 0 ? x / total : 0);
  lse.push_back(m + std::log(total));
}

TEST(Programs, Decode) {
  const Requests r({{1, 1}, {1, 0}, {1, 54}, {1, 97}}, 2, 4, 64);
  for (const std::string kernel : {"decode_split", "gemma_decode"}) {
    Call c{.file = "tests/programs/decode.tile", .kernel = kernel, .constants = {{"BM", 8}, {"BN", 64}}};
    r.decode(c, 3);
    r.paged(c, 16, true);
    if (kernel == "gemma_decode") gemma(c, r.heads());
    for (const On on : kTargets) {
      const auto out = run(c, on);
      for (int b = 0; b < r.size(); ++b) {
        Attention a = r.problem(b);
        if (kernel == "gemma_decode") gemma(a);
        std::vector<double> o;
        std::vector<double> lse;
        for (int h = 0; h < r.heads(); ++h) {
          std::vector<Partial> parts;
          for (int w = 0; w < 3; ++w) parts.push_back({&out.at("part"), &out.at("stat"), (b * 3 + w) * r.heads() + h});
          merge(parts, r.d(), o, lse);
        }
        expect_attention(o, lse, a, kT, false, fmt::format("{} on {}, request {}", kernel, name(on), b));
      }
    }
  }
}

/// A work item of a host plan: tile `t` of request `b` over keys lo .. hi; slot < 0: it is the whole row block.
struct Item {
  int b, t, lo, hi, slot;
};

Buffer column(const std::vector<Item>& items, int Item::* field) {
  std::vector<std::int64_t> out;
  for (const Item& i : items) out.push_back(i.*field);
  return ints(DType::I32, {static_cast<std::int64_t>(items.size())}, out);
}

// Ragged and paged prefill by a plan in which long requests are split over their keys.
TEST(Programs, Prefill) {
  const Requests r({{9, 40}, {0, 10}, {17, 17}, {1, 0}, {3, 70}}, 2, 2, 64);
  const int bm = 16;
  std::vector<Item> items;
  int slots = 0;
  for (int b = 0; b < r.size(); ++b) {
    for (int t = 0; t * bm < r.lq(b) * 2; ++t) {
      if (r.lk(b) < 32) {
        items.push_back({b, t, 0, r.lk(b), -1});
      } else {
        for (int lo = 0; lo < r.lk(b); lo += 32) items.push_back({b, t, lo, std::min(lo + 32, r.lk(b)), slots++});
      }
    }
  }
  for (const std::string kernel : {"prefill_ragged", "prefill_paged"}) {
    Call c{.file = "tests/programs/prefill.tile",
           .kernel = kernel,
           .constants = {{"E", 64}, {"BM", bm}, {"BN", 16}, {"X", "att.None"}, {"variant", "att.bottom_right"}}};
    r.packed(c, bm);
    c.tensors.erase("slots");
    std::vector<Item> planned = items;
    if (kernel == "prefill_ragged") {
      r.ragged(c);
    } else {
      r.paged(c, 16, false);
      planned.push_back({-1, 0, 0, 0, 0});  // padding of a captured grid
    }
    c.tensors.emplace("plan.req", column(planned, &Item::b));
    c.tensors.emplace("plan.tile", column(planned, &Item::t));
    c.tensors.emplace("plan.lo", column(planned, &Item::lo));
    c.tensors.emplace("plan.hi", column(planned, &Item::hi));
    c.tensors.emplace("plan.slot", column(planned, &Item::slot));
    const auto n = static_cast<std::int64_t>(planned.size());
    c.tensors.emplace("plan.first", ints(DType::I32, {4}, {0, n / 3, n / 3, n}));  // three workers, one of them idle
    c.tensors.emplace("part", unwritten(DType::F32, {slots, 2, bm, 64}));
    c.tensors.emplace("stat", unwritten(DType::F32, {slots, 2, bm}));
    for (const On on : kTargets) {
      const auto out = run(c, on);
      for (int b = 0; b < r.size(); ++b) {
        Attention a = r.problem(b);
        a.keep = [lq = a.lq, lk = a.lk](int, int i, int j) { return j <= i + lk - lq; };
        std::vector<double> o = r.queries_of(out.at("o"), b);
        std::vector<double> lse = r.queries_of(out.at("lse"), b);
        if (r.lk(b) >= 32) {
          o.clear();
          lse.clear();
          for (int i = 0; i < r.lq(b); ++i) {
            for (int h = 0; h < 4; ++h) {
              const int row = i * 2 + h % 2;  // of the tile of head group h / 2
              std::vector<Partial> parts;
              for (const Item& item : items) {
                if (item.b == b && item.t == row / bm) parts.push_back({&out.at("part"), &out.at("stat"), (item.slot * 2 + h / 2) * bm + row % bm});
              }
              merge(parts, 64, o, lse);
            }
          }
        }
        expect_attention(o, lse, a, kT, false, fmt::format("{} on {}, request {}", kernel, name(on), b));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Programs, PrefillAndDecodeInOneLaunch) {
  const Requests r({{1, 40}, {1, 0}, {1, 21}}, 2, 2, 64);
  const int lq = 11;
  const int lk = 30;
  const int bm = 16;
  Call c{.file = "tests/programs/pod.tile", .kernel = "pod", .constants = {{"BP", bm}, {"BD", bm}, {"NPF", 16}, {"NDC", 16}}};
  Call decode;
  r.decode(decode, 1);
  r.paged(c, 16, false);
  c.constants.insert(decode.constants.begin(), decode.constants.end());
  c.scalars["scale"] = kScale;
  std::vector<Item> items;
  std::vector<std::int64_t> kind;
  for (int t = 0; t * bm < lq * 2; ++t) items.push_back({0, t, 0, 0, 0}), kind.push_back(0);
  for (int b = 0; b < r.size(); ++b) {
    for (int lo = 0; lo < std::max(r.lk(b), 1); lo += 24) items.push_back({b, 0, lo, std::min(lo + 24, r.lk(b)), 0}), kind.push_back(1);
  }
  const auto w = static_cast<std::int64_t>(items.size());
  c.tensors.insert({{"qp", random(kT, {lq, 4, 64}, 11)},
                    {"kp", random(kT, {lk, 2, 64}, 12)},
                    {"vp", random(kT, {lk, 2, 64}, 13)},
                    {"op", unwritten(kT, {lq, 4, 64})},
                    {"qd", decode.tensors.at("q")},
                    {"kind", ints(DType::I32, {w}, kind)},
                    {"req", column(items, &Item::b)},
                    {"tile", column(items, &Item::t)},
                    {"lo", column(items, &Item::lo)},
                    {"hi", column(items, &Item::hi)},
                    {"pd", unwritten(DType::F32, {w, 2, bm, 64})},
                    {"sd", unwritten(DType::F32, {w, 2, bm})}});
  for (const On on : kTargets) {
    const auto out = run(c, on);
    Attention a{.lq = lq,
                .lk = lk,
                .heads = 4,
                .kv_heads = 2,
                .d = 64,
                .e = 64,
                .scale = kScale,
                .q = values(c.tensors.at("qp")),
                .k = values(c.tensors.at("kp")),
                .v = values(c.tensors.at("vp"))};
    a.keep = [](int, int i, int j) { return j <= i + lk - lq; };
    expect_attention(values(out.at("op")), {}, a, kT, on == On::Exact, fmt::format("prefill on {}", name(on)));
    for (int b = 0; b < r.size(); ++b) {
      std::vector<double> o;
      std::vector<double> lse;
      for (int h = 0; h < 4; ++h) {
        std::vector<Partial> parts;
        for (std::int64_t i = 0; i < w; ++i) {
          if (kind[static_cast<std::size_t>(i)] == 1 && items[static_cast<std::size_t>(i)].b == b) {
            parts.push_back({&out.at("pd"), &out.at("sd"), (i * 2 + h / 2) * bm + h % 2});
          }
        }
        merge(parts, 64, o, lse);
      }
      Attention one = r.problem(b);
      one.scale = kScale;
      expect_attention(o, lse, one, kT, false, fmt::format("decode on {}, request {}", name(on), b));
    }
  }
}

// Absorbed MLA: 16 heads share a latent of 512 and a position part of 64; keys are both, values the latent.
TEST(Programs, Mla) {
  const std::vector<std::pair<int, int>> lengths = {{2, 20}, {4, 33}, {1, 0}};
  const int heads = 16;
  const int page = 16;
  const int bm = 64;
  Call c{.file = "tests/programs/mla.tile",
         .kernel = "mla_decode",
         .constants = {{"T", kT}, {"C", 512}, {"P", 64}, {"H", heads}, {"PAGE", page}, {"BM", bm}, {"BN", 32}}};
  const std::vector<Item> items = {{0, 0, 0, 20, 0}, {1, 0, 0, 16, 0}, {1, 0, 16, 33, 0}, {2, 0, 0, 0, 0}};
  c.tensors = {{"qn", random(kT, {7, heads, 512}, 1)},
               {"qp", random(kT, {7, heads, 64}, 2)},
               {"ckv", random(kT, {6, page, 512}, 3)},
               {"kpe", random(kT, {6, page, 64}, 4)},
               {"qptr", ints(DType::I32, {4}, {0, 2, 6, 7})},
               {"table", ints(DType::I32, {3, 3}, {4, 1, -1, 0, 5, 2, -1, -1, -1})},
               {"len", ints(DType::I32, {3}, {20, 33, 0})},
               {"req", column(items, &Item::b)},
               {"tile", column(items, &Item::t)},
               {"lo", column(items, &Item::lo)},
               {"hi", column(items, &Item::hi)},
               {"part", unwritten(DType::F32, {4, bm, 512})},
               {"stat", unwritten(DType::F32, {4, bm})}};
  c.scalars["scale"] = 0.0625;
  for (const On on : {On::Interp, On::Cpu}) {
    auto out = run(c, on);
    Buffer& stat = out.at("stat");
    for (std::int64_t i = 0; i < stat.size(); ++i) stat.set(i, stat.get(i) * std::log(2.0));  // base 2
    int first = 0;
    for (int b = 0; b < 3; ++b) {
      const auto [lq, lk] = lengths[static_cast<std::size_t>(b)];
      Attention a{.lq = lq, .lk = lk, .heads = heads, .kv_heads = 1, .d = 576, .e = 512, .scale = 0.0625};
      const auto append = [](std::vector<double>& to, const Buffer& from, std::int64_t row, int n) {
        for (int i = 0; i < n; ++i) to.push_back(from.get(row * n + i));
      };
      for (int row = first * heads; row < (first + lq) * heads; ++row)
        append(a.q, c.tensors.at("qn"), row, 512), append(a.q, c.tensors.at("qp"), row, 64);
      for (int j = 0; j < lk; ++j) {
        const std::int64_t row = c.tensors.at("table").get_int(b * 3 + j / page) * page + j % page;
        append(a.k, c.tensors.at("ckv"), row, 512);
        append(a.k, c.tensors.at("kpe"), row, 64);
        append(a.v, c.tensors.at("ckv"), row, 512);
      }
      a.keep = [lq = lq, lk = lk](int, int i, int j) { return j <= i + lk - lq; };
      std::vector<double> o;
      std::vector<double> lse;
      for (int row = 0; row < lq * heads; ++row) {
        std::vector<Partial> parts;
        for (std::size_t i = 0; i < items.size(); ++i) {
          if (items[i].b == b) parts.push_back({&out.at("part"), &stat, static_cast<std::int64_t>(i) * bm + row});
        }
        merge(parts, 512, o, lse);
      }
      expect_attention(o, lse, a, kT, false, fmt::format("mla on {}, request {}", name(on), b));
      first += lq;
    }
  }
}

}  // namespace
}  // namespace tessera::test
