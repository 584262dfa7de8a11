// Every launch rule against every argument it can hit: the cases are made from the signatures.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <thread>

#include "tessera/tessera.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using ir::Mode;
using test::code_of;
using test::dims;
using test::scalar_param;
using test::view_param;

/// Valid arguments for a kernel, with the memory they need.
struct Fixture {
  AnyKernel kernel;
  std::map<std::string, std::int64_t> symbols;
  std::vector<std::unique_ptr<std::vector<std::byte>>> memory = {};
  std::vector<Argument> arguments = {};

  Fixture(AnyKernel k, std::map<std::string, std::int64_t> s) : kernel(std::move(k)), symbols(std::move(s)) {
    for (const Parameter& p : kernel.parameters()) arguments.push_back(p.is_view ? Argument(tensor(p)) : Argument(scalar(p)));
  }

  Tensor tensor(const Parameter& p) {
    std::vector<std::int64_t> extents;
    std::int64_t n = 1;
    for (const std::string& d : p.dims) {
      extents.push_back(*parse_sym(d)->eval([&](const std::string& name) { return std::optional(symbols.at(name)); }));
      n *= extents.back();
    }
    memory.push_back(std::make_unique<std::vector<std::byte>>(static_cast<std::size_t>(n * 8 + 256)));
    auto base = reinterpret_cast<std::uintptr_t>(memory.back()->data());
    return Tensor(reinterpret_cast<void*>((base + 63) / 64 * 64), p.dtype, extents);
  }
  static Scalar scalar(const Parameter& p) { return {.dtype = p.dtype, .bits = 1}; }

  std::string launch(const std::vector<Argument>& a) const {
    static const Context context = Context::cpu(1);
    return code_of([&] { kernel.launch(context, a); });
  }
  /// The code with argument `i` changed by `change`.
  std::string with(std::size_t i, const std::function<void(Tensor&)>& change) const {
    std::vector<Argument> a = arguments;
    Tensor t = *a[i].tensor();
    change(t);
    a[i] = Argument(t);
    return launch(a);
  }
};

std::vector<Fixture> fixtures() {
  std::vector<Fixture> out;
  const auto add = [&](std::vector<ir::Param> params, std::vector<std::string> symbols, std::map<std::string, std::int64_t> values) {
    out.emplace_back(test::make(test::signature("k", std::move(params), std::move(symbols))), std::move(values));
  };
  add({view_param("q", DType::BF16, Mode::In, dims({"B", "Sq", "H", "64"})), view_param("k", DType::BF16, Mode::In, dims({"B", "Sk", "G", "64"})),
       view_param("o", DType::BF16, Mode::Out, dims({"B", "Sq", "H", "64"})), scalar_param("scale", DType::F32)},
      {"B", "Sq", "H", "Sk", "G"}, {{"B", 2}, {"Sq", 5}, {"H", 4}, {"Sk", 7}, {"G", 2}});
  add({view_param("x", DType::F32, Mode::InOut, dims({"M", "N"})), view_param("ids", DType::I32, Mode::In, dims({"M"})),
       view_param("count", DType::I32, Mode::Add, dims({"E"})), view_param("dst", DType::F64, Mode::Scatter, dims({"E", "N"}))},
      {"M", "N", "E"}, {{"M", 6}, {"N", 10}, {"E", 3}});
  add({view_param("w", DType::E2M1, Mode::In, dims({"N", "K"})), view_param("s", DType::E8M0, Mode::In, dims({"N", "4"})),
       view_param("out", DType::I8, Mode::Out, dims({"N + 1", "2*K"}))},
      {"N", "K"}, {{"N", 4}, {"K", 16}});
  return out;
}

TEST(LaunchRules, ValidArgumentsPass) {
  for (const Fixture& f : fixtures()) EXPECT_EQ(f.launch(f.arguments), "");
}

TEST(LaunchRules, E0701NumberOfArguments) {
  for (const Fixture& f : fixtures()) {
    std::vector<Argument> a = f.arguments;
    a.push_back(a.back());
    EXPECT_EQ(f.launch(a), "E0701");
    a.resize(f.arguments.size() - 1, Argument(absent));
    EXPECT_EQ(f.launch(a), "E0701");
  }
}

/// Runs `check` for every view parameter of every signature.
void each_view(const std::function<void(const Fixture&, std::size_t, const Parameter&)>& check) {
  for (const Fixture& f : fixtures()) {
    for (std::size_t i = 0; i < f.arguments.size(); ++i) {
      const Parameter& p = f.kernel.parameters()[i];
      if (!p.is_view) continue;
      SCOPED_TRACE(p.name);
      check(f, i, p);
    }
  }
}

TEST(LaunchRules, E0702ElementType) {
  each_view([](const Fixture& f, std::size_t i, const Parameter& p) {
    for (ElementType t : {ElementType::F32, ElementType::F16, ElementType::I32, ElementType::U8, ElementType::Bool, ElementType::I4}) {
      if (t == p.dtype) continue;
      EXPECT_EQ(f.with(i, [&](Tensor& x) { x.dtype = t; }), "E0702") << name(t);
    }
    EXPECT_EQ(f.with(i, [](Tensor& x) { x.nominal = "Lse"; }), "E0702");
    std::vector<Argument> a = f.arguments;
    a[i] = Argument(1.0f);
    EXPECT_EQ(f.launch(a), "E0702");
  });
}

TEST(LaunchRules, E0703Rank) {
  each_view([](const Fixture& f, std::size_t i, const Parameter&) {
    EXPECT_EQ(f.with(i, [](Tensor& x) { --x.rank; }), "E0703");
    EXPECT_EQ(f.with(i, [](Tensor& x) { x.extents[static_cast<std::size_t>(x.rank++)] = 1; }), "E0703");
  });
}

TEST(LaunchRules, E0704Extents) {
  each_view([](const Fixture& f, std::size_t i, const Parameter& p) {
    for (std::size_t axis = 0; axis < p.dims.size(); ++axis) {
      EXPECT_EQ(f.with(i, [&](Tensor& x) { x.extents[axis] = -1; }), "E0704");
      // An extent that no other view shares may change; all others may not.
      int uses = 0;
      const Sym dim = *parse_sym(p.dims[axis]);
      for (const Parameter& other : f.kernel.parameters()) {
        for (const std::string& d : other.dims) {
          for (const std::string& s : dim.symbols()) uses += parse_sym(d)->mentions(s);
        }
      }
      if (uses == 1 && dim.as_symbol()) continue;
      EXPECT_EQ(f.with(i, [&](Tensor& x) { x.extents[axis] -= 2; }), "E0704") << axis;
    }
  });
}

TEST(LaunchRules, E0706Strides) {
  each_view([](const Fixture& f, std::size_t i, const Parameter& p) {
    const std::size_t last = p.dims.size() - 1;
    EXPECT_EQ(f.with(i, [&](Tensor& x) { x.strides[last] = 2; }), "E0706");
    for (std::size_t axis = 0; axis <= last; ++axis) EXPECT_EQ(f.with(i, [&](Tensor& x) { x.strides[axis] = -x.strides[axis]; }), "E0706");
    EXPECT_EQ(f.with(i, [&](Tensor& x) { x.strides[0] = INT64_MAX / 2; }), "E0706");
    if (last == 0) return;
    // Broadcast strides are for views that are only read.
    EXPECT_EQ(f.with(i, [&](Tensor& x) { x.strides[0] = 0; }), p.access == Access::In ? "" : "E0706");
    if (bits(p.dtype) < 8) {
      EXPECT_EQ(f.with(i, [&](Tensor& x) { x.strides[0] += 1; }), "E0706");
    }
  });
}

TEST(LaunchRules, E0707Overlap) {
  each_view([](const Fixture& f, std::size_t i, const Parameter& p) {
    for (std::size_t j = 0; j < f.arguments.size(); ++j) {
      const Parameter& q = f.kernel.parameters()[j];
      if (j == i || !q.is_view) continue;
      const bool writes = p.access != Access::In || q.access != Access::In;
      EXPECT_EQ(f.with(i, [&](Tensor& x) { x.data = f.arguments[j].tensor()->data; }), writes ? "E0707" : "") << q.name;
      // The last element of the one is the first of the other.
      const Tensor& other = *f.arguments[j].tensor();
      const std::int64_t last_byte = (other.elements() * bits(other.dtype) + 7) / 8 - 1;
      const std::int64_t align = std::max(1, bits(p.dtype) / 8);
      EXPECT_EQ(f.with(i, [&](Tensor& x) { x.data = static_cast<char*>(other.data) + last_byte / align * align; }), writes ? "E0707" : "") << q.name;
    }
  });
}

TEST(LaunchRules, E0708Missing) {
  for (const Fixture& f : fixtures()) {
    for (std::size_t i = 0; i < f.arguments.size(); ++i) {
      std::vector<Argument> a = f.arguments;
      a[i] = Argument(absent);
      EXPECT_EQ(f.launch(a), "E0708");
    }
  }
}

TEST(LaunchRules, E0709UnknownName) {
  for (const Fixture& f : fixtures()) {
    std::map<std::string, Argument> named;
    for (std::size_t i = 0; i < f.arguments.size(); ++i) named.emplace(f.kernel.parameters()[i].name, f.arguments[i]);
    EXPECT_EQ(code_of([&] { f.kernel.launch(Context::cpu(1), named); }), "");
    named.emplace("nobody", Argument(1.0f));
    EXPECT_EQ(code_of([&] { f.kernel.launch(Context::cpu(1), named); }), "E0709");
  }
}

TEST(LaunchRules, E0710Pointer) {
  each_view([](const Fixture& f, std::size_t i, const Parameter& p) {
    EXPECT_EQ(f.with(i, [](Tensor& x) { x.data = nullptr; }), "E0710");
    for (int off = 1; off < bits(p.dtype) / 8; ++off) {
      EXPECT_EQ(f.with(i, [&](Tensor& x) { x.data = static_cast<char*>(x.data) + off; }), "E0710") << off;
    }
  });
}

TEST(LaunchRules, NullIsFineWhenEmpty) {
  Fixture f(test::make(test::signature("k", {view_param("x", DType::F32, Mode::In, dims({"M"}))}, {"M"})), {{"M", 0}});
  EXPECT_EQ(f.with(0, [](Tensor& x) { x.data = nullptr; }), "");
}

TEST(LaunchRules, E0711Mode) {
  each_view([](const Fixture& f, std::size_t i, const Parameter& p) {
    for (Access a : {Access::In, Access::Out, Access::InOut, Access::Scatter, Access::Add}) {
      std::vector<Argument> arguments = f.arguments;
      arguments[i] = Argument(*f.arguments[i].tensor(), a);
      EXPECT_EQ(f.launch(arguments), a == p.access ? "" : "E0711");
    }
    EXPECT_EQ(f.with(i, [](Tensor& x) { x.read_only = true; }), p.access == Access::In ? "" : "E0711");
  });
}

TEST(LaunchRules, Scalars) {
  for (DType t : all_dtypes()) {
    if (bits(t) < 8) continue;
    SCOPED_TRACE(name(t));
    const AnyKernel k = test::make(test::signature("k", {scalar_param("s", t)}, {}));
    const Context context = Context::cpu(1);
    const auto code = [&](const Argument& a) { return code_of([&] { k.launch(context, {a}); }); };
    EXPECT_EQ(code(Scalar{static_cast<ElementType>(t), 0}), "");
    EXPECT_EQ(code(Tensor()), "E0702");
    EXPECT_EQ(code(absent), "E0708");
    EXPECT_EQ(code(Scalar{static_cast<ElementType>(t), 0, "Lse"}), "E0702");
    if (is_int(t)) {
      EXPECT_EQ(code(1.0f), "E0702");
      EXPECT_EQ(code(true), "E0702");
      if (bits(t) < 64) {
        EXPECT_EQ(code(int_max(t)), "");
        EXPECT_EQ(code(int_max(t) + 1), "E0712");
        EXPECT_EQ(code(int_min(t) - 1), "E0712");
      }
      EXPECT_EQ(code(std::uint64_t{1} << 63), t == DType::U64 ? "" : "E0712");
      EXPECT_EQ(code(-1), is_signed(t) ? "" : "E0712");
    } else {
      EXPECT_EQ(code(1), "E0702");
      EXPECT_EQ(code(1.0), t == DType::F64 ? "" : "E0702");
    }
  }
}

TEST(LaunchRules, E0705Where) {
  auto k = test::signature("k", {view_param("q", DType::F32, Mode::In, dims({"H"})), view_param("k", DType::F32, Mode::In, dims({"G"}))}, {"H", "G"});
  k->where.push_back({Compare::Eq, Sym::symbol("H"), {Sym(4) * Sym::symbol("G")}});
  k->where.push_back({Compare::Eq, Sym::symbol("G"), {Sym(2), Sym(3)}});
  const AnyKernel kernel = test::make(std::move(k));
  std::vector<float> memory(64);
  const auto code = [&](std::int64_t h, std::int64_t g) {
    return code_of([&] { kernel.launch(Context::cpu(1), {View<float, 1>(memory.data(), {h}), View<float, 1>(memory.data(), {g})}); });
  };
  EXPECT_EQ(code(8, 2), "");
  EXPECT_EQ(code(12, 3), "");
  EXPECT_EQ(code(9, 2), "E0705");
  EXPECT_EQ(code(16, 4), "E0705");
}

TEST(LaunchRules, E0705AssertedScalars) {
  // What the compiler builds on is checked at every launch, not in debug runs alone.
  const char* text =
      "kernel k(y: out view f32[M], s: f32, n: i32)\nover (i in tiles(M, 4))\n{\n    assert s > 0.0 && 8 >= n;\n    y[i] = fill(s * f32(n), "
      "f32[4]);\n}\n";
  const AnyKernel kernel = load_source("k.tile", text).kernel("k");
  std::vector<float> y(4);
  const auto code = [&](float s, std::int32_t n) { return code_of([&] { kernel.launch(Context::cpu(1), {View<float, 1>(y.data(), {4}), s, n}); }); };
  EXPECT_EQ(code(0.5f, 8), "");
  EXPECT_EQ(y[3], 4.0f);
  EXPECT_EQ(code(0.0f, 8), "E0705");
  EXPECT_EQ(code(-1.0f, 8), "E0705");
  EXPECT_EQ(code(std::nanf(""), 8), "E0705");
  EXPECT_EQ(code(0.5f, 9), "E0705");
}

TEST(LaunchRules, MessagesNameBothSides) {
  const std::vector<Fixture> all = fixtures();
  std::vector<Argument> a = all[0].arguments;
  Tensor o = *a[2].tensor();
  o.extents[1] = 4;
  a[2] = o;
  try {
    all[0].kernel.launch(Context::cpu(1), a);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "`o` has extent 4 in axis 1 (`Sq`), but `Sq` is 5");
    ASSERT_EQ(e.problems().front().notes.size(), 1u);
    EXPECT_EQ(e.problems().front().notes[0].text, "`Sq` = 5 bound here by axis 1 of `q`");
  }
}

TEST(LaunchRules, InPlaceOnlyAsProved) {
  auto k = test::signature("k", {view_param("x", DType::F32, Mode::In, dims({"M", "N"})), view_param("y", DType::F32, Mode::Out, dims({"M", "N"}))},
                           {"M", "N"});
  k->in_place.emplace_back("y", "x");
  const AnyKernel kernel = test::make(std::move(k));
  std::vector<float> memory(64);
  const auto code = [&](float* x, std::array<std::int64_t, 2> xs, float* y, std::array<std::int64_t, 2> ys) {
    return code_of([&] { kernel.launch(Context::cpu(1), {View<float, 2>(x, {3, 4}, xs), View<float, 2>(y, {3, 4}, ys)}); });
  };
  EXPECT_EQ(code(memory.data(), {4, 1}, memory.data(), {4, 1}), "");
  EXPECT_EQ(code(memory.data(), {4, 1}, memory.data() + 4, {4, 1}), "E0707");
  EXPECT_EQ(code(memory.data(), {4, 1}, memory.data(), {8, 1}), "E0707");
  // Interleaved halves of one buffer share no element.
  EXPECT_EQ(code(memory.data(), {8, 1}, memory.data() + 4, {8, 1}), "");
}

TEST(Launch, ComputesInEveryThreadCount) {
  const AnyKernel k = test::make(test::scale_rows());
  std::vector<float> x(24), y(24);
  std::iota(x.begin(), x.end(), 0.0f);
  k.launch(Context::cpu(3), {View<const float, 2>(x.data(), {3, 8}), View<float, 2>(y.data(), {3, 8}), 2.0f});
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], 2 * x[i]);
}

TEST(Launch, TypedSignatureIsCheckedOnce) {
  const AnyKernel k = test::make(test::scale_rows());
  const auto code = [&]<class... A>(std::type_identity<Kernel<A...>>) { return code_of([&] { Kernel<A...> typed(k); }); };
  EXPECT_EQ(code(std::type_identity<Kernel<In<float, 2>, Out<float, 2>, float>>()), "");
  EXPECT_EQ(code(std::type_identity<Kernel<In<float, 2>, Out<float, 2>>>()), "E0701");
  EXPECT_EQ(code(std::type_identity<Kernel<In<f16, 2>, Out<float, 2>, float>>()), "E0702");
  EXPECT_EQ(code(std::type_identity<Kernel<In<Nominal<float, "Lse">, 2>, Out<float, 2>, float>>()), "E0702");
  EXPECT_EQ(code(std::type_identity<Kernel<In<float, 2>, Out<float, 2>, double>>()), "E0702");
  EXPECT_EQ(code(std::type_identity<Kernel<float, Out<float, 2>, float>>()), "E0702");
  EXPECT_EQ(code(std::type_identity<Kernel<In<float, 3>, Out<float, 2>, float>>()), "E0703");
  EXPECT_EQ(code(std::type_identity<Kernel<In<float, 2>, std::optional<Out<float, 2>>, float>>()), "E0708");
  EXPECT_EQ(code(std::type_identity<Kernel<In<float, 2>, InOut<float, 2>, float>>()), "E0711");
  EXPECT_EQ(code(std::type_identity<Kernel<Out<float, 2>, In<float, 2>, float>>()), "E0711");

  Kernel<In<float, 2>, Out<float, 2>, float> typed(k);
  std::vector<float> x(16, 3), y(16);
  typed(Context::cpu(1), View<float, 2>(x.data(), {2, 8}), View<float, 2>(y.data(), {2, 8}), 0.5f);
  EXPECT_EQ(y, std::vector<float>(16, 1.5f));
}

TEST(Launch, KernelsAreSharedByThreads) {
  const AnyKernel k = test::make(test::scale_rows());
  const Context context = Context::cpu(2);
  std::vector<std::thread> threads;
  std::vector<std::vector<float>> results(6, std::vector<float>(80));
  const std::vector<float> x(80, 1.0f);
  for (std::size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        k.launch(context, {View<const float, 2>(x.data(), {10, 8}), View<float, 2>(results[t].data(), {10, 8}), static_cast<float>(t)});
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (std::size_t t = 0; t < results.size(); ++t) EXPECT_EQ(results[t], std::vector<float>(80, static_cast<float>(t)));
}

}  // namespace
}  // namespace tessera
