// Definitions in a circle: functions that call themselves, structs that contain themselves, constants and types that stand for themselves.
// Functions are inlined and constants evaluated where they are used, so that none of these has a meaning.
#pragma once

#include <functional>

#include "dsl/diagnostic.h"
#include "frontend/program.h"

namespace tessera {

/// Reports E0407 once a circle, at the mention that closes it. To be called before anything is evaluated: evaluation would not end.
void check_recursion(const Program& program, Diagnostics& diagnostics);

/// Calls `f` for every name in an expression, whatever it stands for.
void for_each_name(const ast::Expr& e, const std::function<void(const std::string&, Span)>& f);

}  // namespace tessera
