// The target-free passes by name, and the order in which they run.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "dsl/diagnostic.h"
#include "dsl/ir.h"

namespace tessera {

struct PassInfo {
  const char* name;
  const char* doc;  ///< one line
  void (*run)(ir::Kernel&, Diagnostics&);
};
/// Every target-free pass once, for `tessera opt --pass=NAME`.
std::span<const PassInfo> target_free_passes();
/// Null if there is none of this name.
const PassInfo* find_pass(std::string_view name);

struct PassOptions {
  bool strict = false;      ///< as if the kernel were declared `strict`: no pass that changes rounding
  bool gpu = false;         ///< for machines whose instances hold tiles in registers: `one_trip` too
  bool verify = true;       ///< the verifier after every pass
  std::string print_after;  ///< a pass, or "all": the kernel is printed after it if the pass changed it
  std::function<void(const std::string& pass, const std::string& text)> print;
  std::function<void(const std::string& pass, double seconds)> timing;
};

/// Runs the passes in order; false, with diagnostics, if one of them found the user's mistake: then the kernel is as that pass left it.
/// Precondition: a sound kernel as the front end makes it. Thread safe for distinct kernels. Throws InternalError if the verifier objects.
bool run_target_free_passes(ir::Kernel& kernel, Diagnostics& diagnostics, const PassOptions& options = {});

}  // namespace tessera
