// Kernels over rows: norms, softmax, gates and RoPE, against float64 loops.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/harness.h"

namespace tessera::test {
namespace {

constexpr On kTargets[] = {On::Interp, On::Exact, On::Cpu};
constexpr DType kTypes[] = {DType::F16, DType::BF16, DType::F32};
const double kInf = std::numeric_limits<double>::infinity();

struct Size {
  std::int64_t m, n, bm = 4, bn = 256;
};
// 5000 over tiles of 4096: a sum carried over the ragged last tile.
constexpr Size kSizes[] = {{1, 1}, {5, 7}, {19, 111}, {3, 500}, {8, 512}, {2, 5000, 1, 4096}, {0, 16}};

std::string str(const Call& c, const Size& s, On on) {
  return fmt::format("{} [{}, {}] tiles {}x{} on {}", c.kernel, s.m, s.n, s.bm, s.bn, name(on));
}

/// One rounding to T at the end and `f32` roundings of f32 before it.
void expect_rounded(const Buffer& got, const std::vector<double>& want, double f32, On on, const std::string& what) {
  const double inner = on == On::Exact ? 1e-12 : f32 * roundoff(DType::F32);
  expect_near(values(got), want, 3e-8 + inner, 1.01 * roundoff(got.dtype) + inner, what);
}

/// f(row) for every row of an [m, n] tensor.
template <class F>
std::vector<double> by_row(const std::vector<double>& x, const Size& s, F f) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < s.m; ++i) {
    const std::vector<double> row = f(i, std::vector<double>(x.begin() + i * s.n, x.begin() + (i + 1) * s.n));
    out.insert(out.end(), row.begin(), row.end());
  }
  return out;
}

double mean(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v;
  return sum / static_cast<double>(x.size());
}

TEST(Rows, RmsNorm) {
  for (const DType t : kTypes) {
    for (const Size& s : kSizes) {
      for (const bool gemma : {false, true}) {
        for (const bool residual : {false, true}) {
          Call c{.file = "kernels/norm/rms_norm.tile", .kernel = "rms_norm", .constants = {{"T", t}, {"GEMMA", gemma}, {"BM", s.bm}, {"BN", s.bn}}};
          c.tensors = {{"x", Buffer(t, {s.m, s.n}).fill_random(1)}, {"w", Buffer(t, {s.n}).fill_random(2)}, {"y", unwritten(t, {s.m, s.n})}};
          if (residual) c.tensors.emplace("res", Buffer(t, {s.m, s.n}).fill_random(3));
          c.scalars["eps"] = 0x1p-20;
          std::vector<double> sum = values(c.tensors.at("x"));
          for (std::size_t i = 0; residual && i < sum.size(); ++i) sum[i] += c.tensors.at("res").get(static_cast<std::int64_t>(i));
          const std::vector<double> w = values(c.tensors.at("w"));
          const auto want = by_row(sum, s, [&](std::int64_t, std::vector<double> x) {
            double squares = 0;
            for (const double v : x) squares += v * v;
            for (std::size_t j = 0; j < x.size(); ++j)
              x[j] *= (gemma ? 1 + w[j] : w[j]) / std::sqrt(squares / static_cast<double>(x.size()) + 0x1p-20);
            return x;
          });
          for (const On on : kTargets) {
            const auto out = run(c, on);
            expect_rounded(out.at("y"), want, 30, on, str(c, s, on));
            if (!residual) continue;
            Buffer stored(t, {s.m, s.n});
            for (std::int64_t i = 0; i < stored.size(); ++i) stored.set(i, on == On::Exact ? sum[i] : round_to_float(DType::F32, sum[i]));
            expect_same(out.at("res"), stored, str(c, s, on) + ", res");
          }
        }
      }
    }
  }
}

TEST(Rows, LayerNorm) {
  for (const DType t : kTypes) {
    for (const Size& s : kSizes) {
      if (s.n == 1) continue;  // no variance: the result is the noise of rounding over sqrt(eps)
      Call c{.file = "kernels/norm/layer_norm.tile", .kernel = "layer_norm", .constants = {{"T", t}, {"BM", s.bm}, {"BN", s.bn}}};
      Buffer x = Buffer(t, {s.m, s.n}).fill_random(1);
      for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, x.get(i) + 20);  // a mean well above the deviation
      c.tensors = {{"x", x},
                   {"g", Buffer(DType::F32, {s.n}).fill_random(2)},
                   {"b", Buffer(DType::F32, {s.n}).fill_random(3)},
                   {"y", unwritten(t, {s.m, s.n})}};
      c.scalars["eps"] = 0x1p-17;
      const std::vector<double> g = values(c.tensors.at("g"));
      const std::vector<double> b = values(c.tensors.at("b"));
      const auto want = by_row(values(x), s, [&](std::int64_t, std::vector<double> r) {
        const double mu = mean(r);
        for (double& v : r) v -= mu;
        double squares = 0;
        for (const double v : r) squares += v * v;
        for (std::size_t j = 0; j < r.size(); ++j) r[j] = r[j] / std::sqrt(squares / static_cast<double>(r.size()) + 0x1p-17) * g[j] + b[j];
        return r;
      });
      for (const On on : kTargets) expect_rounded(run(c, on).at("y"), want, 400, on, str(c, s, on));
    }
  }
}

TEST(Rows, Softmax) {
  for (const DType t : kTypes) {
    for (const Size& s : kSizes) {
      for (const bool tempered : {false, true}) {
        Call c{.file = "kernels/norm/softmax.tile", .kernel = "softmax", .constants = {{"T", t}, {"O", DType::F32}, {"BM", s.bm}, {"BN", s.bn}}};
        Buffer x = Buffer(t, {s.m, s.n}).fill_random(1, 4);
        for (std::int64_t i = 0; i < x.size(); ++i) {
          if (i / s.n == 2 || i % 5 == 3) x.set(i, -kInf);  // row 2 sees nothing
        }
        c.tensors = {{"x", x}, {"y", unwritten(DType::F32, {s.m, s.n})}};
        Buffer temperature(DType::F32, {s.m});
        for (std::int64_t i = 0; i < s.m; ++i) temperature.set(i, 0.5 + static_cast<double>(i % 4));
        if (tempered) c.tensors.emplace("temperature", temperature);
        const auto want = by_row(values(x), s, [&](std::int64_t i, std::vector<double> r) {
          double m = -kInf;
          double l = 0;
          for (double& v : r) m = std::max(m, v = tempered ? v / temperature.get(i) : v);
          for (double& v : r) l += v = m == -kInf ? 0 : std::exp(v - m);
          for (double& v : r) v = l > 0 ? v / l : 0;
          return r;
        });
        for (const On on : kTargets) expect_rounded(run(c, on).at("y"), want, 100, on, str(c, s, on));
      }
    }
  }
}

TEST(Rows, Gates) {
  const std::map<std::string, std::function<double(double)>> acts = {
      {"silu_and_mul", [](double x) { return x / (1 + std::exp(-x)); }},
      {"gelu_and_mul", [](double x) { return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5))); }},
      {"gelu_tanh_and_mul", [](double x) { return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }},
  };
  for (const DType t : kTypes) {
    for (const auto& [kernel, act] : acts) {
      for (const Size& s : kSizes) {
        Call c{.file = "kernels/activation/gates.tile", .kernel = kernel, .constants = {{"T", t}, {"BN", s.bn}}};
        const Buffer x = Buffer(t, {s.m, 2, s.n}).fill_random(1, 3);
        c.tensors = {{"x", x}, {"y", unwritten(t, {s.m, s.n})}};
        std::vector<double> want;
        for (std::int64_t i = 0; i < s.m * s.n; ++i) {
          const std::int64_t gate = i / s.n * 2 * s.n + i % s.n;
          want.push_back(act(x.get(gate)) * x.get(gate + s.n));
        }
        // Literals of std.activation have 16 digits, but a kernel's are f32.
        for (const On on : {On::Interp, On::Cpu}) expect_rounded(run(c, on).at("y"), want, 60, on, str(c, s, on));
      }
    }
  }
}

struct Rope {
  int d, r;
  bool neox, llama;
};

TEST(Rows, RopeEveryPairing) {
  for (const Rope& p : {Rope{64, 64, true, false}, {64, 64, false, true}, {80, 64, true, true}, {128, 32, false, false}, {32, 32, true, true}}) {
    for (const DType t : {DType::BF16, DType::F32}) {
      const std::vector<std::int64_t> positions = {0, 1, 17, 303, 8191, 100000};
      const auto n = static_cast<std::int64_t>(positions.size());
      Call c{.file = "kernels/rope/rope.tile", .kernel = "rope", .constants = {{"T", t}, {"D", p.d}, {"R", p.r}, {"NEOX", p.neox}}};
      const Buffer x = Buffer(t, {n, 3, p.d}).fill_random(1);
      c.tensors = {{"x", x}, {"pos", ints(DType::I32, {n}, positions)}, {"y", unwritten(t, {n, 3, p.d})}};
      const double theta = p.llama ? 500000 : 10000;
      const double scale = p.llama ? 8 : 2;
      c.scalars = {{"f.theta", theta}, {"f.scale", scale}, {"f.low", 1}, {"f.high", p.llama ? 4 : 1}, {"f.old", 8192}};
      for (const On on : kTargets) {
        const Buffer y = run(c, on).at("y");
        for (std::int64_t row = 0; row < n * 3; ++row) {
          const auto pos = static_cast<double>(positions[static_cast<std::size_t>(row / 3)]);
          for (int i = 0; i < p.d; ++i) {
            double want = x.get(row * p.d + i);
            double angle = 0;
            if (i < p.r) {
              const int pair = p.neox ? i % (p.r / 2) : i / 2;
              const bool second = p.neox ? i >= p.r / 2 : i % 2 == 1;
              double w = std::pow(theta, -2.0 * pair / p.r);
              const double wavelength = 2 * M_PI / w;
              if (!p.llama || wavelength > 8192.0 / 1) {
                w /= scale;
              } else if (wavelength > 8192.0 / 4) {
                const double smooth = (8192.0 / wavelength - 1) / (4.0 - 1);
                w = (1 - smooth) * w / scale + smooth * w;
              }
              angle = pos * w;
              const double other = x.get(row * p.d + (p.neox ? (i + p.r / 2) % p.r : i ^ 1));
              want = second ? want * std::cos(angle) + other * std::sin(angle) : want * std::cos(angle) - other * std::sin(angle);
            }
            const double got = y.get(row * p.d + i);
            // The angle is a product of f32 numbers: a frequency of a few roundings, multiplied by the position. Literals are f32 in exact runs too.
            const double slack = on == On::Exact ? 1e-7 * (1 + angle) : 1e-6 + 12 * roundoff(DType::F32) * angle * 4;
            ASSERT_NEAR(got, want, slack + 1.01 * roundoff(t) * std::fabs(want))
                << fmt::format("d {} r {} neox {} llama {} {} on {}: position {}, element {}", p.d, p.r, p.neox, p.llama, name(t), name(on), pos, i);
          }
        }
      }
    }
  }
}

TEST(Rows, RopeRefusesRotaryDims) {
  for (const auto& [r, clause] : {std::pair{33, "R % 2 == 0"}, {80, "R <= D"}}) {
    Call c{.file = "kernels/rope/rope.tile", .kernel = "rope", .constants = {{"T", DType::F32}, {"D", 64}, {"R", r}, {"NEOX", true}}};
    const std::string text = refusal(c);
    EXPECT_NE(text.find("E0509"), std::string::npos) << text;
    EXPECT_NE(text.find(clause), std::string::npos) << text;
  }
}

TEST(Rows, TileSizesGiveEqualBitsOnIntegers) {
  // Sums of squares of small integers are exact in any order, and so is a division by 256, in whatever way it is done.
  for (const On on : {On::Interp, On::Cpu}) {
    Buffer first;
    for (const Size& s : {Size{6, 256, 1, 512}, Size{6, 256, 4, 64}, Size{6, 256, 8, 128}}) {
      Call c{.file = "kernels/norm/rms_norm.tile", .kernel = "rms_norm", .constants = {{"T", DType::F32}, {"BM", s.bm}, {"BN", s.bn}}};
      c.tensors = {{"x", Buffer(DType::F32, {s.m, s.n}).fill_integers(1, 8)},
                   {"w", Buffer(DType::F32, {s.n}).fill_integers(2, 4)},
                   {"y", unwritten(DType::F32, {s.m, s.n})}};
      c.scalars["eps"] = 0;
      const Buffer y = run(c, on).at("y");
      if (first.dims.empty()) first = y;
      expect_same(y, first, str(c, s, on));
    }
  }
}

}  // namespace
}  // namespace tessera::test
