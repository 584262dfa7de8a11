// Several kernels at once.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tessera/module.h"

namespace tessera {

/// One call of Module::kernel.
struct KernelRequest {
  Module module;
  std::string name;
  Consts constants = {};
  Options options = {};
};

struct PrepareOptions {
  /// That compile at the same time; 0: as many as the process may run on.
  int threads = 0;
  /// Called after each kernel, by one thread at a time; null: a line on stderr that counts them, if that is a terminal.
  std::function<void(std::size_t done, std::size_t all, const std::string& name)> progress = {};
};

/// Module::kernel of every request, in their order. They are compiled, or taken from the cache, in parallel, and loaded where their options name a
/// device. Throws the Error of the first request that has one, after all are done. Thread safety: any thread.
TESSERA_API std::vector<AnyKernel> prepare_all(std::span<const KernelRequest> requests, const PrepareOptions& options = {});

}  // namespace tessera
