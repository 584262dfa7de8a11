// Programs of a CUDA toolkit, where one is installed: for reports, and for machine code that is kept.
#pragma once

#include <string>
#include <vector>

#include "codegen/nvptx/ptx.h"

namespace tessera::nvptx {

/// The path of `ptxas`, `nvdisasm` ..: on PATH, in $CUDA_HOME/bin, $CUDA_PATH/bin or /usr/local/cuda/bin; empty where there is none.
std::string find_tool(const std::string& name);
/// Runs a program; `output` gets what it writes to both streams. Returns its exit status, below 0 if it could not run to its end.
int run_tool(const std::vector<std::string>& words, std::string& output);

/// What `ptxas --version` calls its release, "13.0"; empty where there is none.
std::string ptxas_release();

/// run_ptxas, keeping the machine code in the file `cubin` unless that is empty.
PtxasReport assemble(const GpuObject& object, const std::string& cubin);

/// A new empty file in the folder for temporary files, removed at the end; an empty path if that failed.
struct TemporaryFile {
  explicit TemporaryFile(const std::string& suffix);
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile();
  std::string path;
};

}  // namespace tessera::nvptx
