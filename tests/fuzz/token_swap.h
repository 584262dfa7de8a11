// Real programs with a few words exchanged for others of their kind: still well-formed, seldom well-typed.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "frontend/tokens.h"
#include "tests/fuzz/check_program.h"
#include "tests/fuzz/choices.h"

namespace tessera::fuzz {

inline std::vector<std::string> real_programs(const std::filesystem::path& source) {
  std::vector<std::filesystem::path> paths;
  for (const char* folder : {"tests/programs", "kernels", "dsl/std"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(source / folder))
      if (entry.path().extension() == ".tile") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> out;
  for (const auto& p : paths) {
    std::ifstream in(p, std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return out;
}

inline std::string swap_words(const std::vector<std::string>& corpus, Choices& c) {
  std::string text = c.of(corpus);
  for (std::size_t n = 1 + c.below(3); n > 0; --n) {
    SourceMap sources;
    Diagnostics none;
    Tokens tokens = tokenize(sources, sources.add("text", text), none);
    auto kind = [](const Token& t) {
      switch (t.kind) {
        case TokenKind::Name: return 1;
        case TokenKind::Integer:
        case TokenKind::Real: return 2;
        case TokenKind::Plus:
        case TokenKind::Minus:
        case TokenKind::Star:
        case TokenKind::Slash:
        case TokenKind::Percent:
        case TokenKind::At: return 3;
        case TokenKind::Less:
        case TokenKind::Greater:
        case TokenKind::LessEq:
        case TokenKind::GreaterEq:
        case TokenKind::EqEq:
        case TokenKind::NotEq: return 4;
        default: return 0;
      }
    };
    std::vector<const Token*> words;
    for (const Token& t : tokens.list)
      if (kind(t)) words.push_back(&t);
    if (words.empty()) return text;
    const Token& at = *c.of(words);
    std::vector<std::string> others;
    for (const Token* w : words)
      if (kind(*w) == kind(at)) others.emplace_back(w->text);
    if (kind(at) == 2)
      for (const char* extreme : {"0", "1", "-1", "1024", "4294967296", "9223372036854775807", "18446744073709551615", "0.0", "1e300"})
        others.emplace_back(extreme);
    text = text.substr(0, at.begin) + c.of(others) + text.substr(at.end);
  }
  return text;
}

/// A real program with bytes changed, lost, doubled or moved.
inline std::string damage(const std::vector<std::string>& corpus, Choices& c) {
  std::string text = c.of(corpus);
  for (std::size_t n = 1 + c.below(6); n > 0 && !text.empty(); --n) {
    std::size_t at = c.below(text.size()), length = 1 + c.below(c.chance(50) ? 3 : 60);
    switch (c.below(4)) {
      case 0: text[at] = static_cast<char>(c.chance(50) ? 32 + c.below(95) : c.below(256)); break;
      case 1: text.erase(at, length); break;
      case 2: text.insert(c.below(text.size()), text.substr(at, length)); break;
      default: {
        const std::string& other = c.of(corpus);
        text.insert(at, other.substr(c.below(other.size()), length));
      }
    }
  }
  return text;
}

/// Instantiates all kernels, generics without a default at random.
inline Verdict check_every_kernel(const std::string& text, Choices& c) {
  Verdict out;
  out.broken = check_text(text);
  if (!out.broken.empty()) return out;
  LoadResult r = load_program("fuzz.tile", text, {});
  out.broken = unreadable(r.diagnostics, *r.sources);
  out.loaded = r.program != nullptr;
  if (!r.program || !out.broken.empty()) return out;
  for (const KernelInfo& k : kernels(*r.program)) {
    Constants constants;
    for (const ConstantInfo& g : k.constants) {
      if (g.has_default) continue;
      if (g.kind == "int") constants[g.name] = c.of(std::vector<std::int64_t>{64, 16, 128, 8, 1});
      if (g.kind == "bool") constants[g.name] = c.chance(50);
      if (g.kind == "half" || g.kind == "dtype") constants[g.name] = DType::BF16;
      if (g.kind == "float") constants[g.name] = c.chance(50) ? DType::F32 : DType::F16;
      if (g.kind == "inttype") constants[g.name] = DType::I32;
    }
    Diagnostics diagnostics;
    auto kernel = instantiate(*r.program, k.name, constants, {}, diagnostics);
    out.broken = unreadable(diagnostics, *r.sources);
    if (!kernel && !diagnostics.any()) out.broken = "not lowered, without an error";
    if (kernel)
      for (const std::string& e : ir::verify(*kernel)) out.broken += "unsound IR: " + e + "\n";
    out.lowered |= kernel != nullptr;
    if (!out.broken.empty()) return out;
  }
  return out;
}

}  // namespace tessera::fuzz
