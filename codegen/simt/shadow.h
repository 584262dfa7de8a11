// Who last wrote and who has since read each place of a CTA's shared memory.
#pragma once

#include <cstdint>
#include <vector>

#include "codegen/simt/memory.h"

namespace tessera::simt {

/// An access as its clocks see it: `agent` at `epoch` acts; `thread` issued it and says what is ordered before.
struct Access {
  Touch touch{};
  std::uint32_t agent = 0, epoch = 0;
  std::uint32_t site = 0;
  Thread* thread = nullptr;
  bool proxy = false;  ///< by the asynchronous proxy: sees ordinary writes only behind a proxy fence
};

/// Cells of 16 bytes, split into words and bytes where narrower accesses come: a cell wider than an access would report races that are none.
class SharedShadow {
 public:
  void reset(std::size_t bytes);
  /// Compares [offset, offset + bytes) with what is recorded there, reports and records.
  void access(std::uint32_t offset, std::uint32_t bytes, const Access& a);

 private:
  struct Use {
    std::uint32_t epoch, site;
    std::uint16_t agent;
    bool atomic;
  };
  struct Cell {
    std::uint32_t epoch = 0;  ///< of the last plain write; 0: none yet
    std::uint32_t site = 0;
    std::uint16_t agent = 0;
    std::vector<Use> uses;  ///< since then, those that are not ordered before another
  };
  struct Granule {
    std::uint32_t first = 0;  ///< index into parts_
    std::uint8_t unit = 16;
  };
  static constexpr std::uint32_t width = 16;
  void split(std::size_t granule, std::uint32_t unit);
  static void touch(Cell& c, const Access& a);
  static void use(Cell& c, const Access& a);

  std::vector<Granule> granules_;
  std::vector<Cell> whole_, parts_;
};

}  // namespace tessera::simt
