// Counts of memory traffic: bank conflicts of shared memory, 32-byte sectors of global memory.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "codegen/simt/simulate.h"

namespace tessera::simt {

/// The k-th execution of a site by each lane of a warp belongs to one instruction of the warp, whatever order the simulator ran the lanes in. Not
/// thread safe.
class Traffic {
 public:
  void begin_cta(std::size_t sites, std::size_t warps);
  /// What is left of instructions that not all lanes executed.
  void end_cta();
  /// One lane's access; `address` is an offset into shared memory or a global address.
  void access(std::uint32_t warp, std::uint32_t lane, std::uint32_t site, std::uint64_t address, std::uint32_t bytes, bool shared);
  /// Accesses that the hardware serves together: the rows of an 8x8 matrix.
  void together(std::uint32_t site, std::span<const std::uint64_t> addresses, std::uint32_t bytes);

  std::vector<SimtTraffic> totals;  ///< by site

 private:
  struct Group {
    std::array<std::uint64_t, 32> addresses;
    std::uint32_t lanes = 0;
  };
  struct Stream {
    std::array<std::uint32_t, 32> count{};
    std::uint32_t first = 0;  ///< which execution the front group is
    std::uint32_t bytes = 0;
    bool shared = false;
    std::deque<Group> groups;
  };
  void close(std::uint32_t site, const Stream& s, const Group& g);

  std::size_t sites_ = 0;
  std::vector<Stream> streams_;  ///< by warp and site
};

}  // namespace tessera::simt
