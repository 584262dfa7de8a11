// The border between the library and its users: everything that goes wrong inside leaves as tessera::Error.
#pragma once

#include <functional>
#include <string>

#include "dsl/diagnostic.h"
#include "tessera/error.h"

namespace tessera {

/// Trouble with files, memory or devices: not the user's fault and not ours.
class MachineError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The public form of diagnostics. Precondition: there are some.
Error to_error(const Diagnostics& diagnostics, const SourceMap& sources);
Error to_error(const Diagnostic& diagnostic, const SourceMap& sources);
/// A diagnostic that lies in no source file.
Error user_error(Code code, const std::string& message, const std::string& help = "");
Error machine_error(const std::string& message);
/// `repro`: the file that holds the kernel at fault, or empty.
Error internal_failure(const std::string& message, const std::string& repro);

[[noreturn]] void fail(Code code, const std::string& message, const std::string& help = "");

/// Runs `f`; exceptions leave as Error. `repro` gives the text of a file that reproduces an internal error; it is written to the folder for
/// temporary files, which the message names.
template <class F>
auto guarded(F&& f, const std::function<std::string()>& repro = {}) -> decltype(f());

/// Rethrows the exception being handled as Error. Precondition: called in a catch block.
[[noreturn]] void rethrow_as_error(const std::function<std::string()>& repro);

template <class F>
auto guarded(F&& f, const std::function<std::string()>& repro) -> decltype(f()) {
  try {
    return f();
  } catch (...) {
    rethrow_as_error(repro);
  }
}

}  // namespace tessera
