// What a command says: text for people, or with --json one object on stdout for scripts.
#pragma once

#include <llvm/Support/JSON.h>

#include <string>

#include "tessera/error.h"

namespace tessera::cli {

/// Exit codes; scripts rely on them.
enum ExitCode : int { Ok = 0, UserError = 1, Usage = 2, MachineTrouble = 3, Internal = 70 };

class Report {
 public:
  bool json = false;
  int exit = Ok;
  llvm::json::Object fields;  ///< printed at the end if `json`

  /// A line of the result, on stdout; nothing under --json.
  void line(const std::string& text) const;
  /// Something for people to know, on stderr; nothing under --json.
  void remark(const std::string& text) const;
  /// Records an error and the exit code that belongs to it: the rendered text on stderr, or an entry of "errors".
  void error(const Error& e);
  void error(int exit_code, const std::string& code, const std::string& message);
  /// Prints the object. `command` is its first field.
  void finish(const std::string& command);

 private:
  llvm::json::Array errors_;
};

/// The JSON array in `e.json()`.
llvm::json::Array errors_of(const Error& e);
int exit_code_of(const Error& e);

/// Writes a command's product: to `path`, or to stdout if that is "-" (under --json as the field "output").
void emit(Report& report, const std::string& path, const std::string& text);

}  // namespace tessera::cli
