// The groups of cells. Each measures ours through the public API, beside a rival or a figure of the machine, in one process and in turns.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tessera/tessera.h"
#include "tests/bench/machine.h"
#include "tests/bench/report.h"

namespace tessera::bench {

struct Setting {
  int threads = 1;
  int rounds = 9;
  std::string python;  ///< an interpreter that has the Python rivals; "" without
  Peak peak;           ///< of one thread
};

using Group = std::vector<Cell> (*)(const Setting&);

std::vector<Cell> gemm_cells(const Setting&);
std::vector<Cell> attention_cells(const Setting&);
std::vector<Cell> attention_rival_cells(const Setting&);
std::vector<Cell> row_cells(const Setting&);
std::vector<Cell> decode_cells(const Setting&);
/// Kernels of tests/foreign: no library has them.
std::vector<Cell> foreign_cells(const Setting&);
std::vector<Cell> compile_cells(const Setting&);
/// The product emitter by itself, without language and lowering: what they can reach at best.
std::vector<Cell> emitter_cells(const Setting&);

/// A result that is not what the definition says.
struct WrongResult : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Throws WrongResult if |got - want| > tolerance.
void expect_near(double got, double want, double tolerance, const std::string& what);

/// Runs a cell; what it throws (an Error of the library, a WrongResult) becomes a failed cell.
Cell guarded(const std::string& key, const std::string& title, const std::function<Cell()>& cell);

/// Kernel `name` of a source file below the source directory. Throws Error.
AnyKernel load_kernel(const std::string& file, const std::string& name, const Consts& constants);

std::string gflops(double flops, double seconds);
std::string gigabytes(double bytes, double seconds);

}  // namespace tessera::bench
