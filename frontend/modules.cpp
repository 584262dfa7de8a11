#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "frontend/elaborate.h"
#include "frontend/parse.h"
#include "frontend/program.h"

namespace tessera {

const std::map<std::string, std::string>& embedded_std() {
  static const std::map<std::string, std::string> table = {
#include "dsl/std_tile.inc"
  };
  return table;
}

const std::map<std::string, std::string>& embedded_winners() {
  static const std::map<std::string, std::string> table = {
#include "dsl/std_winners.inc"
  };
  return table;
}

ImportResolver import_beside(const std::string& importing_file) {
  std::filesystem::path folder = std::filesystem::path(importing_file).parent_path();
  return [folder](const std::string& dotted) -> std::optional<ModuleText> {
    std::string relative = dotted;
    for (char& c : relative)
      if (c == '.') c = '/';
    std::filesystem::path path = folder / (relative + ".tile");
    std::error_code ec;
    if (!std::filesystem::is_regular_file(path, ec)) return std::nullopt;
    std::ifstream in(path, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    if (!in) return std::nullopt;
    return ModuleText{path.string(), text.str()};
  };
}

const KernelDecl* Program::kernel(const std::string& name) const {
  auto it = root().kernels.find(name);
  return it == root().kernels.end() ? nullptr : it->second.get();
}

std::pair<LoadedModule*, std::string> resolve_path(LoadedModule& module, const ast::Path& path) {
  LoadedModule* m = &module;
  for (std::size_t i = 0; i + 1 < path.parts.size(); ++i) {
    auto it = m->imports.find(path.parts[i].name);
    if (it == m->imports.end()) return {nullptr, path.parts.back().name};
    m = it->second;
  }
  return {m, path.parts.back().name};
}

namespace {

class Loader {
 public:
  Loader(Program& program, const ImportResolver& resolve, Diagnostics& diagnostics)
      : program_(program), resolve_(resolve), diagnostics_(diagnostics) {}

  LoadedModule* load(const std::string& dotted, std::string name, std::string text) {
    auto owned = std::make_unique<LoadedModule>();
    LoadedModule* m = owned.get();
    m->path = dotted;
    m->file = program_.sources->add(std::move(name), std::move(text));
    by_path_[dotted] = m;
    program_.modules.push_back(std::move(owned));
    loading_.push_back(dotted);
    const std::size_t before = diagnostics_.count();
    m->ast = parse(*program_.sources, m->file, diagnostics_);
    m->whole = diagnostics_.count() == before;
    m->scope = std::make_shared<Scope>();
    m->scope->module = m;
    for (const ast::Item& item : m->ast.items) declare(*m, item);
    for (const ast::Item& item : m->ast.items) attach(*m, item);
    loading_.pop_back();
    return m;
  }

 private:
  void error(Code code, Span span, std::string message, std::string help = "", std::vector<Label> labels = {}) {
    diagnostics_.add({code, span, std::move(message), std::move(labels), {}, std::move(help)});
  }

  bool claim_name(LoadedModule& m, const ast::Ident& id) {
    auto [it, fresh] = m.defined.emplace(id.name, id.span);
    if (!fresh) error(Code::E0402, id.span, fmt::format("`{}` is defined twice", id.name), "", {{it->second, "first defined here"}});
    return fresh;
  }

  void import(LoadedModule& m, const ast::Import& imp) {
    std::string dotted;
    for (const auto& part : imp.path.parts) dotted += (dotted.empty() ? "" : ".") + part.name;
    ast::Ident local = imp.as ? *imp.as : imp.path.parts.back();
    if (!claim_name(m, local)) return;
    auto known = by_path_.find(dotted);
    if (known != by_path_.end()) {
      for (const auto& active : loading_)
        if (active == dotted) {
          error(Code::E0404, imp.path.span, fmt::format("`{}` imports itself through this file", dotted));
          m.failed.insert(local.name);
          return;
        }
      m.imports[local.name] = known->second;
      return;
    }
    std::optional<ModuleText> text = resolve_ ? resolve_(dotted) : std::nullopt;
    if (!text) {
      auto it = embedded_std().find(dotted);
      if (it != embedded_std().end()) text = ModuleText{"<" + dotted + ">", it->second};
    }
    if (!text) {
      std::vector<std::string> names;
      for (const auto& [name, body] : embedded_std()) names.push_back(name);
      std::string guess = did_you_mean(dotted, names);
      error(Code::E0403, imp.path.span, fmt::format("no module `{}` beside this file or in the standard library", dotted),
            guess.empty() ? "" : fmt::format("did you mean `{}`?", guess));
      m.failed.insert(local.name);
      return;
    }
    m.imports[local.name] = load(dotted, text->name, text->text);
  }

  void declare(LoadedModule& m, const ast::Item& item) {
    std::visit(
        [&](const auto& x) {
          using T = std::decay_t<decltype(x)>;
          if constexpr (std::is_same_v<T, ast::Import>) {
            import(m, x);
          } else if constexpr (std::is_same_v<T, ast::Const>) {
            if (claim_name(m, x.name)) m.constants[x.name.name] = &x;
          } else if constexpr (std::is_same_v<T, ast::NewType>) {
            if (claim_name(m, x.name)) m.newtypes[x.name.name] = std::make_unique<NewTypeDecl>(NewTypeDecl{&x, &m, x.name.name});
          } else if constexpr (std::is_same_v<T, ast::Struct>) {
            if (claim_name(m, x.name)) m.structs[x.name.name] = std::make_unique<StructDecl>(StructDecl{&x, &m, x.name.name});
          } else if constexpr (std::is_same_v<T, ast::Fn>) {
            if (claim_name(m, x.name)) m.fns[x.name.name] = &x;
          } else if constexpr (std::is_same_v<T, ast::Kernel>) {
            if (claim_name(m, x.name)) {
              auto k = std::make_unique<KernelDecl>();
              k->name = x.name.name;
              k->ast = &x;
              k->body_module = &m;
              k->span = x.name.span;
              m.kernels[x.name.name] = std::move(k);
            }
          }
        },
        item.node);
  }

  /// Which of the modules before a path's last name is none, unless its import has failed.
  void tell_missing_module(LoadedModule& m, const ast::Path& path) {
    LoadedModule* at = &m;
    for (const ast::Ident& part : path.parts) {
      const auto it = at->imports.find(part.name);
      if (it != at->imports.end()) {
        at = it->second;
        continue;
      }
      if (!at->whole || at->failed.count(part.name)) return;
      std::vector<std::string> names;
      for (const auto& [n, module] : at->imports) names.push_back(n);
      const std::string guess = did_you_mean(part.name, names);
      error(Code::E0401, part.span, fmt::format("no module `{}` here", part.name), guess.empty() ? "" : fmt::format("did you mean `{}`?", guess));
      return;
    }
  }

  KernelDecl* find_kernel(LoadedModule& m, const ast::Path& path) {
    auto [owner, name] = resolve_path(m, path);
    if (!owner) {
      tell_missing_module(m, path);
      return nullptr;
    }
    if (auto it = owner->kernels.find(name); it != owner->kernels.end()) return it->second.get();
    if (!owner->whole || owner->failed.count(name)) return nullptr;  // told
    std::vector<std::string> names;
    for (const auto& [n, k] : owner->kernels) names.push_back(n);
    std::string guess = did_you_mean(name, names);
    error(Code::E0401, path.span, fmt::format("no kernel `{}` here", name), guess.empty() ? "" : fmt::format("did you mean `{}`?", guess));
    return nullptr;
  }

  /// Second round, when all names are known: kernel instances, tune and schedule blocks.
  void attach(LoadedModule& m, const ast::Item& item) {
    if (const auto* x = std::get_if<ast::KernelInstance>(&item.node)) {
      if (!claim_name(m, x->name)) return;
      KernelDecl* base = find_kernel(m, x->of);
      if (!base) {
        m.failed.insert(x->name.name);
        return;
      }
      if (base->instances.size() >= max_calls) {
        error(Code::E0603, x->of.span, fmt::format("instances of instances are nested more than {} deep", max_calls));
        return;
      }
      auto k = std::make_unique<KernelDecl>(*base);
      k->name = x->name.name;
      k->instances.insert(k->instances.begin(), {x, &m});
      k->span = x->name.span;
      m.kernels[k->name] = std::move(k);
    } else if (const auto* t = std::get_if<ast::Tune>(&item.node)) {
      KernelDecl* k = find_kernel(m, t->target);
      if (!k) return;
      k->tune = t;
      k->tune_module = &m;
      if (t->like)
        if (KernelDecl* like = find_kernel(m, *t->like)) k->tune = like->tune, k->tune_module = like->tune_module;
      // Instances made before their base got its tune block inherit it too.
      for (auto& [name, other] : m.kernels)
        if (!other->tune && other->ast == k->ast) other->tune = k->tune, other->tune_module = k->tune_module;
    } else if (const auto* s = std::get_if<ast::Schedule>(&item.node)) {
      auto [owner, name] = resolve_path(m, s->target);
      if (owner && owner->fns.count(name)) {
        program_.fn_schedules[owner->fns.at(name)].push_back(s);
        return;
      }
      KernelDecl* k = find_kernel(m, s->target);
      const KernelDecl* like = k && s->like ? find_kernel(m, *s->like) : nullptr;
      if (!k || (s->like && !like)) return;
      const auto added = like ? like->schedules : decltype(k->schedules){{s, &m}};
      for (auto& [other_name, other] : m.kernels)
        if (other->ast == k->ast) other->schedules.insert(other->schedules.end(), added.begin(), added.end());
    }
  }

  Program& program_;
  const ImportResolver& resolve_;
  Diagnostics& diagnostics_;
  std::map<std::string, LoadedModule*> by_path_;
  std::vector<std::string> loading_;
};

}  // namespace

std::shared_ptr<Program> load_modules(std::string name, std::string text, const ImportResolver& resolve, Diagnostics& diagnostics) {
  auto program = std::make_shared<Program>();
  Loader(*program, resolve, diagnostics).load("", std::move(name), std::move(text));
  return program;
}

}  // namespace tessera
