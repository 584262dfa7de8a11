#include "runtime/work.h"

#include <algorithm>
#include <map>

namespace tessera {
namespace {

using ir::Op;
using ir::OpKind;
using ir::Value;

constexpr std::int64_t sample_limit = 4096;

/// Evaluates idx scalars as far as they follow from symbols, grid indices and loop variables, and adds up products.
class Counter {
 public:
  Counter(const ir::Kernel& kernel, const SymbolValues& symbols) : symbols_(symbols) {
    std::size_t arg = 0;
    for (const ir::Param& p : kernel.params) {
      if (p.is_view && !p.present) continue;
      const Value* v = kernel.body.args[arg++].get();
      if (p.is_view) {
        views_[v] = &p;
      } else if (const auto given = symbols.find(p.name); given != symbols.end()) {
        scalars_[v] = given->second;
      }
    }
    ir::walk(kernel.body, [&](const Op& op) {
      if (op.kind == OpKind::Dot || op.kind == OpKind::DotScaled) {
        for (const Op* o = &op; o; o = o->parent->parent) busy_[o] = true;
      }
    });
  }

  std::map<const Value*, std::int64_t>& known() { return known_; }

  /// FLOP of one run of `block`; empty if unknown.
  std::optional<double> block(const ir::Block& b) {
    double sum = 0;
    for (const std::unique_ptr<Op>& op : b.ops) {
      if (!busy_.contains(op.get())) continue;
      const std::optional<double> f = flops(*op);
      if (!f) return std::nullopt;
      sum += *f;
    }
    return sum;
  }

 private:
  std::optional<double> flops(const Op& op) {
    if (op.kind == OpKind::Dot || op.kind == OpKind::DotScaled) {
      const ir::TileType& out = ir::tile(op.result()->type);
      return 2.0 * static_cast<double>(out.elements()) * static_cast<double>(ir::tile(op.operands[0]->type).dims[1]);
    }
    if (op.kind == OpKind::For) return loop(op);
    if (op.kind == OpKind::If) {
      if (const auto c = value(op.operands[0])) return block(op.region(*c ? 0 : 1));
      const auto a = block(op.region(0)), b = block(op.region(1));
      return a && b ? std::optional(std::max(*a, *b)) : std::nullopt;
    }
    return std::nullopt;  // a while loop or a region of a reduction: its trips depend on data
  }

  std::optional<double> loop(const Op& op) {
    const auto lo = value(op.operands[0]), hi = value(op.operands[1]), step = value(op.operands[2]);
    if (!lo || !hi || !step || *step <= 0) return std::nullopt;
    if (*hi <= *lo) return 0.0;
    const std::int64_t trips = ceil_div(*hi - *lo, *step);
    const Value* iv = op.region().args[0].get();
    // The inner trips may depend on the loop variable; where they do not, one trip stands for all.
    double sum = 0;
    const std::int64_t samples = std::min<std::int64_t>(trips, depends(op.region()) ? 64 : 1);
    for (std::int64_t s = 0; s < samples; ++s) {
      forget(op.region());
      known_[iv] = *lo + *step * (samples == 1 ? 0 : s * (trips - 1) / (samples - 1));
      const std::optional<double> f = block(op.region());
      if (!f) return std::nullopt;
      sum += *f;
    }
    return sum / static_cast<double>(samples) * static_cast<double>(trips);
  }

  /// Whether what runs inside could depend on the loop variable: there is a loop or a branch around a product.
  bool depends(const ir::Block& b) {
    bool found = false;
    ir::walk(b, [&](const Op& op) { found |= busy_.contains(&op) && (op.kind == OpKind::For || op.kind == OpKind::If); });
    return found;
  }

  void forget(const ir::Block& b) {
    ir::walk(b, [&](const Op& op) {
      for (const auto& r : op.results) known_.erase(r.get());
      for (const auto& region : op.regions) {
        for (const auto& a : region->args) known_.erase(a.get());
      }
    });
  }

  std::optional<std::int64_t> value(const Value* v) {
    if (const auto at = known_.find(v); at != known_.end()) return at->second;
    if (const auto at = scalars_.find(v); at != scalars_.end()) return at->second;
    if (!v->def || !ir::is_scalar(v->type)) return std::nullopt;
    const std::optional<std::int64_t> result = compute(*v->def);
    if (result) known_[v] = *result;
    return result;
  }

  std::optional<std::int64_t> compute(const Op& op) {
    if (op.kind == OpKind::Const) return ir::constant_int(op.result());
    if (op.kind == OpKind::Sym) {
      const auto at = symbols_.find(op.string_attr(ir::Attr::Name));
      return at == symbols_.end() ? std::nullopt : std::optional(at->second);
    }
    if (op.kind == OpKind::Extent) {
      const auto at = views_.find(op.operands[0]);
      if (at == views_.end()) return std::nullopt;
      const auto e = extents(*at->second, symbols_);
      return e ? std::optional(e->at(static_cast<std::size_t>(op.int_attr(ir::Attr::Axis)))) : std::nullopt;
    }
    if (op.kind == OpKind::Select) {
      const auto c = value(op.operands[0]);
      return c ? value(op.operands[*c ? 1 : 2]) : std::nullopt;
    }
    if (op.kind == OpKind::Cast || op.kind == OpKind::Reshape || op.kind == OpKind::Broadcast) return value(op.operands[0]);
    if (op.operands.size() != 2) return std::nullopt;
    const auto a = value(op.operands[0]), b = value(op.operands[1]);
    if (!a || !b) return std::nullopt;
    if (op.kind == OpKind::Add) return *a + *b;
    if (op.kind == OpKind::Sub) return *a - *b;
    if (op.kind == OpKind::Mul) return *a * *b;
    if (op.kind == OpKind::Div) return floor_div(*a, *b);
    if (op.kind == OpKind::Mod) return floor_mod(*a, *b);
    if (op.kind == OpKind::Min) return std::min(*a, *b);
    if (op.kind == OpKind::Max) return std::max(*a, *b);
    if (op.kind == OpKind::And) return *a & *b;
    if (op.kind == OpKind::Or) return *a | *b;
    if (op.kind == OpKind::Eq) return *a == *b;
    if (op.kind == OpKind::Ne) return *a != *b;
    if (op.kind == OpKind::Lt) return *a < *b;
    if (op.kind == OpKind::Le) return *a <= *b;
    if (op.kind == OpKind::Gt) return *a > *b;
    if (op.kind == OpKind::Ge) return *a >= *b;
    return std::nullopt;
  }

  const SymbolValues& symbols_;
  std::map<const Value*, const ir::Param*> views_;
  std::map<const Value*, std::int64_t> scalars_;
  std::map<const Op*, bool> busy_;  ///< ops with a product inside
  std::map<const Value*, std::int64_t> known_;
};

}  // namespace

Work count_work(const ir::Kernel& kernel, const SymbolValues& symbols) {
  Work out;
  for (const ir::Param& p : kernel.params) {
    if (!p.is_view || !p.present) continue;
    const auto shape = extents(p, symbols);
    if (!shape) continue;
    std::int64_t n = bits(p.dtype);
    for (std::int64_t e : *shape) n *= e;
    out.bytes += (n + 7) / 8 * (p.mode == ir::Mode::InOut || p.mode == ir::Mode::Add ? 2 : 1);
  }
  std::vector<std::int64_t> grid;
  double instances = 1;
  for (const ir::GridAxis& g : kernel.grid) {
    const auto count = g.count.eval([&](const std::string& n) -> std::optional<std::int64_t> {
      const auto at = symbols.find(n);
      return at == symbols.end() ? std::nullopt : std::optional(at->second);
    });
    if (!count) return out;
    grid.push_back(std::max<std::int64_t>(0, *count));
    instances *= static_cast<double>(grid.back());
  }
  out.flops = 0;
  if (instances == 0) return out;
  Counter counter(kernel, symbols);
  const auto samples = static_cast<std::int64_t>(std::min<double>(instances, static_cast<double>(sample_limit)));
  const std::size_t first_index = kernel.body.args.size() - grid.size();
  double sum = 0;
  for (std::int64_t s = 0; s < samples; ++s) {
    auto linear = static_cast<std::int64_t>(instances / static_cast<double>(samples) * static_cast<double>(s));
    counter.known().clear();
    for (std::size_t axis = 0; axis < grid.size(); ++axis) {
      counter.known()[kernel.body.args[first_index + axis].get()] = linear % grid[axis];
      linear /= grid[axis];
    }
    const std::optional<double> f = counter.block(kernel.body);
    if (!f) {
      out.flops = std::nullopt;
      return out;
    }
    sum += *f;
  }
  out.flops = sum / static_cast<double>(samples) * instances;
  return out;
}

}  // namespace tessera
