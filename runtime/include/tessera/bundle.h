// Kernels compiled ahead of time, in one file that `tessera bundle` has made.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tessera/kernel.h"

namespace tessera {

namespace detail {
struct LoadedBundle;
}

/// A kernel of a bundle.
struct BundledKernel {
  std::string name;
  std::vector<std::pair<std::string, std::string>> constants;  ///< as AnyKernel::constants()
  std::vector<std::vector<std::string>> forms;                 ///< for each compiled form, the optional views that it does without
};

/// A loaded bundle. Kernels made from it are those of a Module, but nothing is parsed or compiled, in launches neither, and messages name no place in
/// a source file. The driver's assembler has its turn where a bundle holds no machine code of a GPU kernel that the driver takes. A cheap handle.
/// Thread safety: immutable; all functions may be called from several threads at once.
class TESSERA_API Bundle {
 public:
  /// What its code runs on: "cpu", "sm_90a".
  const std::string& target() const noexcept;
  const std::vector<BundledKernel>& kernels() const noexcept;

  /// The kernel of this name whose constants have these values; others may have any. Of the options, `context`, `on_miss` and `print` count: with a
  /// context the code is loaded on its device now, else by the first launch. Throws Error: E0519 if the bundle has no such kernel, or several; E0804
  /// a context of another target, or Options::debug; Machine if the device refuses the code. Launches throw E0708 for absent views that the bundle
  /// has no form for.
  AnyKernel kernel(std::string_view name, const Consts& constants = {}, const Options& options = {}) const;
  /// The same with a C++ signature, checked here, once. Throws also E0701, E0702, E0703, E0708, E0711.
  template <class... Args>
    requires(sizeof...(Args) > 0)
  Kernel<Args...> kernel(std::string_view name, const Consts& constants = {}, const Options& options = {}) const {
    return Kernel<Args...>(kernel(name, constants, options));
  }

  /// For the library's own use.
  explicit Bundle(std::shared_ptr<const detail::LoadedBundle> loaded) : loaded_(std::move(loaded)) {}

 private:
  std::shared_ptr<const detail::LoadedBundle> loaded_;
};

/// Reads a bundle and checks all of it. Throws Error: Machine if the file cannot be read, is damaged, or was made by another version of the library;
/// E0804 if its code needs another CPU than this. Thread safety: any thread.
TESSERA_API Bundle load_bundle(const std::string& path);

}  // namespace tessera
