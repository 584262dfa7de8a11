#include "runtime/cli/report.h"

#include <fmt/format.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdio>

#include "runtime/files.h"

namespace tessera::cli {

void Report::line(const std::string& text) const {
  if (!json) fmt::print("{}\n", text);
}

void Report::remark(const std::string& text) const {
  if (!json) fmt::print(stderr, "{}\n", text);
}

llvm::json::Array errors_of(const Error& e) {
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(e.json());
  if (parsed && parsed->getAsArray()) return std::move(*parsed->getAsArray());
  llvm::consumeError(parsed.takeError());
  llvm::json::Array one;
  one.push_back(llvm::json::Object{{"code", e.code()}, {"message", llvm::json::fixUTF8(e.message())}});
  return one;
}

int exit_code_of(const Error& e) {
  switch (e.kind()) {
    case Error::Kind::User: return UserError;
    case Error::Kind::Machine: return MachineTrouble;
    case Error::Kind::Internal: return Internal;
  }
  return Internal;
}

void Report::error(const Error& e) {
  exit = std::max(exit, exit_code_of(e));
  if (json) {
    for (llvm::json::Value& v : errors_of(e)) errors_.push_back(std::move(v));
  } else {
    fmt::print(stderr, "{}", e.rendered());
  }
}

void Report::error(int exit_code, const std::string& code, const std::string& message) {
  exit = std::max(exit, exit_code);
  if (json) {
    errors_.push_back(llvm::json::Object{{"code", code}, {"message", llvm::json::fixUTF8(message)}});
  } else {
    fmt::print(stderr, "error: {}\n", message);
  }
}

void Report::finish(const std::string& command) {
  if (!json) return;
  fields["command"] = command;
  fields["ok"] = exit == Ok;
  fields["errors"] = std::move(errors_);
  llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(std::move(fields))) << "\n";
  llvm::outs().flush();
}

void emit(Report& report, const std::string& path, const std::string& text) {
  if (path != "-") {
    write_file(path, text);
  } else if (report.json) {
    report.fields["output"] = llvm::json::fixUTF8(text);
  } else {
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
}

}  // namespace tessera::cli
