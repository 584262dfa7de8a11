#include "runtime/header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <set>

#include "runtime/errors.h"
#include "runtime/header_types.h"

namespace tessera {
namespace {

using header::CppKernel;
using header::CppParameter;

/// A raw string literal; its delimiter occurs nowhere in the text.
std::string literal(const std::string& text) {
  std::string delimiter = "tile";
  while (text.find(")" + delimiter + "\"") != std::string::npos) delimiter += "_";
  return fmt::format("R\"{}({}){}\"", delimiter, text, delimiter);
}

struct Constant {
  std::string name, type;
  bool optional = false;
};

/// The fields of Consts: all compile-time parameters that are not template parameters.
std::vector<Constant> constants(const KernelInfo& info, const CppKernel& kernel) {
  std::vector<Constant> out;
  for (const ConstantInfo& c : info.constants) {
    if (std::find(kernel.type_parameters.begin(), kernel.type_parameters.end(), c.name) != kernel.type_parameters.end()) continue;
    const char* type = c.kind == "int"                        ? "std::int64_t"
                       : c.kind == "bool"                     ? "bool"
                       : c.kind == "struct" || c.kind == "fn" ? "std::string"
                                                              : "tessera::ElementType";
    out.push_back({c.name, type, c.has_default || c.tuned});
  }
  return out;
}

std::string declaration(const KernelInfo& info) {
  std::vector<std::string> generics, params;
  for (const ConstantInfo& c : info.constants) generics.push_back(c.name + ": " + c.kind);
  for (const ParameterInfo& p : info.parameters) params.push_back(p.name + ": " + p.type);
  std::string text =
      fmt::format("{}{}({})", info.name, generics.empty() ? "" : fmt::format("[{}]", fmt::join(generics, ", ")), fmt::join(params, ", "));
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

void write_kernel(std::string& out, const KernelInfo& info, const CppKernel& kernel) {
  const std::string name = identifier(info.name);
  out += fmt::format("\n/// {}\n", declaration(info));
  if (!kernel.open.empty()) {
    out += fmt::format("/// Untyped: {}.\n", kernel.open);
    out += fmt::format(
        "inline tessera::AnyKernel {}(const tessera::Module& module, const tessera::Consts& constants, const tessera::Options& options = {{}}) {{\n",
        name);
    out += fmt::format("  return module.kernel(\"{}\", constants, options);\n}}\n", info.name);
    return;
  }
  const std::vector<Constant> fields = constants(info, kernel);
  if (!kernel.type_parameters.empty()) {
    std::vector<std::string> classes;
    for (const std::string& t : kernel.type_parameters) classes.push_back("class " + t);
    out += fmt::format("template <{}>\n", fmt::join(classes, ", "));
  }
  out += fmt::format("class {} {{\n public:\n  struct Args {{\n", name);
  std::vector<std::string> types, values;
  for (const CppParameter& p : kernel.parameters) {
    out += fmt::format("    {} {}{{}};\n", p.type, identifier(p.field));
    types.push_back(p.type);
    values.push_back("args." + identifier(p.field));
  }
  out += "  };\n  struct Consts {\n";
  for (const Constant& c : fields)
    out += c.optional ? fmt::format("    std::optional<{}> {}{{}};\n", c.type, identifier(c.name))
                      : fmt::format("    {} {}{{}};\n", c.type, identifier(c.name));
  out += "  };\n\n";
  // Overloads, not default arguments: a nested aggregate cannot be one while its class is still open.
  out += fmt::format("  explicit {}(const tessera::Module& module) : {}(module, Consts()) {{}}\n", name, name);
  out += fmt::format("  {}(const tessera::Module& module, const Consts& constants, const tessera::Options& options = {{}})\n", name);
  out += fmt::format("      : kernel_(module.kernel<{}>(\"{}\", all(constants), options)) {{}}\n", fmt::join(types, ", "), info.name);
  out += "  /// Throws tessera::Error (E0704 to E0710) if the arguments do not fit each other.\n";
  out += fmt::format("  void operator()(const tessera::Context& context, {}const Args& args) const {{ kernel_({}); }}\n",
                     kernel.parameters.empty() ? "[[maybe_unused]] " : "",
                     fmt::join(
                         [&] {
                           std::vector<std::string> all{"context"};
                           all.insert(all.end(), values.begin(), values.end());
                           return all;
                         }(),
                         ", "));
  out += fmt::format("  const tessera::Kernel<{}>& kernel() const {{ return kernel_; }}\n\n private:\n", fmt::join(types, ", "));
  out += fmt::format("  static tessera::Consts all({}const Consts& constants) {{\n    tessera::Consts out;\n",
                     fields.empty() ? "[[maybe_unused]] " : "");
  for (const std::string& t : kernel.type_parameters) out += fmt::format("    out.set({{\"{}\", tessera::Element<{}>::type}});\n", t, t);
  for (const Constant& c : fields) {
    const std::string field = identifier(c.name);
    out += c.optional ? fmt::format("    if (constants.{}) out.set({{\"{}\", *constants.{}}});\n", field, c.name, field)
                      : fmt::format("    out.set({{\"{}\", constants.{}}});\n", c.name, field);
  }
  out += "    return out;\n  }\n";
  out += fmt::format("  tessera::Kernel<{}> kernel_;\n}};\n", fmt::join(types, ", "));
}

}  // namespace

std::string identifier(const std::string& text) {
  static const std::set<std::string> reserved{"alignas",       "alignof",
                                              "and",           "and_eq",
                                              "asm",           "auto",
                                              "bitand",        "bitor",
                                              "bool",          "break",
                                              "case",          "catch",
                                              "char",          "char16_t",
                                              "char32_t",      "char8_t",
                                              "class",         "co_await",
                                              "co_return",     "co_yield",
                                              "compl",         "concept",
                                              "const",         "const_cast",
                                              "consteval",     "constexpr",
                                              "constinit",     "continue",
                                              "decltype",      "default",
                                              "delete",        "do",
                                              "double",        "else",
                                              "enum",          "explicit",
                                              "export",        "extern",
                                              "false",         "float",
                                              "for",           "friend",
                                              "goto",          "if",
                                              "inline",        "int",
                                              "long",          "mutable",
                                              "namespace",     "new",
                                              "noexcept",      "not",
                                              "not_eq",        "nullptr",
                                              "operator",      "or",
                                              "or_eq",         "private",
                                              "protected",     "public",
                                              "register",      "reinterpret_cast",
                                              "requires",      "return",
                                              "short",         "signed",
                                              "sizeof",        "static",
                                              "static_assert", "static_cast",
                                              "struct",        "switch",
                                              "template",      "this",
                                              "thread_local",  "throw",
                                              "true",          "try",
                                              "typedef",       "typeid",
                                              "typename",      "union",
                                              "unsigned",      "using",
                                              "virtual",       "void",
                                              "volatile",      "wchar_t",
                                              "while",         "xor",
                                              "xor_eq",        "std",
                                              "tessera",       "load",
                                              "source",        "Args",
                                              "Consts"};
  std::string out;
  for (char c : text) out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  if (out.empty() || (out[0] >= '0' && out[0] <= '9')) out = "tile_" + out;
  return reserved.contains(out) ? out + "_" : out;
}

std::string typed_header(const std::string& name, const std::string& text) {
  const LoadResult loaded = load_program(name, text, import_beside(name));
  if (loaded.diagnostics.any()) throw to_error(loaded.diagnostics, *loaded.sources);
  const header::Sources sources(name, text);
  const std::string file = std::filesystem::path(name).filename().string();
  std::string body;
  std::map<std::string, std::string> nominals;
  for (const KernelInfo& info : kernels(*loaded.program)) {
    const CppKernel kernel = header::resolve(sources, info.name);
    nominals.insert(kernel.nominals.begin(), kernel.nominals.end());
    write_kernel(body, info, kernel);
  }
  std::string out = fmt::format(
      "// Made by `tessera header {}`. Do not edit.\n#pragma once\n\n#include <cstdint>\n#include <optional>\n#include <string>\n\n#include "
      "<tessera/tessera.h>\n\n",
      file);
  out += fmt::format("namespace {} {{\n\n/// {}\ninline constexpr char source[] =\n{};\n\n", identifier(std::filesystem::path(name).stem().string()),
                     file, literal(text));
  out += "/// Checks the source. Throws tessera::Error. Thread safety: any thread.\ninline tessera::Module load() {\n";
  std::string imports;
  for (const auto& [path, module] : sources.modules()) {
    const auto standard = embedded_std().find(path);
    if (path.empty() || (standard != embedded_std().end() && standard->second == module->text)) continue;
    imports += fmt::format("{{\"{}\", {}}}, ", path, literal(module->text));
  }
  out += imports.empty() ? fmt::format("  return tessera::load_source(\"{}\", source);\n}}\n", file)
                         : fmt::format("  return tessera::load_source(\"{}\", source, {{{}}});\n}}\n", file, imports.substr(0, imports.size() - 2));
  for (const auto& [nominal, base] : nominals) out += fmt::format("\nusing {} = tessera::Nominal<{}, \"{}\">;\n", nominal, base, nominal);
  return out + body + fmt::format("\n}}  // namespace {}\n", identifier(std::filesystem::path(name).stem().string()));
}

}  // namespace tessera
