#include "codegen/gpu/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace tessera::gpu {

std::int64_t AxisPart::extent() const {
  std::int64_t n = 1;
  for (const Digit& d : digits) n *= d.size;
  return n;
}

std::int64_t AxisPart::count(Source s) const {
  std::int64_t n = 1;
  for (const Digit& d : digits) n *= d.source == s ? d.size : 1;
  return n;
}

std::vector<std::int64_t> AxisPart::offsets() const {
  std::vector<std::int64_t> out = {0};
  for (const Digit& d : digits) {
    if (d.source != Source::Register) continue;
    std::vector<std::int64_t> next;
    for (std::int64_t i = 0; i < d.size; ++i) {
      for (const std::int64_t o : out) next.push_back(o + i * d.stride);
    }
    out = std::move(next);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::int64_t Layout::registers() const {
  std::int64_t n = 1;
  for (const AxisPart& a : axes) n *= a.count(Source::Register);
  return n;
}

bool Layout::sound() const {
  // A digit reads the source's values divisor .. divisor * size: two digits must not share any of that range.
  for (const Source s : {Source::Lane, Source::Warp}) {
    std::vector<std::pair<std::int64_t, std::int64_t>> taken;
    for (const AxisPart& a : axes) {
      for (const Digit& d : a.digits) {
        if (d.source != s) continue;
        for (const auto& [from, to] : taken) {
          if (d.divisor < to && from < d.divisor * d.size) return false;
        }
        taken.emplace_back(d.divisor, d.divisor * d.size);
      }
    }
  }
  return true;
}

Layout Layout::collapsed(std::size_t a) const {
  Layout out = *this;
  out.axes.at(a).digits.clear();
  return out;
}

std::string Layout::str() const {
  std::vector<std::string> parts;
  for (const AxisPart& a : axes) {
    std::vector<std::string> digits;
    for (const Digit& d : a.digits) {
      const char* s = d.source == Source::Register ? "r" : d.source == Source::Lane ? "lane" : "warp";
      digits.push_back(d.source == Source::Register ? fmt::format("r{}*{}", d.size, d.stride)
                                                    : fmt::format("{}/{}%{}*{}", s, d.divisor, d.size, d.stride));
    }
    parts.push_back(digits.empty() ? "1" : fmt::format("{}", fmt::join(digits, "+")));
  }
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

AxisPart part(std::vector<Digit> digits) {
  std::erase_if(digits, [](const Digit& d) { return d.size == 1; });
  return {std::move(digits)};
}

AxisPart mma_rows(std::int64_t extent, std::int64_t warps, std::int64_t divisor) {
  const std::int64_t atoms = (extent + 16 * warps - 1) / (16 * warps);
  return part({{Source::Lane, 8, 1, 4}, {Source::Register, 2, 8}, {Source::Register, atoms, 16}, {Source::Warp, warps, 16 * atoms, divisor}});
}

AxisPart warpgroup_rows(std::int64_t extent, std::int64_t groups) {
  const std::int64_t atoms = (extent + 64 * groups - 1) / (64 * groups);
  if (atoms == 1) return mma_rows(extent, 4 * groups);  // the same, with one digit of warps
  return part({{Source::Lane, 8, 1, 4},
               {Source::Register, 2, 8},
               {Source::Warp, 4, 16, 1},
               {Source::Register, atoms, 64},
               {Source::Warp, groups, 64 * atoms, 4}});
}

AxisPart mma_cols(std::int64_t extent, std::int64_t warps, std::int64_t divisor, std::int64_t multiple) {
  std::int64_t atoms = (extent + 8 * warps - 1) / (8 * warps);
  if (multiple == 16) atoms += atoms % 2;
  return part({{Source::Register, 2, 1}, {Source::Lane, 4, 2, 1}, {Source::Register, atoms, 8}, {Source::Warp, warps, 8 * atoms, divisor}});
}

AxisPart strided(std::int64_t extent, std::int64_t vector, std::int64_t lanes, std::int64_t lane_divisor, std::int64_t warps,
                 std::int64_t warp_divisor) {
  const std::int64_t covered = vector * lanes * warps;
  const std::int64_t rest = (extent + covered - 1) / covered;
  return part({{Source::Register, vector, 1},
               {Source::Lane, lanes, vector, lane_divisor},
               {Source::Warp, warps, vector * lanes, warp_divisor},
               {Source::Register, rest, covered}});
}

}  // namespace tessera::gpu
