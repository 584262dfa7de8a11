// Loads tests/ir/NAME.ir, and what those kernels should compute, as plain loops in float64.
#pragma once

#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

#include "dsl/text.h"
#include "tests/ir/launch.h"

namespace tessera::test {

/// A kernel from text. Throws std::runtime_error with the rendered diagnostics if it does not parse.
inline std::unique_ptr<ir::Kernel> parsed(const std::string& text, const std::string& name = "kernel.ir") {
  SourceMap sources;
  const FileId file = sources.add(name, text);
  Diagnostics diagnostics;
  auto kernel = ir::parse_kernel(sources, file, diagnostics);
  if (!kernel) throw std::runtime_error(render(diagnostics, sources));
  return kernel;
}

/// The kernel in tests/ir/NAME.ir.
inline std::unique_ptr<ir::Kernel> load_kernel(const std::string& name) {
  const std::string path = std::string(TESSERA_SOURCE_DIR) + "/tests/ir/" + name + ".ir";
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::stringstream text;
  text << in.rdbuf();
  return parsed(text.str(), name + ".ir");
}

struct AttentionShape {
  std::int64_t batch = 1, lq = 1, lk = 1, heads = 1, kv_heads = 1, dim = 64;
};

struct AttentionReference {
  std::vector<double> o;    ///< [batch, lq, heads, dim]
  std::vector<double> lse;  ///< [batch, heads, lq], natural
};

/// Causal attention aligned at the bottom right: row r sees columns c <= r + lk - lq. A row that sees none gives zeros and lse = -inf.
inline AttentionReference reference_attention(const AttentionShape& s, const Buffer& q, const Buffer& k, const Buffer& v, double scale) {
  AttentionReference r;
  r.o.assign(static_cast<std::size_t>(s.batch * s.lq * s.heads * s.dim), 0);
  r.lse.assign(static_cast<std::size_t>(s.batch * s.heads * s.lq), -std::numeric_limits<double>::infinity());
  std::vector<double> p(static_cast<std::size_t>(s.lk));
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const std::int64_t g = h / (s.heads / s.kv_heads);
      for (std::int64_t i = 0; i < s.lq; ++i) {
        const std::int64_t seen = std::min(s.lk, i + s.lk - s.lq + 1);
        if (seen <= 0) continue;
        const std::int64_t row = ((b * s.lq + i) * s.heads + h) * s.dim;
        double top = -std::numeric_limits<double>::infinity();
        for (std::int64_t j = 0; j < seen; ++j) {
          double dot = 0;
          for (std::int64_t d = 0; d < s.dim; ++d) dot += q.get(row + d) * k.get(((b * s.lk + j) * s.kv_heads + g) * s.dim + d);
          p[static_cast<std::size_t>(j)] = dot * scale;
          top = std::max(top, dot * scale);
        }
        double sum = 0;
        for (std::int64_t j = 0; j < seen; ++j) sum += std::exp(p[static_cast<std::size_t>(j)] - top);
        for (std::int64_t j = 0; j < seen; ++j) {
          const double w = std::exp(p[static_cast<std::size_t>(j)] - top) / sum;
          for (std::int64_t d = 0; d < s.dim; ++d) {
            r.o[static_cast<std::size_t>(row + d)] += w * v.get(((b * s.lk + j) * s.kv_heads + g) * s.dim + d);
          }
        }
        r.lse[static_cast<std::size_t>((b * s.heads + h) * s.lq + i)] = top + std::log(sum);
      }
    }
  }
  return r;
}

/// a [m, k] times b [k, n].
inline std::vector<double> reference_gemm(const Buffer& a, const Buffer& b) {
  const std::int64_t m = a.dims[0];
  const std::int64_t k = a.dims[1];
  const std::int64_t n = b.dims[1];
  std::vector<double> c(static_cast<std::size_t>(m * n), 0);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t l = 0; l < k; ++l) {
      const double x = a.get(i * k + l);
      for (std::int64_t j = 0; j < n; ++j) c[static_cast<std::size_t>(i * n + j)] += x * b.get(l * n + j);
    }
  }
  return c;
}

inline std::vector<double> reference_softmax(const Buffer& x) {
  const std::int64_t m = x.dims[0];
  const std::int64_t n = x.dims[1];
  std::vector<double> y(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m; ++i) {
    double top = -std::numeric_limits<double>::infinity();
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) top = std::max(top, x.get(i * n + j));
    for (std::int64_t j = 0; j < n; ++j) sum += std::exp(x.get(i * n + j) - top);
    for (std::int64_t j = 0; j < n; ++j) y[static_cast<std::size_t>(i * n + j)] = std::exp(x.get(i * n + j) - top) / sum;
  }
  return y;
}

/// (x - mean) / sqrt(variance + eps) * w by rows.
inline std::vector<double> reference_layer_norm(const Buffer& x, const Buffer& w, double eps) {
  const std::int64_t n = x.dims[1];
  std::vector<double> y(static_cast<std::size_t>(x.size()));
  for (std::int64_t i = 0; i < x.dims[0]; ++i) {
    double mean = 0;
    double variance = 0;
    for (std::int64_t j = 0; j < n; ++j) mean += x.get(i * n + j) / static_cast<double>(n);
    for (std::int64_t j = 0; j < n; ++j) variance += (x.get(i * n + j) - mean) * (x.get(i * n + j) - mean) / static_cast<double>(n);
    for (std::int64_t j = 0; j < n; ++j) {
      y[static_cast<std::size_t>(i * n + j)] = (x.get(i * n + j) - mean) / std::sqrt(variance + eps) * w.get(j);
    }
  }
  return y;
}

inline std::vector<double> reference_row_sum(const Buffer& x) {
  const std::int64_t n = x.dims[1];
  std::vector<double> y(static_cast<std::size_t>(x.dims[0]), 0);
  for (std::int64_t at = 0; at < x.size(); ++at) y[static_cast<std::size_t>(at / n)] += x.get(at);
  return y;
}

}  // namespace tessera::test
