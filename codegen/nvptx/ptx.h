// The LLVM IR of one GPU thread -> PTX.
#pragma once

#include <string>
#include <vector>

#include "codegen/gpu/compile.h"

namespace tessera {

/// What a driver needs to load and launch a kernel; all of it goes into a cache.
struct GpuObject {
  std::string ptx;
  std::string cubin;  ///< machine code of it, if a ptxas has made some for a bundle or a cache; else empty
  std::string entry;
  GpuTarget target;
  int threads = 0;
  std::int64_t shared_bytes = 0;
  std::vector<GpuCheck> checks;
  std::vector<GpuTensorMap> maps;
  bool persistent = false;
  GpuCluster cluster;
  int assembler_level = 0;  ///< 0: the assembler's own
  double passes_ms = 0, codegen_ms = 0;
};

/// Lowers the primitives to intrinsics and inline PTX and runs LLVM. Throws InternalError if the module does not verify or a primitive is newer than
/// the target. Thread safe for distinct modules.
GpuObject make_ptx(GpuIr ir, const GpuTarget& target);

/// What ptxas says about a kernel; found = false where no ptxas is (PATH, CUDA_HOME, /usr/local/cuda).
struct PtxasReport {
  bool found = false, ok = false;
  int registers = 0;
  std::int64_t spill_store_bytes = 0, spill_load_bytes = 0, stack_bytes = 0;
  std::vector<std::string> warnings;  ///< lines that name C7508, C7512, C7514, C7515 ..
  std::string log;
};
PtxasReport run_ptxas(const GpuObject& object);
/// The file that ptxas makes of it; empty where there is none or it refuses the text, as one older than the text's version does.
std::string machine_code(const GpuObject& object);

}  // namespace tessera
