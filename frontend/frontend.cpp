#include "frontend/frontend.h"

#include <fmt/format.h>

#include "frontend/elaborate.h"
#include "frontend/recursion.h"

namespace tessera {

std::string str(const Constant& c) {
  if (auto* i = std::get_if<std::int64_t>(&c)) return fmt::to_string(*i);
  if (auto* b = std::get_if<bool>(&c)) return *b ? "true" : "false";
  if (auto* t = std::get_if<DType>(&c)) return name(*t);
  return std::get<std::string>(c);
}

LoadResult load_program(std::string name, std::string text, const ImportResolver& resolve) {
  LoadResult out;
  std::shared_ptr<Program> program = load_modules(std::move(name), std::move(text), resolve, out.diagnostics);
  out.sources = program->sources;
  if (!out.diagnostics.any()) check_recursion(*program, out.diagnostics);
  if (!out.diagnostics.any()) {
    Elaborator e(*program, out.diagnostics);
    for (auto& m : program->modules) e.check_module(*m);
  }
  if (!out.diagnostics.any()) out.program = program;
  return out;
}

const SourceMap& sources(const Program& program) { return *program.sources; }

std::vector<KernelInfo> kernels(const Program& program) {
  std::vector<KernelInfo> out;
  for (const ast::Item& item : program.root().ast.items) {
    const std::string* name = nullptr;
    if (auto* k = std::get_if<ast::Kernel>(&item.node)) name = &k->name.name;
    if (auto* k = std::get_if<ast::KernelInstance>(&item.node)) name = &k->name.name;
    if (!name) continue;
    const KernelDecl& d = *program.kernel(*name);
    KernelInfo info;
    info.name = *name;
    std::set<std::string> fixed, tuned;
    for (const auto& [instance, module] : d.instances)
      for (const auto& a : instance->args)
        if (a.name) fixed.insert(a.name->name);
    if (d.tune)
      for (const auto& c : d.tune->choices) tuned.insert(c.name.name);
    for (const auto& g : d.ast->generics) {
      if (fixed.count(g.name.name)) continue;
      info.constants.push_back({g.name.name, g.kind == ast::GenericKind::Fn ? "fn" : std::string(program.sources->text(g.kind_span)),
                                g.fallback != nullptr, tuned.count(g.name.name) != 0});
    }
    for (const auto& p : d.ast->params) {
      static constexpr const char* modes[] = {"", "out ", "inout ", "scatter ", "add "};
      info.parameters.push_back(
          {p.name.name, modes[static_cast<int>(p.mode)] + std::string(program.sources->text(p.type.span)) + (p.optional ? " ?" : "")});
    }
    out.push_back(std::move(info));
  }
  return out;
}

namespace {

const KernelDecl* find_kernel(const Program& program, const std::string& kernel, Diagnostics& diagnostics) {
  const KernelDecl* k = program.kernel(kernel);
  if (k) return k;
  std::vector<std::string> names;
  for (const KernelInfo& i : kernels(program)) names.push_back(i.name);
  std::string guess = did_you_mean(kernel, names);
  std::string help = guess.empty() ? (names.empty() ? "the file has no kernels" : fmt::format("it has {}", fmt::join(names, ", ")))
                                   : fmt::format("did you mean `{}`?", guess);
  diagnostics.add({Code::E0519, {program.root().file, 0, 0}, fmt::format("no kernel `{}` in this file", kernel), {}, {}, help});
  return nullptr;
}

}  // namespace

std::vector<Constants> tune_candidates(const Program& program, const std::string& kernel, const Constants& fixed, Diagnostics& diagnostics) {
  const KernelDecl* k = find_kernel(program, kernel, diagnostics);
  if (!k) return {};
  std::vector<Constants> out{Constants{}};
  if (!k->tune) return out;
  try {
    for (const auto& c : k->tune->choices) {
      if (fixed.count(c.name.name)) continue;
      Elaborator e(program, diagnostics);
      std::vector<Constant> values = e.tune_values(c, k->tune_module->scope);
      std::vector<Constants> next;
      for (const Constants& base : out)
        for (const Constant& v : values) {
          Constants one = base;
          one[c.name.name] = v;
          next.push_back(std::move(one));
        }
      out = std::move(next);
      if (out.size() > 100000) {
        diagnostics.add({Code::E0512, c.name.span, fmt::format("`{}` has more than 100000 candidates", kernel), {}, {}, "list fewer values"});
        return {};
      }
    }
    std::vector<Constants> kept;
    for (const Constants& c : out) {
      Constants all = fixed;
      all.insert(c.begin(), c.end());
      Diagnostics scratch;  // a candidate that does not fit is left out, not an error
      Elaborator e(program, scratch);
      try {
        auto s = e.constants_scope(*k, all, true);
        if (e.where_allows(*k, s) && e.tune_allows(*k->tune, s)) kept.push_back(c);
      } catch (const Failed&) {
        for (const Diagnostic& d : scratch.list()) diagnostics.add(d);
        return {};
      }
    }
    return kept;
  } catch (const Failed&) {
    return {};
  }
}

std::vector<std::string> tune_keys(const Program& program, const std::string& kernel) {
  std::vector<std::string> out;
  const KernelDecl* k = program.kernel(kernel);
  if (k && k->tune)
    for (const auto& e : k->tune->keys) out.emplace_back(program.sources->text(e->span));
  return out;
}

Skeleton skeleton_of(const Program& program, const std::string& kernel) {
  const KernelDecl* k = program.kernel(kernel);
  return k ? Skeleton{k->body_module->path, k->ast->name.name} : Skeleton{"", kernel};
}

std::unique_ptr<ir::Kernel> instantiate(const Program& program, const std::string& kernel, const Constants& constants,
                                        const std::vector<std::string>& absent, Diagnostics& diagnostics) {
  const KernelDecl* k = find_kernel(program, kernel, diagnostics);
  if (!k) return nullptr;
  Elaborator e(program, diagnostics);
  return e.lower_kernel(*k, constants, absent);
}

std::unique_ptr<ir::Kernel> instantiate_signature(const Program& program, const std::string& kernel, const Constants& constants,
                                                  Diagnostics& diagnostics) {
  const KernelDecl* k = find_kernel(program, kernel, diagnostics);
  if (!k) return nullptr;
  Elaborator e(program, diagnostics);
  return e.lower_kernel(*k, constants, {}, /*judge_presence=*/false);
}

Schedule schedule_for(const Program& program, const std::string& kernel, const std::string& family, const Constants& constants) {
  const KernelDecl* k = program.kernel(kernel);
  if (!k) return {};
  Diagnostics scratch;
  Elaborator e(program, scratch);
  try {
    return e.schedule(*k, family, constants);
  } catch (const Failed&) {
    return {};
  }
}

}  // namespace tessera
