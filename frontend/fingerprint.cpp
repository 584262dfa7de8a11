#include "frontend/fingerprint.h"

#include <map>
#include <set>

#include "frontend/program.h"
#include "frontend/tokens.h"

namespace tessera {
namespace {

/// Items that are reached from some, by the names in them. A name that a variable hides reaches its item too, which errs on the safe side.
class Reach {
 public:
  Reach(const Program& program, std::string family) : program_(program), family_(std::move(family)) {
    for (const auto& m : program.modules) {
      for (const ast::Item& item : m->ast.items) {
        std::visit(
            [&](const auto& x) {
              owners_[&x] = {m.get(), &item};
              if constexpr (requires { x.name.name; }) named_[{m.get(), x.name.name}] = &item;
            },
            item.node);
      }
    }
  }

  /// `node`: a Kernel or KernelInstance of some item.
  void start(const void* node) {
    if (const auto at = owners_.find(node); at != owners_.end()) add(*at->second.first, *at->second.second);
  }
  void start(const ast::Schedule* s) {
    if (!s->on || s->on->name == family_) start(static_cast<const void*>(s));
  }
  const std::string& words() const { return words_; }

 private:
  void add(LoadedModule& m, const ast::Item& item) {
    if (!seen_.insert(&item).second) return;
    const std::vector<Token>& all = tokens_of(m);
    words_ += m.path + ":";
    std::vector<std::pair<LoadedModule*, const ast::Item*>> reached;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].begin < item.span.begin || all[i].end > item.span.end) continue;
      words_ += " ";
      words_ += all[i].text;
      if (all[i].kind != TokenKind::Name) continue;
      LoadedModule* owner = &m;
      std::size_t j = i;
      for (auto import = owner->imports.find(std::string(all[j].text));
           import != owner->imports.end() && j + 2 < all.size() && all[j + 1].kind == TokenKind::Dot && all[j + 2].kind == TokenKind::Name;
           import = owner->imports.find(std::string(all[j].text))) {
        owner = import->second;
        j += 2;
      }
      if (const auto at = named_.find({owner, std::string(all[j].text)}); at != named_.end()) reached.emplace_back(owner, at->second);
    }
    words_ += "\n";
    if (const auto* fn = std::get_if<ast::Fn>(&item.node)) {
      if (const auto at = program_.fn_schedules.find(fn); at != program_.fn_schedules.end()) {
        for (const ast::Schedule* s : at->second) start(s);
      }
    }
    for (const auto& [owner, next] : reached) add(*owner, *next);
  }

  const std::vector<Token>& tokens_of(const LoadedModule& m) {
    auto [at, fresh] = tokens_.try_emplace(&m);
    if (fresh) {
      Diagnostics none;  // the file has been read before
      at->second = tokenize(*program_.sources, m.file, none).list;
    }
    return at->second;
  }

  const Program& program_;
  std::string family_;
  std::map<const void*, std::pair<LoadedModule*, const ast::Item*>> owners_;
  std::map<std::pair<const LoadedModule*, std::string>, const ast::Item*> named_;
  std::map<const LoadedModule*, std::vector<Token>> tokens_;
  std::set<const ast::Item*> seen_;
  std::string words_;
};

std::string words_of(const Program& program, const KernelDecl& k, const std::string& family) {
  Reach reach(program, family);
  for (const auto& [instance, module] : k.instances) reach.start(instance);
  reach.start(k.ast);
  for (const auto& [schedule, module] : k.schedules) reach.start(schedule);
  return reach.words();
}

}  // namespace

std::string kernel_words(const Program& program, const std::string& kernel, const std::string& family) {
  const KernelDecl* k = program.kernel(kernel);
  return k ? words_of(program, *k, family) : "";
}

std::string skeleton_words(const Program& program, const std::string& kernel, const std::string& family) {
  const KernelDecl* k = program.kernel(kernel);
  if (!k) return "";
  const auto own = k->body_module->kernels.find(k->ast->name.name);
  return own == k->body_module->kernels.end() ? "" : words_of(program, *own->second, family);
}

}  // namespace tessera
