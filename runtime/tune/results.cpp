#include "runtime/tune/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dsl/dtype.h"
#include "dsl/ir.h"
#include "runtime/parallel.h"

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

/// decode_float of a type of 16 bits or fewer by a table: results are large.
class Decoder {
 public:
  explicit Decoder(DType t) : type_(t) {
    if (bits(t) > 16) return;
    table_.resize(std::size_t{1} << bits(t));
    for (std::size_t i = 0; i < table_.size(); ++i) table_[i] = decode_float(t, i);
  }
  double operator()(std::uint64_t raw) const { return table_.empty() ? decode_float(type_, raw) : table_[raw & (table_.size() - 1)]; }

 private:
  DType type_;
  std::vector<double> table_;
};

/// How far apart some elements are.
struct Apart {
  double largest = 0, off = 0, squares = 0, off_squares = 0;
  std::int64_t at = -1, no_number = -1;  ///< where `off` is; the first element that is NaN or infinite in one only
};

Apart apart(const HostTensor& got, const HostTensor& want, const Decoder& decode, std::int64_t begin, std::int64_t end) {
  Apart out;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::uint64_t a = raw(got, i), b = raw(want, i);
    const double w = decode(b);
    if (std::isfinite(w)) {
      out.largest = std::max(out.largest, std::fabs(w));
      out.squares += w * w;
    }
    if (a == b) continue;
    const double g = decode(a);
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    const double d = std::fabs(g - w);
    if (!std::isfinite(d)) {
      out.no_number = i;
      return out;
    }
    out.off_squares += d * d;
    if (d > out.off) {
      out.off = d;
      out.at = i;
    }
  }
  return out;
}

std::string compare_floats(const HostTensor& got, const HostTensor& want, const Tolerance& tolerance) {
  const Decoder decode(static_cast<DType>(want.dtype()));
  constexpr std::int64_t part = 1 << 20;
  std::vector<Apart> parts(static_cast<std::size_t>(ceil_div(want.elements(), part)));
  parallel_for(parts.size(), 0, [&](std::size_t p) {
    const auto begin = static_cast<std::int64_t>(p) * part;
    parts[p] = apart(got, want, decode, begin, std::min(begin + part, want.elements()));
  });
  Apart all;
  for (const Apart& p : parts) {
    if (p.no_number >= 0) {
      // Without the sign that a NaN may have.
      const double g = decode(raw(got, p.no_number)), w = decode(raw(want, p.no_number));
      return fmt::format("element {} is {:.6g} instead of {:.6g}", p.no_number, std::isnan(g) ? NAN : g, std::isnan(w) ? NAN : w);
    }
    if (p.off > all.off) {
      all.off = p.off;
      all.at = p.at;
    }
    all.largest = std::max(all.largest, p.largest);
    all.squares += p.squares;
    all.off_squares += p.off_squares;
  }
  if (all.off > tolerance.element * all.largest)
    return fmt::format("element {} is off by {:.3g}, where values go up to {:.3g} and {:.3g} may be lost", all.at, all.off, all.largest,
                       tolerance.element * all.largest);
  if (std::sqrt(all.off_squares) > tolerance.rms * std::sqrt(all.squares))
    return fmt::format("the elements are off by {:.3g} of their size, where {:.3g} may be lost", std::sqrt(all.off_squares / all.squares),
                       tolerance.rms);
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
