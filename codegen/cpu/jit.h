// LLVM's linker of compiled objects into this process.
#pragma once

#include <llvm/ExecutionEngine/Orc/LLJIT.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dsl/diagnostic.h"

namespace tessera::cpu {

/// The value, or InternalError with LLVM's words after `what`.
template <class T>
T or_die(llvm::Expected<T> value, const char* what) {
  if (!value) TESSERA_UNREACHABLE(std::string(what) + ": " + llvm::toString(value.takeError()));
  return static_cast<T>(std::move(*value));
}
template <class T>
T& or_die(llvm::Expected<T&> value, const char* what) {
  if (!value) TESSERA_UNREACHABLE(std::string(what) + ": " + llvm::toString(value.takeError()));
  return *value;
}
void or_die(llvm::Error error, const char* what);

/// An LLJIT that shows objects nothing of this process. Precondition: create_machine was called once, which registers the native target.
std::unique_ptr<llvm::orc::LLJIT> create_jit(const llvm::Triple& triple);

/// Gives names to addresses of this process within one library.
void define(llvm::orc::LLJIT& jit, llvm::orc::JITDylib& library, const std::vector<std::pair<std::string_view, void*>>& symbols);

}  // namespace tessera::cpu
