#include "runtime/source_set.h"

namespace tessera {
namespace {

using cache::Entry;
using cache::Kind;

/// The imports of another file of the same text and name may lie elsewhere, which recall_sources() sees by their own texts.
cache::Key module_key(const std::string& name, const std::string& text) {
  return cache::Fields().add("what", "module").add("compiler", cache::build_id()).add("name", name).add("text", text).key();
}

const std::string& standard_text(const std::string& path) { return embedded_std().at(path); }

}  // namespace

cache::Key SourceSet::key() const {
  cache::Fields fields;
  fields.add("what", "sources").add("compiler", cache::build_id()).add("text", text);
  for (const Import& i : imports) fields.add("path", i.path).add("standard", i.standard ? "1" : "0").add("text", i.text);
  return fields.key();
}

std::shared_ptr<SourceMap> SourceSet::map() const {
  auto out = std::make_shared<SourceMap>();
  out->add(name, text);
  for (const Import& i : imports) out->add(i.standard ? "<" + i.path + ">" : i.name, i.standard ? standard_text(i.path) : i.text);
  return out;
}

LoadResult SourceSet::parse() const {
  const ImportResolver resolve = [this](const std::string& path) -> std::optional<ModuleText> {
    for (const Import& i : imports) {
      if (i.path == path && !i.standard) return ModuleText{i.name, i.text};
    }
    return std::nullopt;
  };
  return load_program(name, text, resolve);
}

LoadResult load_recorded(const std::string& name, const std::string& text, const ImportResolver& resolve, SourceSet& set) {
  set.name = name;
  set.text = text;
  return load_program(name, text, [&](const std::string& path) {
    std::optional<ModuleText> found = resolve(path);
    if (found || embedded_std().contains(path)) set.imports.push_back({path, !found, found ? found->name : "", found ? found->text : ""});
    return found;
  });
}

std::optional<SourceSet> recall_sources(cache::Store& store, const std::string& name, const std::string& text, const ImportResolver& resolve) {
  const std::optional<Entry> entry = store.find(Kind::Module, module_key(name, text));
  const std::string* bytes = entry ? entry->find("mods") : nullptr;
  if (!bytes) return std::nullopt;
  SourceSet out{name, text, {}};
  cache::Reader r(*bytes);
  for (std::size_t i = r.count(); i > 0 && r.ok(); --i) {
    SourceSet::Import import;
    import.path = r.text();
    import.standard = r.number() != 0;
    const std::string hash = r.text();
    std::optional<ModuleText> now = resolve(import.path);
    if (now.has_value() == import.standard) return std::nullopt;
    if (now) {
      if (cache::hash(now->text).hex() != hash) return std::nullopt;
      import.name = std::move(now->name);
      import.text = std::move(now->text);
    } else if (!embedded_std().contains(import.path)) {
      return std::nullopt;
    }
    out.imports.push_back(std::move(import));
  }
  if (!r.done()) return std::nullopt;
  return out;
}

void keep_sources(cache::Store& store, const SourceSet& set) {
  cache::Writer w;
  w.number(set.imports.size());
  for (const SourceSet::Import& i : set.imports)
    w.text(i.path).number(i.standard ? 1 : 0).text(i.standard ? std::string() : cache::hash(i.text).hex());
  store.put({Kind::Module, module_key(set.name, set.text), {{"mods", w.take()}}});
}

}  // namespace tessera
