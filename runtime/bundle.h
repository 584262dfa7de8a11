// Making bundles.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/cache/bundle.h"
#include "tessera/module.h"

namespace tessera {

/// A kernel with its constants, for a bundle.
struct BundleRequest {
  std::string file, kernel;
  Consts constants;
  std::string winners;
  std::map<std::string, std::int64_t> sizes;    ///< for choosing among the winners
  std::vector<std::vector<std::string>> forms;  ///< optional views to do without, a form each; empty: all forms that the kernel has
};

/// Compiles all of it, in parallel, for "cpu" or an architecture. `told` is called after each kernel, by one thread at a time. Throws Error as load()
/// and Module::kernel do; E0802 for a target that no bundle is for, and for a kernel with more than 16 forms.
cache::BundleFile make_bundle(const std::vector<BundleRequest>& requests, const std::string& target,
                              const std::function<void(const cache::BundleKernel&)>& told = {});

}  // namespace tessera
