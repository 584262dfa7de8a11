// tests/programs/attn_bwd.tile: gradients against float64 loops, which are themselves compared with differences of the forward.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/attention_oracle.h"
#include "tests/kernels/harness.h"
#include "tests/kernels/philox_oracle.h"

namespace tessera::test {
namespace {

struct Gradients {
  std::vector<double> dq, dk, dv;                 ///< shapes of q, k, v
  std::vector<double> dq_size, dk_size, dv_size;  ///< sums of magnitudes, for error bounds
};

/// dV = P^T dO, dP = dO V^T, dS = P (w dP - delta) dscore, dQ = scale dS K, dK = scale dS^T Q, P = exp(score - lse), P w in place of P for dV.
Gradients gradients(const Attention& a, const std::vector<double>& dout, const std::vector<double>& lse, const std::vector<double>& delta,
                    const std::function<double(double s, int h, int i, int j)>& slope) {
  Gradients g;
  g.dq.resize(a.q.size());
  g.dk.resize(a.k.size());
  g.dv.resize(a.v.size());
  g.dq_size = g.dq;
  g.dk_size = g.dk;
  g.dv_size = g.dv;
  for (int i = 0; i < a.lq; ++i) {
    for (int h = 0; h < a.heads; ++h) {
      const std::size_t row = static_cast<std::size_t>(i) * a.heads + h;
      for (int j = 0; j < a.lk; ++j) {
        if (a.keep && !a.keep(h, i, j)) continue;
        const std::size_t key = static_cast<std::size_t>(j) * a.kv_heads + h / (a.heads / a.kv_heads);
        double s = 0;
        double dp = 0;
        for (int c = 0; c < a.d; ++c) s += a.q[row * a.d + c] * a.k[key * a.d + c];
        for (int c = 0; c < a.e; ++c) dp += dout[row * a.e + c] * a.v[key * a.e + c];
        s *= a.scale;
        const double p = std::exp((a.score ? a.score(s, h, i, j) : s) - lse[row]);
        const double w = a.factor ? a.factor(h, i, j) : 1;
        const double ds = p * (w * dp - delta[row]) * (slope ? slope(s, h, i, j) : 1);
        const auto add = [](double x, double& sum, double& size) {
          sum += x;
          size += std::fabs(x);
        };
        for (int c = 0; c < a.e; ++c) add(p * w * dout[row * a.e + c], g.dv[key * a.e + c], g.dv_size[key * a.e + c]);
        for (int c = 0; c < a.d; ++c) {
          add(a.scale * ds * a.k[key * a.d + c], g.dq[row * a.d + c], g.dq_size[row * a.d + c]);
          add(a.scale * ds * a.q[row * a.d + c], g.dk[key * a.d + c], g.dk_size[key * a.d + c]);
        }
      }
    }
  }
  return g;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// [H, S, D] of a launch -> [S, H, D] of the oracle.
std::vector<double> by_position(const Buffer& x) {
  const std::int64_t h = x.dims[1];
  const std::int64_t s = x.dims[2];
  const std::int64_t d = x.dims.size() > 3 ? x.dims[3] : 1;
  std::vector<double> out(static_cast<std::size_t>(x.size()));
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t row = i / d;
    out[static_cast<std::size_t>((row % s * h + row / s) * d + i % d)] = x.get(i);
  }
  return out;
}
Buffer by_head(DType t, const std::vector<double>& x, std::int64_t h, std::int64_t s, std::int64_t d) {
  Buffer out(t, d == 0 ? ir::Dims{1, h, s} : ir::Dims{1, h, s, d});
  const std::int64_t n = std::max<std::int64_t>(d, 1);
  for (std::int64_t i = 0; i < out.size(); ++i) {
    const std::int64_t row = i / n;
    out.set(i, x[static_cast<std::size_t>((row % s * h + row / s) * n + i % n)]);
  }
  return out;
}

struct Case {
  std::string x, variant;  ///< constants
  std::map<std::string, double> scalars;
  std::function<void(Attention&)> define;
  std::function<double(double, int, int, int)> slope;
};

std::vector<Case> cases() {
  const auto causal = [](Attention& a) { a.keep = [d = a.lk - a.lq](int, int i, int j) { return j <= i + d; }; };
  return {{"att.None", "att.bottom_right", {}, causal, {}},
          {"variants.Cap",
           "variants.soft_cap",
           {{"x.cap", 0.5}},
           [causal](Attention& a) {
             causal(a);
             a.score = [](double s, int, int, int) { return 0.5 * std::tanh(s / 0.5); };
           },
           [](double s, int, int, int) { return 1 - std::tanh(s / 0.5) * std::tanh(s / 0.5); }},
          {"variants.Drop",
           "variants.dropout",
           {{"x.seed", 5}, {"x.keep_p", 0.5}},
           [](Attention& a) { a.factor = [](int h, int i, int j) { return uniform4(5, 0, h, i, j) < 0.5F ? 2.0 : 0.0; }; },
           {}}};
}

TEST(Programs, AttentionBackward) {
  const DType t = DType::BF16;
  const int d = 32;
  for (const Case& x : cases()) {
    for (const auto& [lq, lk] : {std::pair{19, 33}, {33, 19}}) {
      Attention a{.lq = lq, .lk = lk, .heads = 4, .kv_heads = 2, .d = d, .e = d, .scale = 0.25};
      const auto random = [&](int s, int h, unsigned seed) { return Buffer(t, {1, h, s, d}).fill_random(seed); };
      const Buffer q = random(lq, 4, 1);
      const Buffer k = random(lk, 2, 2);
      const Buffer v = random(lk, 2, 3);
      const Buffer dout = random(lq, 4, 4);
      a.q = by_position(q);
      a.k = by_position(k);
      a.v = by_position(v);
      x.define(a);
      const AttentionResult forward = attend(a);
      const Buffer o = by_head(t, forward.o, 4, lq, d);
      const Buffer lse = by_head(DType::F32, forward.lse, 4, lq, 0);

      // The oracle with exact delta is the derivative of sum(dout * o).
      std::vector<double> delta;
      const std::vector<double> go = by_position(dout);
      for (std::size_t row = 0; row < forward.lse.size(); ++row) {
        double sum = 0;
        for (int c = 0; c < d; ++c) sum += forward.o[row * d + c] * go[row * d + c];
        delta.push_back(sum);
      }
      const Gradients exact = gradients(a, go, forward.lse, delta, x.slope);
      for (auto [input, gradient] : {std::pair{&a.q, &exact.dq}, {&a.k, &exact.dk}, {&a.v, &exact.dv}}) {
        for (std::size_t at = 5; at < input->size(); at += input->size() / 6) {
          const double before = (*input)[at];
          (*input)[at] = before + 1e-5;
          const double above = dot(attend(a).o, go);
          (*input)[at] = before - 1e-5;
          const double below = dot(attend(a).o, go);
          (*input)[at] = before;
          ASSERT_NEAR((above - below) / 2e-5, (*gradient)[at], 1e-6 + 1e-5 * std::fabs((*gradient)[at])) << x.variant << ": the oracle itself";
        }
      }

      for (const On on : {On::Interp, On::Exact, On::Cpu}) {
        const std::string what = fmt::format("{} lq {} lk {} on {}", x.variant, lq, lk, name(on));
        Call c{.file = "tests/programs/attn_bwd.tile", .kernel = "bwd_delta", .constants = {{"T", t}, {"D", d}, {"BM", 16}}};
        c.tensors = {{"o", o}, {"dout", dout}, {"delta", unwritten(DType::F32, {1, 4, lq})}};
        const Buffer computed = run(c, on).at("delta");
        expect_near(by_position(computed), delta, 0.05, 0, what + ", delta");  // o is rounded to T

        // Gradients from the rounded inputs that the kernels see.
        const Gradients want = gradients(a, go, by_position(lse), by_position(computed), x.slope);
        const double inner = on == On::Exact ? 0 : 1.05 * roundoff(t);  // p and dS are rounded to T before their products
        const auto compare = [&](const Buffer& got, const std::vector<double>& value, const std::vector<double>& size, const std::string& of) {
          const std::vector<double> g = by_position(got);
          for (std::size_t i = 0; i < g.size(); ++i) {
            const double bound = inner * size[i] + 1.01 * roundoff(got.dtype) * std::fabs(value[i]) + 2e-5 * size[i] + 2e-6;
            ASSERT_NEAR(g[i], value[i], bound) << what << ", " << of << " at " << i;
          }
        };
        c.constants = {{"T", t}, {"D", d}, {"BM", 16}, {"BN", 16}, {"DQ", true}, {"X", x.x}, {"variant", x.variant}};
        c.kernel = "bwd_dkdv";
        c.scalars = x.scalars;
        c.scalars["scale"] = a.scale;
        c.tensors = {{"q", q},
                     {"k", k},
                     {"v", v},
                     {"dout", dout},
                     {"lse", lse},
                     {"delta", computed},
                     {"dq", Buffer(DType::F32, {1, 4, lq, d})},
                     {"dk", unwritten(t, {1, 2, lk, d})},
                     {"dv", unwritten(t, {1, 2, lk, d})}};
        const auto out = run(c, on);
        compare(out.at("dq"), want.dq, want.dq_size, "dq added");
        compare(out.at("dk"), want.dk, want.dk_size, "dk");
        compare(out.at("dv"), want.dv, want.dv_size, "dv");
        c.constants["DQ"] = false;
        c.tensors.erase("dq");
        const auto without = run(c, on);
        expect_same(without.at("dk"), out.at("dk"), what + ", dk without dq");
        c.constants.erase("DQ");
        c.kernel = "bwd_dq";
        c.tensors.erase("dk");
        c.tensors.erase("dv");
        c.tensors.emplace("dq", unwritten(t, {1, 4, lq, d}));
        compare(run(c, on).at("dq"), want.dq, want.dq_size, "dq");
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
