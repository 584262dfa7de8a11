#include "runtime/header_types.h"

#include <fmt/format.h>

#include "dsl/diagnostic.h"
#include "dsl/dtype.h"
#include "frontend/parse.h"

namespace tessera::header {
namespace {

std::string dotted(const ast::Path& p) {
  std::string out;
  for (const ast::Ident& i : p.parts) out += (out.empty() ? "" : ".") + i.name;
  return out;
}

const char* cpp_of(DType t) {
  switch (t) {
    case DType::Bool: return "bool";
    case DType::I8: return "std::int8_t";
    case DType::I16: return "std::int16_t";
    case DType::I32: return "std::int32_t";
    case DType::I64: return "std::int64_t";
    case DType::U8: return "std::uint8_t";
    case DType::U16: return "std::uint16_t";
    case DType::U32: return "std::uint32_t";
    case DType::U64: return "std::uint64_t";
    case DType::F16: return "tessera::f16";
    case DType::BF16: return "tessera::bf16";
    case DType::F32: return "float";
    case DType::F64: return "double";
    case DType::E4M3: return "tessera::e4m3";
    case DType::E5M2: return "tessera::e5m2";
    case DType::E8M0: return "tessera::e8m0";
    case DType::E2M1: return "tessera::e2m1";
    case DType::I4: return "tessera::i4";
    case DType::U4: return "tessera::u4";
    case DType::Idx: return "std::int64_t";
  }
  TESSERA_UNREACHABLE("bad dtype");
}

bool is_element_kind(ast::GenericKind k) {
  switch (k) {
    case ast::GenericKind::DTypeAny:
    case ast::GenericKind::Half:
    case ast::GenericKind::Float:
    case ast::GenericKind::IntType: return true;
    case ast::GenericKind::Int:
    case ast::GenericKind::Bool:
    case ast::GenericKind::Struct:
    case ast::GenericKind::Dim:
    case ast::GenericKind::Fn: return false;
  }
  TESSERA_UNREACHABLE("bad generic kind");
}

/// `a.b` as an expression, if it is one.
std::optional<ast::Path> path_of(const ast::Expr& e) {
  ast::Path p;
  p.span = e.span;
  if (const auto* n = std::get_if<ast::Name>(&e.node)) {
    p.parts.push_back({n->name, e.span});
    return p;
  }
  const auto* post = std::get_if<ast::Postfix>(&e.node);
  const auto* base = post && post->base ? std::get_if<ast::Name>(&post->base->node) : nullptr;
  if (!base) return std::nullopt;
  p.parts.push_back({base->name, e.span});
  for (const ast::Suffix& s : post->suffixes) {
    const auto* m = std::get_if<ast::Member>(&s.kind);
    if (!m) return std::nullopt;
    p.parts.push_back(m->name);
  }
  return p;
}

template <class T>
const T* find(const SourceModule& m, const std::string& name) {
  for (const ast::Item& i : m.ast.items) {
    if (const auto* t = std::get_if<T>(&i.node); t && t->name.name == name) return t;
  }
  return nullptr;
}

/// The module and last part that a path names from `m`.
std::pair<const SourceModule*, std::string> target(const SourceModule& m, const ast::Path& p) {
  if (p.parts.size() == 1) return {&m, p.parts[0].name};
  const auto import = m.imports.find(p.parts[0].name);
  if (import != m.imports.end() && p.parts.size() == 2) return {import->second, p.parts[1].name};
  return {nullptr, ""};
}

class Resolver {
 public:
  explicit Resolver(const Sources& sources) : sources_(sources) {}

  CppKernel kernel(const std::string& name) {
    Scope scope;
    const SourceModule* m = &sources_.root();
    std::string at = name;
    // Instances first: each binds some parameters of what it instantiates.
    while (const auto* instance = find<ast::KernelInstance>(*m, at)) {
      for (const ast::Arg& a : instance->args) {
        if (!a.name || scope.contains(a.name->name)) continue;
        const std::optional<ast::Path> p = path_of(*a.value);
        scope[a.name->name] = p ? meaning(*m, *p, {}) : Meaning{};
      }
      std::tie(m, at) = target(*m, instance->of);
      TESSERA_ASSERT(m, "an instance of a kernel that is not there");
    }
    const auto* k = find<ast::Kernel>(*m, at);
    TESSERA_ASSERT(k, "a kernel that is not there");
    for (const ast::Generic& g : k->generics) {
      if (scope.contains(g.name.name)) continue;
      if (is_element_kind(g.kind)) {
        scope[g.name.name] = Meaning{g.name.name, nullptr, nullptr, {}, {}};
      } else if (g.kind == ast::GenericKind::Struct && g.fallback) {
        if (const std::optional<ast::Path> p = path_of(*g.fallback)) scope[g.name.name] = meaning(*m, *p, {});
      }
    }
    for (const ast::Param& p : k->params) parameter(*m, scope, p.name.name, p.type, p.mode, p.optional);
    for (const ast::Generic& g : k->generics) {
      const auto bound = scope.find(g.name.name);
      if (is_element_kind(g.kind) && bound != scope.end() && bound->second.cpp == g.name.name && used_.contains(g.name.name)) {
        out_.type_parameters.push_back(g.name.name);
      }
    }
    return std::move(out_);
  }

 private:
  Meaning meaning(const SourceModule& m, const ast::Path& p, const Scope& scope) {
    if (p.parts.size() == 1) {
      if (const auto g = scope.find(p.parts[0].name); g != scope.end()) return g->second;
      if (const std::optional<DType> t = dtype_from_name(p.parts[0].name)) return {cpp_of(*t), nullptr, nullptr, {}, {}};
    }
    const auto [module, name] = target(m, p);
    if (!module) return {};
    if (const auto* s = find<ast::Struct>(*module, name)) return {{}, s, module, {}, {}};
    if (const auto* n = find<ast::NewType>(*module, name)) {
      if (const auto* named = std::get_if<ast::NamedType>(&n->type.node)) {
        const Meaning base = meaning(*module, named->path, {});
        return {name, nullptr, nullptr, name, base.nominal.empty() ? base.cpp : base.base};
      }
    }
    return {};
  }

  void parameter(const SourceModule& m, const Scope& scope, const std::string& name, const ast::TypeExpr& type, ast::ParamMode mode, bool optional) {
    const auto* named = std::get_if<ast::NamedType>(&type.node);
    if (!named) return;  // functions are compile-time values
    const Meaning what = meaning(m, named->path, scope);
    if (what.record) {
      Scope inner;
      for (std::size_t i = 0; i < what.record->generics.size() && i < named->dims.size(); ++i) {
        const std::optional<ast::Path> p = path_of(*named->dims[i]);
        if (p) inner[what.record->generics[i].name.name] = meaning(m, *p, scope);
      }
      for (const ast::Field& f : what.record->fields) parameter(*what.module, inner, name + "." + f.name.name, f.type, mode, false);
      return;
    }
    if (what.cpp.empty()) {
      out_.open = fmt::format("`{}` has a type that the kernel's constants choose: {}", name, dotted(named->path));
      return;
    }
    used_.insert({what.cpp, true});
    if (!what.nominal.empty()) out_.nominals[what.nominal] = what.base;
    CppParameter p{name, name, what.cpp, {}};
    for (char& c : p.field) {
      if (c == '.') c = '_';
    }
    p.written = dotted(named->path);
    if (named->view) {
      static constexpr const char* wrappers[] = {"In", "Out", "InOut", "Scatter", "Add"};
      p.type = fmt::format("tessera::{}<{}, {}>", wrappers[static_cast<int>(mode)], what.cpp, named->dims.size());
      if (optional) p.type = fmt::format("std::optional<{}>", p.type);
      p.written = "view " + p.written;
    }
    out_.parameters.push_back(std::move(p));
  }

  const Sources& sources_;
  CppKernel out_;
  std::map<std::string, bool> used_;
};

}  // namespace

Sources::Sources(const std::string& name, const std::string& text) : resolve_(import_beside(name)) { add("", name, text); }

SourceModule& Sources::add(const std::string& path, const std::string& name, const std::string& text) {
  if (const auto at = modules_.find(path); at != modules_.end()) return *at->second;
  SourceModule& m = *modules_.emplace(path, std::make_unique<SourceModule>()).first->second;
  m.path = path;
  m.name = name;
  m.text = text;
  Diagnostics diagnostics;
  m.ast = parse(map_, map_.add(name, text), diagnostics);
  TESSERA_ASSERT(!diagnostics.any(), "a checked file that does not parse");
  for (const ast::Item& i : m.ast.items) {
    const auto* import = std::get_if<ast::Import>(&i.node);
    if (!import) continue;
    const std::string to = dotted(import->path);
    std::optional<ModuleText> found = resolve_(to);
    if (const auto standard = embedded_std().find(to); !found && standard != embedded_std().end()) found = ModuleText{to, standard->second};
    TESSERA_ASSERT(found, "a checked file with an import that is not there");
    m.imports[import->as ? import->as->name : import->path.parts.back().name] = &add(to, found->name, found->text);
  }
  return m;
}

CppKernel resolve(const Sources& sources, const std::string& name) { return Resolver(sources).kernel(name); }

}  // namespace tessera::header
