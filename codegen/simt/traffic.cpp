#include "codegen/simt/traffic.h"

#include <algorithm>

namespace tessera::simt {
namespace {

// A divergent warp may never complete a group; beyond this many the oldest is counted as it is.
constexpr std::size_t kMostOpen = 4096;

template <class Map>
std::int64_t distinct(std::span<const std::uint64_t> addresses, std::uint32_t bytes, std::uint32_t step, Map map, std::vector<std::uint64_t>& out) {
  out.clear();
  for (std::uint64_t a : addresses) {
    for (std::uint32_t b = 0; b < bytes; b += step) out.push_back(map(a + b));
    out.push_back(map(a + bytes - 1));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return static_cast<std::int64_t>(out.size());
}

}  // namespace

void Traffic::begin_cta(std::size_t sites, std::size_t warps) {
  sites_ = sites;
  totals.resize(sites);
  streams_.assign(sites * warps, Stream());
}

void Traffic::end_cta() {
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    for (const Group& g : streams_[i].groups) {
      if (g.lanes) close(static_cast<std::uint32_t>(i % sites_), streams_[i], g);
    }
  }
  streams_.clear();
}

void Traffic::access(std::uint32_t warp, std::uint32_t lane, std::uint32_t site, std::uint64_t address, std::uint32_t bytes, bool shared) {
  Stream& s = streams_[warp * sites_ + site];
  s.bytes = bytes;
  s.shared = shared;
  const std::uint32_t k = std::max(s.count[lane], s.first);
  s.count[lane] = k + 1;
  while (s.groups.size() <= k - s.first) s.groups.emplace_back();
  Group& g = s.groups[k - s.first];
  g.addresses[g.lanes++] = address;
  while (!s.groups.empty() && (s.groups.front().lanes == 32 || s.groups.size() > kMostOpen)) {
    close(site, s, s.groups.front());
    s.groups.pop_front();
    ++s.first;
  }
}

void Traffic::together(std::uint32_t site, std::span<const std::uint64_t> addresses, std::uint32_t bytes) {
  std::vector<std::uint64_t> words;
  const std::int64_t n = distinct(addresses, bytes, 4, [](std::uint64_t a) { return a / 4; }, words);
  std::array<std::int64_t, 32> banks{};
  for (std::uint64_t w : words) ++banks[w % 32];
  const std::int64_t ideal = (n + 31) / 32;
  totals[site].shared_cycles += ideal;
  totals[site].conflict_cycles += *std::max_element(banks.begin(), banks.end()) - ideal;
}

void Traffic::close(std::uint32_t site, const Stream& s, const Group& g) {
  const std::span<const std::uint64_t> all(g.addresses.data(), g.lanes);
  if (s.shared) {
    // Wide accesses are served in parts of at most 128 bytes.
    const std::size_t part = s.bytes <= 4 ? 32 : std::max<std::size_t>(1, 128 / s.bytes);
    for (std::size_t i = 0; i < all.size(); i += part) together(site, all.subspan(i, std::min(part, all.size() - i)), s.bytes);
    return;
  }
  std::vector<std::uint64_t> scratch;
  totals[site].sectors += distinct(all, s.bytes, 32, [](std::uint64_t a) { return a / 32; }, scratch);
  const std::int64_t starts = distinct(all, 1, 1, [](std::uint64_t a) { return a; }, scratch);
  totals[site].ideal_sectors += (starts * s.bytes + 31) / 32;
}

}  // namespace tessera::simt
