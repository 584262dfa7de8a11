// The order of the grid's instances: those with more trips first, so that the last ones to run are short.
#include <algorithm>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

/// How an idx scalar goes with an instance number, other scalars being at least 0.
enum class Trend : std::uint8_t { None, Up, Down, Unknown };

Trend flip(Trend t) { return t == Trend::Up ? Trend::Down : t == Trend::Down ? Trend::Up : t; }
Trend both(Trend a, Trend b) {
  if (a == Trend::None || a == b) return b;
  return b == Trend::None ? a : Trend::Unknown;
}

class Trends {
 public:
  explicit Trends(const Value* of) : of_(of) {}

  Trend trend(const Value* v) {
    if (v == of_) return Trend::Up;
    if (!v->def || !is_scalar(v)) return Trend::None;
    const auto [at, fresh] = known_.emplace(v, Trend::None);
    if (!fresh) return at->second;
    const Trend t = compute(*v->def);
    return known_[v] = t;
  }

 private:
  Trend compute(const Op& op) {
    std::vector<Trend> x;
    bool any = false;
    for (const Value* o : op.operands) {
      x.push_back(ir::is_tile(o->type) ? trend(o) : Trend::None);
      any = any || x.back() != Trend::None;
    }
    if (!any) return Trend::None;
    switch (op.kind) {
      case OpKind::Add:
      case OpKind::Min:
      case OpKind::Max:
      case OpKind::Mul: return both(x[0], x[1]);
      case OpKind::Sub: return both(x[0], flip(x[1]));
      case OpKind::Neg: return flip(x[0]);
      case OpKind::Div: return x[1] == Trend::None ? x[0] : Trend::Unknown;
      default: return Trend::Unknown;
    }
  }

  const Value* of_;
  std::map<const Value*, Trend> known_;
};

}  // namespace

void Plan::order_instances() {
  std::vector<const Op*> loops;
  std::set<const Value*> ends;
  ir::walk(kernel_.body, [&](const Op& op) {
    if (op.kind != OpKind::For) return;
    loops.push_back(&op);
    ends.insert(op.operands[1]);
  });
  const std::size_t first = kernel_.body.args.size() - kernel_.grid.size();
  for (std::size_t a = 0; a < kernel_.grid.size(); ++a) {
    Trends trends(kernel_.body.args[first + a].get());
    Trend work = Trend::None;
    for (const Op* loop : loops) {
      work = both(work, trends.trend(loop->operands[1]));
      // Where one loop goes on from another's end, the end alone counts.
      if (ends.count(loop->operands[0]) == 0) work = both(work, flip(trends.trend(loop->operands[0])));
    }
    descending_.push_back(work == Trend::Up && !wishes_.row_major);
  }
}

std::optional<std::size_t> Plan::uneven_axis() const {
  const auto at = std::find(descending_.begin(), descending_.end(), true);
  if (at == descending_.end() || descending_.size() < 2) return std::nullopt;
  return static_cast<std::size_t>(at - descending_.begin());
}

}  // namespace tessera::gpu
