// The words that attributes and names are written with. Shared by the printer and the parser of Tile IR text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dsl/ir.h"

namespace tessera::ir::words {

/// Letters, digits, `_` and `.`; ASCII only, whatever the locale.
bool in_word(char c);
/// A word that does not start with a digit.
bool is_word(std::string_view s);
/// Attributes that are 0 or 1, written by their name alone if 1.
bool is_flag(Attr a);
/// `sum` for a reduction kind, `tf32` for a precision, `up` for a rounding; empty where the attribute of this op is a plain number.
std::optional<std::string> of_value(OpKind op, Attr a, std::int64_t value);
std::optional<std::int64_t> to_value(OpKind op, Attr a, std::string_view word);

}  // namespace tessera::ir::words
