// Schedules: directives that may change speed and nothing else. The vocabulary is a table that the checker and the back ends share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dsl/source.h"

namespace tessera {

enum class DirectiveKind : std::uint8_t {
#define TESSERA_DIRECTIVE(id, text, families, subject, words, doc) id,
#include "dsl/directives.def"
};
struct DirectiveInfo {
  const char* name;
  const char* families;  ///< space-separated targets it applies to
  const char* subject;   ///< "value", "role", "word", "none": what its arguments name
  const char* words;     ///< space-separated: what arguments may name, or what may stand behind the colon of a value; empty: any, or none
  const char* doc;
};
const DirectiveInfo& info(DirectiveKind k);
std::optional<DirectiveKind> directive_from_name(std::string_view name);
std::vector<DirectiveKind> all_directives();

struct ScheduleArg {
  std::string subject;                 ///< path of a value, a role name, or a word ("dynamic")
  std::optional<std::int64_t> index;   ///< the axis in `divide acc 1: group`
  std::optional<std::int64_t> number;  ///< `: 2` or a number alone, constants evaluated
  std::string word;                    ///< `: smem`, or the modifier `transposed`
};
struct ScheduleDirective {
  DirectiveKind kind{};
  std::vector<ScheduleArg> args;
  Span span;
};
struct Schedule {
  std::vector<ScheduleDirective> directives;
};

}  // namespace tessera
