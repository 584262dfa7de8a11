// The built-in functions: one row each in builtins.def, their rules in builtin_*.cpp.
#pragma once

#include <string>
#include <vector>

#include "frontend/elaborate.h"

namespace tessera {

enum class Builtin : std::uint8_t {
#define TESSERA_BUILTIN(id, text, signature, doc) id,
#include "frontend/builtins.def"
};

struct BuiltinInfo {
  const char* name;
  const char* signature;
  const char* doc;
};
const std::vector<BuiltinInfo>& builtin_table();
bool is_builtin(const std::string& name);
/// Precondition: is_builtin(name).
Builtin builtin_from_name(const std::string& name);
std::vector<std::string> builtin_names();

/// Applies built-ins; split over builtin_*.cpp by family. Arguments arrive evaluated; `expr` of an argument serves the few that look at syntax.
struct Builtins {
  using Val_ = Val;
  using ArgVal = Elaborator::ArgVal;

  Elaborator& e;
  std::vector<ArgVal>& args;
  Span span;
  const std::string& name;

  Val apply(Builtin b);

  // --- arguments
  std::size_t positional() const;
  const ArgVal& arg(std::size_t i, const char* what);
  const ArgVal* named(const char* key);
  void expect(std::size_t least, std::size_t most, std::initializer_list<const char*> keys = {});
  int axis(const TileVal& t, const char* key = "axis", int fallback = -1);

  // --- families
  Val math(ir::OpKind k, bool ints_too);
  Val min_max(ir::OpKind k, ir::ReduceKind r, double identity);
  Val reduce_total(ir::ReduceKind k, double identity);
  TileVal reduce(TileVal t, ir::ReduceKind k, double identity, int axis);
  Val row_reduce(ir::ReduceKind k, double identity);
  Val scan(ir::ReduceKind k, double identity);
  Val generic_fold(bool scan);
  Val coords(int form);
  Val fill();
  Val column(bool row);
  Val shape_split();
  Val shape_join();
  Val cut();
  Val concat();
  Val pad();
  Val last();
  Val top_k();
  Val sort();
  Val histogram();
  Val solve_lower();
  Val dot();
  Val dot_scaled();
  Val select();
  Val clamp();
  Val fma();
  Val bitcast();
  Val tiles();
  Val whole();
  Val share();
  Val span_of();
  Val extent();
  Val paged();
  Val take();
  Val has();
  Val ceil_or_quotient();
  Val fetch_add();
  Val print();
  Val unique();
  Val signal();
  Val wait();
  Val diff();

  TileVal operand(std::size_t i, const char* what);
  TileVal float_operand(std::size_t i, const char* what);
  std::vector<TileVal> together(std::size_t from, std::size_t count, const char* what);
};

}  // namespace tessera
