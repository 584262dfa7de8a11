// Hazards of a run, one entry a (kind, site, other site).
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "codegen/simt/simulate.h"

namespace tessera::simt {

inline constexpr std::uint32_t no_site = ~0u;

/// "shared load in `body`", with the instruction's number, since a block may hold many.
std::string describe(const std::vector<SimtSite>& sites, std::uint32_t site);

/// Thread safe.
class HazardLog {
 public:
  explicit HazardLog(const std::vector<SimtSite>& sites) : sites_(&sites) {}
  /// Reads as "<site> <what> <other>"; the first text stays.
  void report(HazardKind kind, std::uint32_t site, const std::string& what, std::uint32_t other = no_site);
  std::vector<Hazard> take();

 private:
  using Key = std::tuple<HazardKind, std::uint32_t, std::uint32_t>;
  const std::vector<SimtSite>* sites_;
  std::mutex mutex_;
  std::map<Key, std::size_t> index_;
  std::vector<Hazard> list_;
};

}  // namespace tessera::simt
