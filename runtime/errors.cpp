#include "runtime/errors.h"

#include <fmt/format.h>

#include <cstdlib>
#include <new>
#include <system_error>

#include "runtime/files.h"

namespace tessera {

struct Error::Data {
  Kind kind;
  std::vector<Problem> problems;
  std::string rendered;
  std::string json;
};

Error::Error(Kind kind, std::vector<Problem> problems, std::string rendered, std::string json)
    : data_(std::make_shared<const Data>(Data{kind, std::move(problems), std::move(rendered), std::move(json)})) {}
Error::Kind Error::kind() const noexcept { return data_->kind; }
const std::string& Error::code() const noexcept { return data_->problems.front().code; }
const std::string& Error::message() const noexcept { return data_->problems.front().message; }
const Place& Error::place() const noexcept { return data_->problems.front().place; }
const std::vector<Problem>& Error::problems() const noexcept { return data_->problems; }
const std::string& Error::rendered() const noexcept { return data_->rendered; }
const std::string& Error::json() const noexcept { return data_->json; }
const char* Error::what() const noexcept { return data_->rendered.c_str(); }

namespace {

Place place(const SourceMap& sources, Span span) {
  if (!span.known()) return {};
  const Position p = sources.begin(span);
  return {sources.file(span.file).name, p.line, p.column};
}

/// Kinds without a diagnostic code; the JSON has the fields that render_json gives.
Error plain(Error::Kind kind, const std::string& code, const std::string& message) {
  std::string escaped;
  for (char c : message) {
    if (c == '"' || c == '\\') {
      escaped += '\\';
      escaped += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      escaped += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      escaped += c;
    }
  }
  return Error(kind, {Problem{code, message, {}, {}, {}}}, fmt::format("{}{}\n", kind == Error::Kind::Internal ? "" : "error: ", message),
               fmt::format("[{{\"code\":\"{}\",\"message\":\"{}\"}}]", code, escaped));
}

}  // namespace

Error to_error(const Diagnostics& diagnostics, const SourceMap& sources) {
  TESSERA_ASSERT(diagnostics.any(), "an error without a diagnostic");
  std::vector<Problem> problems;
  for (const Diagnostic& d : diagnostics.list()) {
    Problem p{info(d.code).name, d.message, place(sources, d.span), {}, d.help};
    for (const Label& l : d.labels) p.notes.push_back({place(sources, l.span), l.text});
    for (const Label& l : d.trail) p.notes.push_back({place(sources, l.span), l.text});
    problems.push_back(std::move(p));
  }
  return Error(Error::Kind::User, std::move(problems), render(diagnostics, sources), render_json(diagnostics, sources));
}

Error to_error(const Diagnostic& diagnostic, const SourceMap& sources) {
  Diagnostics ds;
  ds.add(diagnostic);
  return to_error(ds, sources);
}

Error user_error(Code code, const std::string& message, const std::string& help) {
  Diagnostic d;
  d.code = code;
  d.message = message;
  d.help = help;
  return to_error(d, SourceMap());
}

Error machine_error(const std::string& message) { return plain(Error::Kind::Machine, "machine", message); }

Error internal_failure(const std::string& message, const std::string& repro) {
  std::string text = message.starts_with("internal error") ? message : "internal error: " + message;
  text += repro.empty() ? "; please report it" : fmt::format("; please report it with the file {}", repro);
  return plain(Error::Kind::Internal, "internal", text);
}

void fail(Code code, const std::string& message, const std::string& help) { throw user_error(code, message, help); }

void rethrow_as_error(const std::function<std::string()>& repro) {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const MachineError& e) {
    throw machine_error(e.what());
  } catch (const std::bad_alloc&) {
    throw machine_error("out of memory");
  } catch (const std::system_error& e) {
    throw machine_error(e.what());
  } catch (const std::exception& e) {
    std::string file;
    try {
      if (repro) file = write_temporary("tessera-repro-", ".ir", repro());
    } catch (...) {  // the report of the first fault matters more than a second one
    }
    throw internal_failure(e.what(), file);
  }
}

}  // namespace tessera
