#include "runtime/work.h"

#include <algorithm>
#include <map>

namespace tessera {
namespace {

using ir::Op;
using ir::OpKind;
using ir::Value;

constexpr std::int64_t sample_limit = 4096, effort_sample_limit = 64;

/// What is added up: products alone, whose number must be exact, or all of an Effort.
enum class Count : std::uint8_t { Products, Everything };

Effort operator+(Effort a, const Effort& b) {
  a.flops += b.flops;
  a.elements += b.elements;
  a.steps += b.steps;
  a.traffic += b.traffic;
  return a;
}
Effort operator*(double factor, Effort e) {
  e.flops *= factor;
  e.elements *= factor;
  e.steps *= factor;
  e.traffic *= factor;
  return e;
}

bool is_product(const Op& op) { return op.kind == OpKind::Dot || op.kind == OpKind::DotScaled; }

/// Evaluates idx scalars as far as they follow from symbols, grid indices and loop variables, and adds up efforts.
class Counter {
 public:
  Counter(const ir::Kernel& kernel, const SymbolValues& symbols, Count count) : symbols_(symbols), count_(count) {
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
      if (counts(op)) {
        for (const Op* o = &op; o; o = o->parent->parent) busy_[o] = true;
      }
    });
  }

  std::map<const Value*, std::int64_t>& known() { return known_; }

  /// Of one run of `block`; empty if unknown.
  std::optional<Effort> block(const ir::Block& b) {
    Effort sum;
    for (const std::unique_ptr<Op>& op : b.ops) {
      if (!busy_.contains(op.get())) continue;
      const std::optional<Effort> e = effort(*op);
      if (!e) return std::nullopt;
      sum = sum + *e;
    }
    return sum;
  }

 private:
  bool counts(const Op& op) const {
    if (count_ == Count::Products) return is_product(op);
    return op.kind == OpKind::Store || (op.results.size() == 1 && !ir::is_scalar(op.result()->type) && ir::is_tile(op.result()->type));
  }

  static Effort of_one(const Op& op) {
    Effort out;
    if (op.kind == OpKind::Store) {
      const Value* v = op.operands[1];
      if (ir::is_tile(v->type)) out.traffic = bytes_of(v);
      return out;
    }
    out.steps = 1;
    if (is_product(op)) {
      out.flops = 2.0 * static_cast<double>(ir::tile(op.result()->type).elements()) * static_cast<double>(ir::tile(op.operands[0]->type).dims[1]);
    } else if (op.kind == OpKind::Load) {
      out.traffic = bytes_of(op.result());
    } else if (ir::has(op.kind, ir::Elementwise)) {
      out.elements = static_cast<double>(ir::tile(op.result()->type).elements());
    } else if (op.kind == OpKind::Reduce) {
      out.elements = static_cast<double>(ir::tile(op.operands[0]->type).elements());
    }
    return out;
  }

  static double bytes_of(const Value* v) {
    const ir::TileType& t = ir::tile(v->type);
    return static_cast<double>(t.elements()) * bits(t.dtype) / 8;
  }

  std::optional<Effort> effort(const Op& op) {
    if (is_product(op)) return of_one(op);
    if (op.kind == OpKind::For) return loop(op);
    if (op.kind == OpKind::If) {
      if (const auto c = value(op.operands[0])) return block(op.region(*c ? 0 : 1));
      const auto a = block(op.region(0)), b = block(op.region(1));
      if (!a || !b) return std::nullopt;
      return a->flops > b->flops || (a->flops == b->flops && a->traffic > b->traffic) ? a : b;
    }
    if (count_ == Count::Products) return std::nullopt;  // a while loop or a region of a reduction: its trips depend on data
    Effort sum = of_one(op);
    if (op.kind == OpKind::While) {
      for (const auto& region : op.regions) sum = sum + block(*region).value_or(Effort());
    }
    return sum;
  }

  std::optional<Effort> loop(const Op& op) {
    const auto lo = value(op.operands[0]), hi = value(op.operands[1]), step = value(op.operands[2]);
    if (!lo || !hi || !step || *step <= 0) return count_ == Count::Products ? std::nullopt : block(op.region());
    if (*hi <= *lo) return Effort();
    const std::int64_t trips = ceil_div(*hi - *lo, *step);
    const Value* iv = op.region().args[0].get();
    // The inner trips may depend on the loop variable; where they do not, one trip stands for all.
    Effort sum;
    const std::int64_t samples = std::min<std::int64_t>(trips, depends(op.region()) ? (count_ == Count::Products ? 64 : 8) : 1);
    for (std::int64_t s = 0; s < samples; ++s) {
      forget(op.region());
      known_[iv] = *lo + *step * (samples == 1 ? 0 : s * (trips - 1) / (samples - 1));
      const std::optional<Effort> e = block(op.region());
      if (!e) return std::nullopt;
      sum = sum + *e;
    }
    return static_cast<double>(trips) / static_cast<double>(samples) * sum;
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
  Count count_;
  std::map<const Value*, const ir::Param*> views_;
  std::map<const Value*, std::int64_t> scalars_;
  std::map<const Op*, bool> busy_;  ///< ops that count, or have one inside
  std::map<const Value*, std::int64_t> known_;
};

/// The mean of a sample of the instances, and how many there are; empty if it is unknown. `instances` is set if the grid is known, else negative.
std::optional<Effort> mean_effort(const ir::Kernel& kernel, const SymbolValues& symbols, Count count, std::int64_t limit, double& instances) {
  std::vector<std::int64_t> grid;
  instances = 1;
  for (const ir::GridAxis& g : kernel.grid) {
    const auto extent = g.count.eval([&](const std::string& n) -> std::optional<std::int64_t> {
      const auto at = symbols.find(n);
      return at == symbols.end() ? std::nullopt : std::optional(at->second);
    });
    if (!extent) {
      instances = -1;
      return std::nullopt;
    }
    grid.push_back(std::max<std::int64_t>(0, *extent));
    instances *= static_cast<double>(grid.back());
  }
  if (instances == 0) return Effort();
  Counter counter(kernel, symbols, count);
  const auto samples = static_cast<std::int64_t>(std::min<double>(instances, static_cast<double>(limit)));
  const std::size_t first_index = kernel.body.args.size() - grid.size();
  Effort sum;
  for (std::int64_t s = 0; s < samples; ++s) {
    auto linear = static_cast<std::int64_t>(instances / static_cast<double>(samples) * static_cast<double>(s));
    counter.known().clear();
    for (std::size_t axis = 0; axis < grid.size(); ++axis) {
      counter.known()[kernel.body.args[first_index + axis].get()] = linear % grid[axis];
      linear /= grid[axis];
    }
    const std::optional<Effort> e = counter.block(kernel.body);
    if (!e) return std::nullopt;
    sum = sum + *e;
  }
  return 1 / static_cast<double>(samples) * sum;
}

std::int64_t bytes_of_views(const ir::Kernel& kernel, const SymbolValues& symbols) {
  std::int64_t out = 0;
  for (const ir::Param& p : kernel.params) {
    if (!p.is_view || !p.present) continue;
    const auto shape = extents(p, symbols);
    if (!shape) continue;
    std::int64_t n = bits(p.dtype);
    for (std::int64_t e : *shape) n *= e;
    out += (n + 7) / 8 * (p.mode == ir::Mode::InOut || p.mode == ir::Mode::Add ? 2 : 1);
  }
  return out;
}

}  // namespace

Work count_work(const ir::Kernel& kernel, const SymbolValues& symbols) {
  double instances = 0;
  const std::optional<Effort> mean = mean_effort(kernel, symbols, Count::Products, sample_limit, instances);
  return {mean ? std::optional(mean->flops * instances) : std::nullopt, bytes_of_views(kernel, symbols)};
}

Effort count_effort(const ir::Kernel& kernel, const SymbolValues& symbols) {
  double instances = 0;
  Effort out = mean_effort(kernel, symbols, Count::Everything, effort_sample_limit, instances).value_or(Effort());
  out = std::max(instances, 0.0) * out;
  out.instances = std::max(instances, 0.0);
  out.bytes = static_cast<double>(bytes_of_views(kernel, symbols));
  ir::walk(kernel.body, [&](const Op& op) {
    for (const auto& r : op.results) {
      if (!ir::is_tile(r->type)) continue;
      const ir::TileType& t = ir::tile(r->type);
      out.largest_tile = std::max(out.largest_tile, static_cast<double>(t.elements()) * bits(t.dtype) / 8);
    }
  });
  return out;
}

}  // namespace tessera
