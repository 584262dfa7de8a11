// Runs a kernel of a .tile file on named host buffers: in the interpreter, straight from the front end, and on the CPU, through the public API.
#pragma once

#include <map>
#include <string>

#include "frontend/frontend.h"
#include "tests/ir/launch.h"

namespace tessera::test {

/// One launch. Optional views that `tensors` lacks are absent.
struct Call {
  std::string file;  ///< below the repository's root
  std::string kernel;
  Constants constants;
  std::map<std::string, Buffer> tensors;  ///< struct fields as `x.slopes`; those to be written too, with the contents the kernel finds
  std::map<std::string, double> scalars;
  std::map<std::string, std::int64_t> symbols;  ///< only those that are no view's whole extent
};

/// The folder that `Call::file` lies below: the source tree, or what TESSERA_TEST_ROOT names where the tests have travelled.
std::string source_root();

enum class On { Interp, Exact, Cpu };
const char* name(On on);

/// The tensors after the launch. Throws std::runtime_error with the diagnostics if the file or the constants are refused.
std::map<std::string, Buffer> run(const Call& call, On on);

/// The kernel as Tile IR, verified. Throws as run().
std::unique_ptr<ir::Kernel> lower(const Call& call);

/// Values of launch symbols that follow from the extents of views: those of dims `s`, `s + c` and `s * c`.
std::map<std::string, std::int64_t> solve_symbols(const ir::Kernel& kernel, const Call& call);

/// The diagnostics as a user sees them; empty if the kernel can be instantiated.
std::string refusal(const Call& call);

/// A tensor that the kernel must store whole: every element starts as NaN, or as -77 if T has no NaN.
Buffer unwritten(DType t, ir::Dims dims);
/// All elements as doubles.
std::vector<double> values(const Buffer& b);
/// Unit roundoff of a dtype: half the distance from 1 to the next number; 0 for integers.
double roundoff(DType t);
/// |got - want| <= abs + rel |want| for every element; equal infinities pass, NaN never does.
void expect_near(const std::vector<double>& got, const std::vector<double>& want, double abs, double rel, const std::string& what);
/// The same bits, with the first difference named.
void expect_same(const Buffer& got, const Buffer& want, const std::string& what);

}  // namespace tessera::test
