#include "dsl/schedule.h"

namespace tessera {

namespace {
constexpr DirectiveInfo kDirectives[] = {
#define TESSERA_DIRECTIVE(id, text, families, subject, words, doc) {text, families, subject, words, doc},
#include "dsl/directives.def"
};
}  // namespace

const DirectiveInfo& info(DirectiveKind k) { return kDirectives[static_cast<std::size_t>(k)]; }

std::optional<DirectiveKind> directive_from_name(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kDirectives); ++i)
    if (name == kDirectives[i].name) return static_cast<DirectiveKind>(i);
  return std::nullopt;
}

std::vector<DirectiveKind> all_directives() {
  std::vector<DirectiveKind> all;
  for (std::size_t i = 0; i < std::size(kDirectives); ++i) all.push_back(static_cast<DirectiveKind>(i));
  return all;
}

}  // namespace tessera
