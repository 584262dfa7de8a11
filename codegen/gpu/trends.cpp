#include "codegen/gpu/trends.h"

#include <algorithm>
#include <vector>

#include "codegen/cpu/analysis.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

Trend flip(Trend t) { return t == Trend::Up ? Trend::Down : t == Trend::Down ? Trend::Up : t; }

Trend both(Trend a, Trend b) {
  if (a == Trend::None || a == b) return b;
  return b == Trend::None ? a : Trend::Unknown;
}

Trend Trends::trend(const Value* v) {
  if (v == of_) return Trend::Up;
  if (nonnegative_ && !depends(v)) return Trend::None;
  if (!v->def || !ir::is_tile(v->type) || !cpu::dims(v).empty()) return nonnegative_ ? Trend::Unknown : Trend::None;
  const auto [at, fresh] = known_.emplace(v, Trend::None);
  if (!fresh) return at->second;
  const Trend t = compute(*v->def);
  return known_[v] = t;
}

bool Trends::depends(const Value* v) {
  if (v == of_) return true;
  if (!v->def) return v->block && v->block->parent;  // what loops and branches pass on may
  const auto [at, fresh] = depends_.emplace(v, true);
  if (!fresh) return at->second;
  const Op& op = *v->def;
  const bool any = !op.regions.empty() || std::any_of(op.operands.begin(), op.operands.end(), [&](const Value* o) { return depends(o); });
  return depends_[v] = any;
}

Trend Trends::compute(const Op& op) {
  // Other integers wrap.
  if (nonnegative_ && cpu::dtype(op.result()) != DType::Idx) return Trend::Unknown;
  std::vector<Trend> x;
  bool any = false;
  for (const Value* o : op.operands) {
    x.push_back(ir::is_tile(o->type) || nonnegative_ ? trend(o) : Trend::None);
    any = any || x.back() != Trend::None;
  }
  if (!any) return Trend::None;
  const auto at_least_0 = [&](std::size_t i) { return !nonnegative_ || nonnegative_(op.operands[i]); };
  switch (op.kind) {
    case OpKind::Add:
    case OpKind::Min:
    case OpKind::Max: return both(x[0], x[1]);
    case OpKind::Mul:
      if ((x[0] != Trend::None && !at_least_0(1)) || (x[1] != Trend::None && !at_least_0(0))) return Trend::Unknown;
      return both(x[0], x[1]);
    case OpKind::Sub: return both(x[0], flip(x[1]));
    case OpKind::Neg: return flip(x[0]);
    case OpKind::Div: return x[1] == Trend::None && at_least_0(1) ? x[0] : Trend::Unknown;
    default: return Trend::Unknown;
  }
}

}  // namespace tessera::gpu
