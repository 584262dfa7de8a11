#include "runtime/tune/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dsl/dtype.h"

namespace tessera::tuning {
namespace {

/// Half the distance from 1 to the next number.
double roundoff(DType t) { return (decode_float(t, encode_float(t, 1.0) + 1) - 1.0) / 2; }

std::uint64_t raw(const HostTensor& t, std::int64_t i) {
  const int width = bits(t.dtype());
  std::uint64_t out = 0;
  if (width < 8) return static_cast<std::uint64_t>(t.bytes()[static_cast<std::size_t>(i / 2)]) >> (i % 2 * 4) & 0xf;
  std::memcpy(&out, t.bytes().data() + i * (width / 8), static_cast<std::size_t>(width / 8));
  return out;
}

std::string compare_integers(const HostTensor& got, const HostTensor& want, double share) {
  std::int64_t others = 0, first = -1;
  for (std::int64_t i = 0; i < want.elements(); ++i) {
    if (raw(got, i) == raw(want, i)) continue;
    if (others++ == 0) first = i;
  }
  if (static_cast<double>(others) <= share * static_cast<double>(want.elements())) return "";
  return fmt::format("{} of {} elements differ, the first at {}", others, want.elements(), first);
}

std::string compare_floats(const HostTensor& got, const HostTensor& want, const Tolerance& tolerance) {
  const auto t = static_cast<DType>(want.dtype());
  double largest = 0, off = 0, squares = 0, off_squares = 0;
  std::int64_t at = -1;
  for (std::int64_t i = 0; i < want.elements(); ++i) {
    const std::uint64_t a = raw(got, i), b = raw(want, i);
    const double w = decode_float(t, b);
    if (std::isfinite(w)) {
      largest = std::max(largest, std::fabs(w));
      squares += w * w;
    }
    if (a == b) continue;
    const double g = decode_float(t, a);
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    const double d = std::fabs(g - w);
    // Without the sign that a NaN may have.
    if (!std::isfinite(d)) return fmt::format("element {} is {:.6g} instead of {:.6g}", i, std::isnan(g) ? NAN : g, std::isnan(w) ? NAN : w);
    off_squares += d * d;
    if (d > off) {
      off = d;
      at = i;
    }
  }
  if (off > tolerance.element * largest)
    return fmt::format("element {} is off by {:.3g}, where values go up to {:.3g} and {:.3g} may be lost", at, off, largest,
                       tolerance.element * largest);
  if (std::sqrt(off_squares) > tolerance.rms * std::sqrt(squares))
    return fmt::format("the elements are off by {:.3g} of their size, where {:.3g} may be lost", std::sqrt(off_squares / squares), tolerance.rms);
  return "";
}

}  // namespace

Tolerance tolerance_for(const std::vector<Parameter>& parameters) {
  double coarsest = 0;
  for (const Parameter& p : parameters) {
    const auto t = static_cast<DType>(p.dtype);
    // A scale of whole powers of two rounds nothing that it is not made for.
    if (p.is_view && is_float(t) && t != DType::E8M0) coarsest = std::max(coarsest, roundoff(t));
  }
  if (coarsest == 0) return {};
  // Sums of f32 in another order lose more than f32's roundoff; codes of 8 bits lose less than many of theirs.
  return {std::clamp(16 * coarsest, 0x1p-12, 0x1p-3), std::clamp(4 * coarsest, 0x1p-14, 0x1p-4), 1.0 / 64};
}

std::string difference(const Results& got, const Results& want, const Tolerance& tolerance) {
  for (const auto& [name, w] : want) {
    const HostTensor& g = got.at(name);
    if (w.bytes().empty() || std::memcmp(g.bytes().data(), w.bytes().data(), w.bytes().size()) == 0) continue;
    const std::string text =
        is_float(static_cast<DType>(w.dtype())) ? compare_floats(g, w, tolerance) : compare_integers(g, w, tolerance.other_integers);
    if (!text.empty()) return fmt::format("`{}`: {}", name, text);
  }
  return "";
}

}  // namespace tessera::tuning
