// Device memory of a launch, and who touched what in it during one run.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include "codegen/simt/simulate.h"

namespace tessera {

/// A stretch of device memory: one tensor, or several that overlap.
struct SimtMemory::Block {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  std::string name;
  std::byte* host = nullptr;
  bool writable = false;
  bool initialised = true;
};

namespace simt {

struct Thread;
enum class Touch : std::uint8_t { Read, Write, Atomic };

/// The memory that CTAs of one run share. CTAs are unordered; threads of one CTA are ordered by their clocks. Thread safe.
class GlobalShadow {
 public:
  /// `report` and `tickets` are memory of the launch too, unchecked.
  GlobalShadow(const SimtMemory& memory, GpuReport* report, std::uint32_t* tickets, bool races, bool locked);

  /// Index of the block that holds [p, p + bytes), or -1.
  int find(const void* p, std::size_t bytes) const;
  const SimtMemory::Block& block(int i) const { return blocks_[static_cast<std::size_t>(i)]; }
  /// "touches `q` 16 bytes beyond its end", for an address that no block holds.
  std::string nearest(const void* p) const;
  /// Compares the access with the earlier ones of the same place, reports and records it.
  void access(int block, const void* p, std::size_t bytes, Touch touch, Thread& thread, std::uint32_t site);

 private:
  struct Cell {
    std::uint32_t writer = 0, reader = 0, atomic = 0;  ///< 1 + CTA; `many` for several
    std::uint32_t write_epoch = 0, read_epoch = 0;
    std::uint32_t write_site = 0, read_site = 0;
    std::uint16_t write_agent = 0, read_agent = 0;
  };
  static constexpr std::uint32_t many = ~0u;
  struct Record {
    std::size_t unit = 4;  ///< bytes a cell; shrinks when a narrower access comes
    std::vector<Cell> cells;
    std::mutex mutex;
  };
  void refine(Record& r, std::size_t bytes, std::size_t unit) const;
  void check(Cell& c, Touch touch, Thread& t, std::uint32_t site, const SimtMemory::Block& b);

  std::vector<SimtMemory::Block> blocks_;  ///< the report and the tickets last
  std::vector<Record> records_;
  bool races_, locked_;
};

}  // namespace simt
}  // namespace tessera
