#include "tests/bench/cells.h"

#include <fmt/format.h>

#include <cmath>

namespace tessera::bench {

void expect_near(double got, double want, double tolerance, const std::string& what) {
  if (!(std::fabs(got - want) <= tolerance)) throw WrongResult(fmt::format("{}: got {}, want {}", what, got, want));
}

Cell guarded(const std::string& key, const std::string& title, const std::function<Cell()>& cell) {
  try {
    return cell();
  } catch (const std::exception& e) {
    return failed(key, title, e.what());
  }
}

AnyKernel load_kernel(const std::string& file, const std::string& name, const Consts& constants) {
  return load(std::string(TESSERA_SOURCE_DIR "/") + file).kernel(name, constants);
}

std::string gflops(double flops, double seconds) { return fmt::format("{:.1f} GFLOP/s", flops / seconds * 1e-9); }
std::string gigabytes(double bytes, double seconds) { return fmt::format("{:.1f} GB/s", bytes / seconds * 1e-9); }

}  // namespace tessera::bench
