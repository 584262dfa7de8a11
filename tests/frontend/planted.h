// Programs with one planted mistake, read from tests/diagnostics/*.txt. The form is described in diagnostics_test.cpp.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/frontend.h"
#include "frontend/limits.h"

namespace tessera::testing {

/// The text around planted statements: views of every mode, constants, scalars, and a tile range `i` of the rows of x.
inline const char* const kItems = R"(
type Meter = f32;
struct Pair[M: int] { a: f32[M], b: f32[M] = 0.0 }
fn check(x: f32) { assert x > 0.0; }
fn twice(x: f32) -> f32 { return x + x; }
fn both(x: f32) -> (f32, f32) { return x, x; }
fn zeros[P: int]() -> f32[P] { return fill(0.0, f32[P]); }
)";
inline const char* const kParams =
    "x: view f32[M, N], y: view f32[N], w: view T[M, K], ids: view i32[M], o: out view f32[M], sc: scatter view f32[M], ad: add view f32[M], "
    "io: inout view f32[M], opt: view f32[M] ?, s: f32, n: i32, d: Meter";

inline std::string in_kernel(const std::string& statements) {
  return fmt::format(
      "{}kernel planted[T: half = f16, BM: int = 16, K: int = 64]({})\nover (i in tiles(M, BM)) {{\n{}\n    o[i] = fill(0.0, f32[BM]);\n}}\n", kItems,
      kParams, statements);
}
inline std::string in_fn(const std::string& statements) {
  return fmt::format("{}fn planted[T: half, BM: int, K: int, M: dim, N: dim]({}, i: range[M]) -> f32 {{\n{}\n    return s;\n}}\n", kItems, kParams,
                     statements);
}
inline std::string in_lambda(const std::string& statements) {
  return in_kernel(fmt::format("    let lambda_ = |q_| {{\n{}\n    return q_;\n    }};\n    let called_ = lambda_(s);", statements));
}

/// One planted mistake.
struct Planted {
  std::string name;                                        ///< for the test
  std::string code, context;                               ///< "E0201", "plain"
  std::vector<std::pair<std::string, std::string>> files;  ///< name and text, marks taken out; the root first
  std::string caret = "nowhere";                           ///< "root:3:4-3:8"
  std::vector<std::string> labels;                         ///< places, sorted; empty: not checked
  std::string kernel;                                      ///< to instantiate, or empty
  Constants constants;
  std::vector<std::string> absent;
  std::vector<std::string> trail;  ///< inlined calls, innermost first; ".." for any
  bool padded = false;             ///< with blanks, beyond the largest file
};

inline std::string trimmed(std::string s) {
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.back()))) s.pop_back();
  std::size_t i = 0;
  while (i < s.size() && std::isspace(static_cast<unsigned char>(s[i]))) ++i;
  return s.substr(i);
}

inline std::vector<std::string> split(const std::string& s, char by) {
  std::vector<std::string> out;
  std::stringstream in(s);
  for (std::string part; std::getline(in, part, by);)
    if (!trimmed(part).empty()) out.push_back(trimmed(part));
  return out;
}

/// Takes the marks out of the last file and notes what they mark.
inline void take_marks(Planted& c) {
  auto& [name, text] = c.files.back();
  std::string plain;
  struct At {
    std::size_t line = 1, column = 1;
  } at;
  std::vector<At> caret, label;
  auto place = [&](const At& b, const At& e) { return fmt::format("{}:{}:{}-{}:{}", name, b.line, b.column, e.line, e.column); };
  for (std::size_t i = 0; i < text.size();) {
    auto is = [&](const char* mark) { return text.compare(i, std::string(mark).size(), mark) == 0; };
    if (is("«"))
      caret.push_back(at), i += 2;
    else if (is("»"))
      c.caret = place(caret.back(), at), i += 2;
    else if (is("‹"))
      label.push_back(at), i += 3;
    else if (is("›"))
      c.labels.push_back(place(label.back(), at)), label.pop_back(), i += 3;
    else {
      if (text[i] == '\n')
        ++at.line, at.column = 1;
      else
        ++at.column;
      plain += text[i++];
    }
  }
  text = plain;
  std::sort(c.labels.begin(), c.labels.end());
}

inline void read_options(Planted& c, const std::vector<std::string>& options) {
  for (std::size_t i = 1; i < options.size(); ++i) {
    std::vector<std::string> words = split(options[i], ' ');
    if (words[0] == "trail") {
      c.trail = split(options[i].substr(5), ',');
      continue;
    }
    if (words[0] == "padded") {
      c.padded = true;
      continue;
    }
    c.kernel = words.at(1);
    for (std::size_t k = 2; k < words.size(); ++k) {
      std::size_t eq = words[k].find('=');
      std::string n = words[k].substr(0, eq), v = words[k].substr(eq + 1);
      if (v == "absent")
        c.absent.push_back(n);
      else if (std::isdigit(static_cast<unsigned char>(v[0])) || v[0] == '-')
        c.constants[n] = static_cast<std::int64_t>(std::stoll(v));
      else if (v == "true" || v == "false")
        c.constants[n] = v == "true";
      else if (auto t = dtype_from_name(v))
        c.constants[n] = *t;
      else
        c.constants[n] = v;
    }
  }
}

inline std::vector<Planted> planted_cases(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Planted> out;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    std::string head, line, body;
    std::map<std::string, int> number;
    auto add = [&](const std::string& context, const std::vector<std::string>& options,
                   const std::vector<std::pair<std::string, std::string>>& files) {
      Planted c;
      c.code = path.stem().string();
      c.context = context;
      int k = ++number[context];
      c.name = c.code + "_" + context + (k > 1 ? fmt::format("_{}", k) : "");
      read_options(c, options);
      for (const auto& f : files) c.files.push_back(f), take_marks(c);
      out.push_back(std::move(c));
    };
    auto flush = [&] {
      if (head.empty()) return;
      std::vector<std::string> options = split(head, ';');
      if (options[0] == "statements") {
        while (!body.empty() && body.back() == '\n') body.pop_back();
        add("plain", options, {{"root", in_kernel(body)}});
        add("module", options, {{"root", "import lib;\n"}, {"lib", in_fn(body)}});
        std::vector<std::string> called = options;
        if (path.stem().string() >= "E02") called.push_back("trail the lambda");  // before, nothing is called yet
        add("lambda", called, {{"root", in_lambda(body)}});
      } else if (options[0].rfind("file ", 0) == 0) {
        Planted& c = out.back();
        c.files.push_back({options[0].substr(5), body});
        take_marks(c);
      } else {
        add(options[0], options, {{"root", body}});
      }
    };
    while (std::getline(in, line)) {
      if (line.rfind("===", 0) == 0) {
        flush();
        head = trimmed(line.substr(3));
        body.clear();
      } else {
        body += line + "\n";
      }
    }
    flush();
  }
  return out;
}

struct Outcome {
  Diagnostics diagnostics;
  std::shared_ptr<SourceMap> sources;
};

inline Outcome run(const Planted& c) {
  ImportResolver resolve = [&](const std::string& dotted) -> std::optional<ModuleText> {
    for (std::size_t i = 1; i < c.files.size(); ++i)
      if (c.files[i].first == dotted) return ModuleText{c.files[i].first, c.files[i].second};
    return std::nullopt;
  };
  std::string text = c.files[0].second;
  if (c.padded) text.resize(limits::file_bytes + 1, ' ');
  LoadResult loaded = load_program(c.files[0].first, text, resolve);
  Outcome out{loaded.diagnostics, loaded.sources};
  if (c.kernel.empty() || !loaded.program) return out;
  EXPECT_EQ(instantiate(*loaded.program, c.kernel, c.constants, c.absent, out.diagnostics), nullptr);
  return out;
}

}  // namespace tessera::testing
