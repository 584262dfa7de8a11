// Axis classes and their parts. See plan.h for the rules.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "codegen/gpu/plan.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

std::int64_t power_below(std::int64_t n) {
  std::int64_t p = 1;
  while (p * 2 <= n) p *= 2;
  return p;
}
std::int64_t power_above(std::int64_t n) {
  std::int64_t p = 1;
  while (p < n) p *= 2;
  return p;
}
/// Sums that the registers of a warpgroup hold beside the rest.
constexpr std::int64_t kGroupSums = 128 * 128;
/// Registers of a thread beside its sums and operands, as ptxas reports them of loops with one or two products.
constexpr std::int64_t kBesideSums = 56, kBesidePromoted = 46;
/// That a thread has at most.
constexpr std::int64_t kMostRegisters = 255;

std::int64_t div_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

/// Union-find over (tile, axis).
class Plan::Axes {
 public:
  explicit Axes(const Uses& uses) : uses_(uses) {}

  void add(const Value* v) {
    if (!is_real_tile(v) || uses_.lazy(v) || first_.count(v)) return;
    first_[v] = static_cast<int>(parent_.size());
    tiles_.push_back(v);
    for (std::size_t a = 0; a < dims(v).size(); ++a) parent_.push_back(static_cast<int>(parent_.size()));
  }
  const std::vector<const Value*>& tiles() const { return tiles_; }
  bool known(const Value* v) const { return first_.count(v) != 0; }

  /// The class of an axis; -1 for axes of extent 1 and tiles without layouts.
  int of(const Value* v, std::size_t a) const {
    const auto at = first_.find(v);
    if (at == first_.end() || dims(v)[a] == 1) return -1;
    int n = at->second + static_cast<int>(a);
    while (parent_[static_cast<std::size_t>(n)] != n) n = parent_[static_cast<std::size_t>(n)];
    return n;
  }
  void tie(const Value* x, std::size_t a, const Value* y, std::size_t b) {
    const int i = of(x, a), j = of(y, b);
    if (i < 0 || j < 0 || i == j || dims(x)[a] != dims(y)[b]) return;
    parent_[static_cast<std::size_t>(std::max(i, j))] = std::min(i, j);
  }
  void tie_all(const Value* x, const Value* y) {
    if (!known(x) || !known(y) || dims(x).size() != dims(y).size()) return;
    for (std::size_t a = 0; a < dims(x).size(); ++a) tie(x, a, y, a);
  }
  /// Axes that a reshape keeps: those of equal extent with equal products before them.
  void tie_reshaped(const Value* x, const Value* y) {
    if (!known(x) || !known(y)) return;
    std::int64_t before = 1;
    for (std::size_t a = 0; a < dims(x).size(); before *= dims(x)[a++]) {
      std::int64_t other = 1;
      for (std::size_t b = 0; b < dims(y).size(); other *= dims(y)[b++]) {
        if (other == before && dims(y)[b] == dims(x)[a] && dims(x)[a] > 1) tie(x, a, y, b);
      }
    }
  }

 private:
  const Uses& uses_;
  std::vector<int> parent_;
  std::map<const Value*, int> first_;
  std::vector<const Value*> tiles_;
};

namespace {

void tie_yields(auto& axes, const ir::Block& block, auto target) {
  const std::vector<Value*>& y = block.yielded();
  for (std::size_t i = 0; i < y.size(); ++i) axes.tie_all(y[i], target(i));
}

/// The ties of one op.
void tie_op(auto& axes, const Op& op, const Uses& uses) {
  // What is computed once and repeated along an axis has a layout of its own.
  const auto repeated = [&](const Value* v) { return uses.computed(v) && !is_scalar(op.result()) && elements(v) < elements(op.result()); };
  if (ir::has(op.kind, ir::Elementwise)) {
    for (const Value* v : op.operands) {
      if (!repeated(v)) axes.tie_all(v, op.result());
    }
    return;
  }
  switch (op.kind) {
    case OpKind::Broadcast:
      if (!repeated(op.operands[0])) axes.tie_all(op.operands[0], op.result());
      return;
    case OpKind::Reduce:
    case OpKind::Scan:
    case OpKind::Sort:
    case OpKind::Slice:
    case OpKind::Concat:
    case OpKind::Pick:
    case OpKind::TopK:
      for (const Value* v : op.operands) {
        for (const auto& r : op.results) axes.tie_all(v, r.get());
      }
      return;
    case OpKind::Reshape: axes.tie_reshaped(op.operands[0], op.result()); return;
    case OpKind::ReduceWith:
    case OpKind::ScanWith:
      for (const Value* v : op.operands) {
        axes.tie_all(v, op.operands[0]);
        for (const auto& r : op.results) axes.tie_all(v, r.get());
      }
      return;
    case OpKind::For: {
      const ir::Block& body = op.region();
      for (std::size_t i = 0; i < op.results.size(); ++i) {
        axes.tie_all(op.operands[3 + i], op.result(i));
        axes.tie_all(body.args[1 + i].get(), op.result(i));
      }
      tie_yields(axes, body, [&](std::size_t i) { return op.result(i); });
      return;
    }
    case OpKind::While:
      for (std::size_t i = 0; i < op.results.size(); ++i) {
        axes.tie_all(op.operands[i], op.result(i));
        axes.tie_all(op.region(0).args[i].get(), op.result(i));
        axes.tie_all(op.region(1).args[i].get(), op.result(i));
      }
      tie_yields(axes, op.region(1), [&](std::size_t i) { return op.result(i); });
      return;
    case OpKind::If:
      for (const auto& r : op.regions) tie_yields(axes, *r, [&](std::size_t i) { return op.result(i); });
      return;
    default: return;  // loads, products, permutations and whole-axis ops tie nothing
  }
}

/// Classes of axes of which some are slices or concatenations of others. All pieces of the size of the grain lie alike, so that cutting and joining
/// them renumbers registers.
class Cuts {
 public:
  void add(const auto& axes, const Op& op) {
    if (op.kind != OpKind::Slice && op.kind != OpKind::Concat) return;
    const auto a = static_cast<std::size_t>(op.int_attr(ir::Attr::Axis));
    std::int64_t at = op.kind == OpKind::Slice ? op.int_attr(ir::Attr::Offset) : 0;
    const Value* whole = op.result();
    for (const Value* v : op.operands) {
      if (is_real_tile(v) && axes.of(v, a) >= 0 && axes.of(whole, a) >= 0) {
        join(axes.of(v, a), dims(v)[a], axes.of(whole, a), dims(whole)[a], at);
      }
      at += is_real_tile(v) ? dims(v)[a] : 1;
    }
  }
  /// What is spread of an axis of this extent: all of it, or the grain of its group.
  std::int64_t piece(int c, std::int64_t extent, std::int64_t vector) const {
    const Group* g = find(c);
    if (!g || g->grain < vector) return extent;
    const bool few = std::all_of(g->classes.begin(), g->classes.end(), [&](const auto& k) { return k.second / g->grain <= kMostPieces; });
    return few ? g->grain : extent;
  }
  /// The group of a class, with extents.
  std::map<int, std::int64_t> classes(int c) const { return find(c)->classes; }

 private:
  static constexpr std::int64_t kMostPieces = 16;
  struct Group {
    std::int64_t grain = 0;
    std::map<int, std::int64_t> classes;
  };
  const Group* find(int c) const {
    for (const Group& g : groups_) {
      if (g.classes.count(c)) return &g;
    }
    return nullptr;
  }
  void join(int c, std::int64_t extent, int whole, std::int64_t whole_extent, std::int64_t offset) {
    Group g{std::gcd(std::gcd(extent, whole_extent), offset), {{c, extent}, {whole, whole_extent}}};
    std::erase_if(groups_, [&](const Group& h) {
      if (!h.classes.count(c) && !h.classes.count(whole)) return false;
      g.grain = std::gcd(g.grain, h.grain);
      g.classes.insert(h.classes.begin(), h.classes.end());
      return true;
    });
    groups_.push_back(std::move(g));
  }
  std::vector<Group> groups_;
};

}  // namespace

void Plan::assign_layouts() {
  Axes axes(uses_);
  const auto add_block = [&](const ir::Block& b) {
    for (const auto& a : b.args) axes.add(a.get());
  };
  add_block(kernel_.body);
  ir::walk(kernel_.body, [&](const Op& op) {
    for (const auto& r : op.results) axes.add(r.get());
    for (const auto& r : op.regions) add_block(*r);
  });
  ir::walk(kernel_.body, [&](const Op& op) { tie_op(axes, op, uses_); });
  Cuts cuts;
  ir::walk(kernel_.body, [&](const Op& op) { cuts.add(axes, op); });

  std::map<int, AxisPart> parts;
  const auto try_part = [&](int c, const AxisPart& p) {
    if (c >= 0) parts.emplace(c, p);
  };
  for (const Op* op : dot_ops_) {
    for (std::size_t a = 0; a < 2; ++a) try_part(axes.of(op->result(), a), dots_.at(op).result.axes[a]);
  }
  // Operands that a schedule wants in registers lie there as products take them.
  for (const Op* op : dot_ops_) {
    const Value* v = op->operands[0];
    if (wants_registers(v) != true || !dots_.at(op).mma) continue;
    try_part(axes.of(v, 0), dots_.at(op).result.axes[0]);
    try_part(axes.of(v, 1), mma_cols(dims(v)[1]));
  }
  std::set<int> anchors;
  for (const auto& [c, p] : parts) anchors.insert(c);

  const auto layout_of = [&](const Value* v) {
    Layout l;
    for (std::size_t a = 0; a < dims(v).size(); ++a) {
      const auto p = parts.find(axes.of(v, a));
      l.axes.push_back(p == parts.end() ? AxisPart{} : p->second);
    }
    return l;
  };
  const auto fits = [&](int c, const AxisPart& p) {
    const auto [at, fresh] = parts.emplace(c, p);
    if (!fresh) return false;
    for (const Value* v : axes.tiles()) {
      bool mentions = false;
      for (std::size_t a = 0; a < dims(v).size(); ++a) mentions = mentions || axes.of(v, a) == c;
      if (mentions && !layout_of(v).sound()) {
        parts.erase(at);
        return false;
      }
    }
    return true;
  };

  // Axes that move unchanged into another tile take its part if nothing contradicts.
  ir::walk(kernel_.body, [&](const Op& op) {
    if (op.kind != OpKind::Permute || !axes.known(op.operands[0]) || !axes.known(op.result())) return;
    const ir::Dims& perm = op.dims_attr(ir::Attr::Perm);
    for (std::size_t a = 0; a < perm.size(); ++a) {
      const int to = axes.of(op.result(), a), from = axes.of(op.operands[0], static_cast<std::size_t>(perm[a]));
      if (to < 0 || from < 0) continue;
      if (parts.count(from) && !parts.count(to)) fits(to, parts.at(from));
      if (parts.count(to) && !parts.count(from)) fits(from, parts.at(to));
    }
  });

  // Partners of anchored axes, then tiles without any anchor, the largest first.
  std::vector<const Value*> order = axes.tiles();
  std::stable_sort(order.begin(), order.end(), [](const Value* x, const Value* y) { return elements(x) > elements(y); });
  const std::int64_t memory_run = run_in_memory();
  // The widest run of lanes or warps that no axis of a tile reads yet: [divisor, divisor * count).
  struct Gap {
    std::int64_t divisor = 1, count = 1;
  };
  const auto gap = [&](const Value* v, Source source, std::int64_t all) {
    std::vector<std::pair<std::int64_t, std::int64_t>> taken;
    for (const AxisPart& p : layout_of(v).axes) {
      for (const Digit& d : p.digits) {
        if (d.source == source) taken.emplace_back(d.divisor, d.divisor * d.size);
      }
    }
    Gap best;
    for (std::int64_t from = 1; from < all; from *= 2) {
      std::int64_t to = all;
      for (const auto& [lo, hi] : taken) {
        if (lo <= from && from < hi) to = from;
        if (lo > from) to = std::min(to, lo);
      }
      if (to / from > best.count) best = {from, to / from};
    }
    return best;
  };
  const auto spread = [&](const Value* v) {
    const std::size_t rank = dims(v).size();
    const auto open = [&](std::size_t a) { return axes.of(v, a) >= 0 && !parts.count(axes.of(v, a)); };
    Gap lanes = gap(v, Source::Lane, kWarpLanes), warps = gap(v, Source::Warp, power_below(warps_));
    struct Share {
      std::int64_t vector = 1, lanes = 1, divisor = 1;
    };
    std::vector<Share> shares(rank);
    // What no memory is behind has no vectors.
    std::int64_t vector = uses_.computed(v) ? 1 : memory_run;
    // Of an axis that is cut, a piece is spread.
    std::vector<std::int64_t> pieces = dims(v);
    for (std::size_t a = rank; a-- > 0;) {
      if (open(a)) pieces[a] = cuts.piece(axes.of(v, a), dims(v)[a], vector);
      const std::int64_t n = pieces[a];
      if (n == 1) continue;
      Share& s = shares[a];
      s.vector = std::min(vector, power_below(n));
      vector = 1;  // only the innermost axis is contiguous
      if (!open(a)) continue;
      s.lanes = std::min(lanes.count, power_above(div_up(n, s.vector)));
      s.divisor = lanes.divisor;
      lanes = {lanes.divisor * s.lanes, lanes.count / s.lanes};
    }
    for (std::size_t a = 0; a < rank; ++a) {
      const std::int64_t n = pieces[a];
      if (n == 1 || !open(a)) continue;
      const std::int64_t w = std::min(warps.count, power_above(div_up(n, shares[a].vector * shares[a].lanes)));
      const AxisPart own = strided(n, shares[a].vector, shares[a].lanes, shares[a].divisor, w, warps.divisor);
      if (n < dims(v)[a]) {
        if (own.extent() != n) continue;
        for (const auto& [c, extent] : cuts.classes(axes.of(v, a))) {
          AxisPart whole = own;
          if (extent > n) whole.digits.push_back({Source::Register, extent / n, n});
          if (!parts.count(c)) fits(c, whole);
        }
        warps = {warps.divisor * w, warps.count / w};
      } else if (fits(axes.of(v, a), own)) {
        warps = {warps.divisor * w, warps.count / w};
      }
    }
  };
  const auto of_mma = [&](const Value* v) {
    for (std::size_t a = 0; a < dims(v).size(); ++a) {
      if (anchors.count(axes.of(v, a))) return true;
    }
    return false;
  };
  for (const bool anchored : {true, false}) {
    for (const Value* v : order) {
      std::vector<std::size_t> open;
      bool any = false;
      for (std::size_t a = 0; a < dims(v).size(); ++a) {
        const int c = axes.of(v, a);
        if (c < 0) continue;
        (parts.count(c) ? any = true : (open.push_back(a), any));
      }
      if (open.empty() || (anchored && !any)) continue;
      if (!of_mma(v)) spread(v);
      for (std::size_t i = open.size(); i-- > 0;) {
        const int c = axes.of(v, open[i]);
        const std::int64_t n = dims(v)[open[i]];
        if (parts.count(c)) continue;
        if (fits(c, mma_cols(n)) || fits(c, mma_rows(n, 1)) || fits(c, strided(n, 1, std::min<std::int64_t>(kWarpLanes, power_above(n)), 1, 1, 1)))
          continue;
        parts.emplace(c, part({{Source::Register, n, 1}}));
      }
    }
  }
  for (const Value* v : axes.tiles()) {
    Layout l = layout_of(v);
    for (std::size_t a = 0; a < dims(v).size(); ++a) {
      // A class that was tied to two extents would be a fault of tie().
      TESSERA_ASSERT(l.axes[a].extent() >= dims(v)[a], fmt::format("a layout is smaller than its tile: {}", l.str()));
    }
    // What two anchors contradict in is held by registers alone along the later axis.
    for (std::size_t a = dims(v).size(); a-- > 0 && !l.sound();) l.axes[a] = part({{Source::Register, dims(v)[a], 1}});
    layouts_.emplace(v, std::move(l));
  }
}

namespace {

/// Both operands are loads, or transposes of loads, whose rows run along k.
bool both_k_inside(const Op& dot) {
  bool a_flipped = false, b_flipped = false;
  const Value *a = through_transposes(dot.operands[0], a_flipped), *b = through_transposes(dot.operands[1], b_flipped);
  const auto load = [](const Value* v) { return v->def && v->def->kind == OpKind::Load; };
  return load(a) && load(b) && !a_flipped && b_flipped;
}

}  // namespace

std::optional<Primitive> Plan::warpgroup_product(const Op& op) const {
  const DType a = dtype(op.operands[0]), b = dtype(op.operands[1]);
  if (a == DType::F16 && b == DType::F16) return Primitive::WgmmaF16;
  if (a == DType::BF16 && b == DType::BF16) return Primitive::WgmmaBf16;
  if (a == DType::E4M3 && b == DType::E4M3) return Primitive::WgmmaE4m3E4m3;
  if (a == DType::E4M3 && b == DType::E5M2) return Primitive::WgmmaE4m3E5m2;
  if (a == DType::E5M2 && b == DType::E4M3) return Primitive::WgmmaE5m2E4m3;
  if (a == DType::E5M2 && b == DType::E5M2) return Primitive::WgmmaE5m2E5m2;
  if (a == DType::F32 && b == DType::F32 && static_cast<ir::DotPrec>(op.int_attr(ir::Attr::Prec)) == ir::DotPrec::Tf32 && both_k_inside(op))
    return Primitive::WgmmaTf32;
  return std::nullopt;
}

bool Plan::by_warpgroups(const Op& op) const {
  const std::optional<Primitive> p = warpgroup_product(op);
  const ir::Dims& d = dims(op.result());
  return p && info(*p).on(target_) && d[0] % 64 == 0 && d[1] >= 8;
}

/// Elements that lie side by side in a thread: as many as 16 bytes hold of the narrowest that move, unless wider ones lose more by it. A thread has
/// several times 16 bytes of those then, and an access of a warp reaches over so many times as many lines.
std::int64_t Plan::run_in_memory() const {
  std::map<std::int64_t, std::int64_t> moved;  // elements by their bytes
  std::int64_t narrowest = 4;
  ir::walk(kernel_.body, [&](const Op& op) {
    if (op.kind != OpKind::Load && op.kind != OpKind::Store) return;
    const Value* v = op.kind == OpKind::Load ? op.result() : op.operands[1];
    if (!is_real_tile(v)) return;
    narrowest = std::min(narrowest, cell_bytes(dtype(v)));
    if (ir::is_range(op.operands.back()->type)) moved[cell_bytes(dtype(v))] += elements(v);
  });
  if (has_products()) return 16 / narrowest;
  std::int64_t best = 16 / narrowest;
  std::optional<std::int64_t> least;
  for (std::int64_t run = best; run >= 4; run /= 2) {
    std::int64_t cost = 0;
    for (const auto& [bytes, n] : moved) cost += n * bytes * std::max<std::int64_t>(1, run * bytes / 16);
    if (least && cost >= *least) continue;
    least = cost;
    best = run;
  }
  return best;
}

/// 64 bytes under way in each thread, from all tiles that come together.
std::int64_t Plan::elements_a_thread(std::int64_t largest) const {
  std::map<const ir::Block*, std::int64_t> bytes;  // of an element of all tiles that a block loads together
  ir::walk(kernel_.body, [&](const Op& op) {
    if (op.kind != OpKind::Load || !is_real_tile(op.result()) || elements(op.result()) != largest || !uses_.own(op)) return;
    bytes[op.parent] += cell_bytes(dtype(op.result()));
  });
  std::int64_t most = 0;
  for (const auto& [block, n] : bytes) most = std::max(most, n);
  return most == 0 ? 16 : std::clamp<std::int64_t>(power_below(std::max<std::int64_t>(1, 64 / most)), 16, 32);
}

/// Of warpgroups, those that a schedule asks for.
std::int64_t Plan::asked_groups(std::int64_t blocks) const {
  const std::int64_t g = wishes_.groups->number;
  const bool columns = !rows_only_ && (g & (g - 1)) == 0;
  if (blocks % g != 0 && !columns)
    throw Unsupported{
        wishes_.groups->span,
        fmt::format("its schedule lets {} warpgroups compute, but products have {} times 64 rows, which they cannot share evenly", g, blocks)};
  return g;
}

/// Calls f(value, use) for the uses of `from`, and of the results of those for which f says so.
template <class F>
static void each_use(const Uses& uses, const Value* from, F f) {
  std::set<const Value*> seen;
  std::vector<const Value*> work = {from};
  while (!work.empty()) {
    const Value* v = work.back();
    work.pop_back();
    if (!seen.insert(v).second) continue;
    for (const Op* use : uses.of(v)) {
      if (f(v, *use)) work.push_back(use->result());
    }
  }
}

/// Elements of products' results that are held at one time, in the block where they are most: parts of a split loop take turns. A result that the
/// loop does not carry is held until the last op of those that go on with it element by element.
std::int64_t Plan::sums_held() const {
  std::map<const ir::Block*, std::vector<const Op*>> products;
  for (const Op* op : dot_ops_) products[op->parent].push_back(op);
  std::int64_t most = 0;
  for (const auto& [block, dots] : products) {
    std::map<const Op*, std::size_t> number;
    for (const auto& op : block->ops) number.emplace(op.get(), number.size());
    struct Held {
      std::size_t from, to;
      std::int64_t elements;
    };
    std::vector<Held> held;
    for (const Op* dot : dots) {
      Held h{number.at(dot), number.at(dot), elements(dot->result())};
      each_use(uses_, dot->result(), [&](const Value* v, const Op& use) {
        const auto at = number.find(&use);
        const bool carried = at == number.end() || use.kind == OpKind::Yield;
        if (carried) h.from = 0;
        h.to = carried ? number.size() : std::max(h.to, at->second);
        return ir::has(use.kind, ir::Elementwise) && dims(use.result()) == dims(v) && dtype(use.result()) == dtype(v);
      });
      held.push_back(h);
    }
    for (const Held& now : held) {
      std::int64_t sum = 0;
      for (const Held& h : held) sum += h.from <= now.from && now.from <= h.to ? h.elements : 0;
      most = std::max(most, sum);
    }
  }
  return most;
}

void Plan::choose_warps() {
  std::int64_t promoted = 0, operands = 0, largest = 0, rows = 0;
  const std::int64_t accumulators = sums_held();
  rows_only_ = false;
  for (const Op* op : dot_ops_) {
    const ir::Dims& d = dims(op->result());
    if (bits(dtype(op->operands[0])) == 8 && sum_of(*op)) promoted = std::max(promoted, elements(op->result()));
    rows = std::max(rows, d[0]);
    warpgroups_ = warpgroups_ || by_warpgroups(*op);
    // Rows whose statistics are wanted, and results that become A operands, stay within one warp.
    each_use(uses_, op->result(), [&](const Value* v, const Op& use) {
      if (use.kind == OpKind::Reduce && use.int_attr(ir::Attr::Axis) == 1) rows_only_ = true;
      if (use.kind == OpKind::Dot && use.operands[0] == v) {
        rows_only_ = true;
        operands = std::max(operands, elements(v) * cell_bytes(dtype(v)));
      }
      return ir::has(use.kind, ir::Elementwise);
    });
  }
  if (warpgroups_) {
    const std::int64_t blocks = std::max<std::int64_t>(1, rows / 64);
    std::int64_t groups = 1;
    for (const std::int64_t g : {1, 2, 3, 4}) {
      // Rows of their own for each warpgroup, or as few as hold the sums in half of their registers.
      if (rows_only_ ? blocks % g == 0 && g <= 3 : groups * kGroupSums < accumulators) groups = g;
    }
    if (wishes_.groups) groups = asked_groups(blocks);
    warps_ = static_cast<int>(4 * groups);
    // Sums, what is added to them, operands made of them, and the rest.
    const std::int64_t wanted = wanted_in_registers() / 4 / threads();
    registers_ = (accumulators + operands / 4) / threads() + wanted + std::min(promoted / threads(), kPromotedRegisters) +
                 (promoted > 0 ? kBesidePromoted : kBesideSums);
    if (wanted > 0 && registers_ > kMostRegisters) {
      const auto home = std::find_if(wishes_.homes.begin(), wishes_.homes.end(), [](const auto& h) { return h.second.registers; });
      refuse(home->second.span, fmt::format("home {}: regs", home->first),
             fmt::format("a thread would keep {} registers then, of {}", registers_, kMostRegisters));
    }
    if (wishes_.groups && registers_ > kMostRegisters) {
      throw Unsupported{wishes_.groups->span,
                        fmt::format("its schedule lets {} warpgroups compute, which leaves a thread {} registers to keep, but it has {}", groups,
                                    registers_, kMostRegisters)};
    }
    return;
  }
  ir::walk(kernel_.body, [&](const Op& op) {
    for (const auto& r : op.results) {
      if (is_real_tile(r.get()) && !uses_.lazy(r.get())) largest = std::max(largest, elements(r.get()));
    }
  });
  if (dot_ops_.empty()) {
    warps_ = static_cast<int>(std::clamp<std::int64_t>(power_above(div_up(largest, kWarpLanes * elements_a_thread(largest))), 1, 16));
    return;
  }
  if (!rows_only_) {
    // The largest block a warp's registers hold: operand traffic from shared memory grows with a block's edge, work with its area.
    warps_ = static_cast<int>(std::clamp<std::int64_t>(power_above(div_up(accumulators, kWarpLanes * 192)), 1, 16));
    return;
  }
  const std::int64_t blocks = std::max<std::int64_t>(1, div_up(rows, 16));
  // The fewest warps whose accumulators fit beside the rest: every row block more a warp holds is one more use of each B fragment.
  std::int64_t best = std::min<std::int64_t>(8, power_above(blocks));
  for (const std::int64_t w : {1, 2, 3, 4, 5, 6, 7, 8}) {
    if (blocks % w == 0 && accumulators / (kWarpLanes * w) <= 200 && w >= std::min<std::int64_t>(4, blocks)) {
      best = w;
      break;
    }
  }
  warps_ = static_cast<int>(best);
}

void Plan::choose_dots() {
  for (const Op* op : dot_ops_) {
    DotPlan d;
    const DType a = dtype(op->operands[0]), b = dtype(op->operands[1]);
    const auto prec = static_cast<ir::DotPrec>(op->int_attr(ir::Attr::Prec));
    using enum Primitive;
    const auto use = [&](Primitive p, std::int64_t k, int per) {
      if (!info(p).on(target_)) return;
      d.mma = p;
      d.k_step = k;
      d.per_register = per;
    };
    if (a == DType::F16 && b == DType::F16) target_.sm >= 80 ? use(MmaF16K16, 16, 2) : use(MmaF16K8, 8, 2);
    if (a == DType::BF16 && b == DType::BF16) use(MmaBf16K16, 16, 2);
    if (a == DType::F32 && b == DType::F32 && prec == ir::DotPrec::Tf32) use(MmaTf32K8, 8, 1);
    if (a == DType::E4M3 && b == DType::E4M3) use(MmaE4m3E4m3K32, 32, 4);
    if (a == DType::E4M3 && b == DType::E5M2) use(MmaE4m3E5m2K32, 32, 4);
    if (a == DType::E5M2 && b == DType::E4M3) use(MmaE5m2E4m3K32, 32, 4);
    if (a == DType::E5M2 && b == DType::E5M2) use(MmaE5m2E5m2K32, 32, 4);
    if (a == DType::I8 && b == DType::I8) use(MmaS8S8K32, 32, 4);
    if (a == DType::U8 && b == DType::U8) use(MmaU8U8K32, 32, 4);
    const ir::Dims& r = dims(op->result());
    if (by_warpgroups(*op)) {
      d.mma = warpgroup_product(*op);
      d.warpgroup = true;
      const std::int64_t groups = warps_ / 4, blocks = r[0] / 64;
      bool k_outside = true;
      through_transposes(op->operands[1], k_outside);
      k_outside = k_outside && d.per_register == 2;  // others are transposed
      std::optional<std::int64_t> least;
      for (std::int64_t m = 1; m <= groups; ++m) {
        if (groups % m != 0 || blocks % m != 0) continue;
        if (const DivideWish* w = division(*op); w && !rows_only_ && m != (w->axis == 0 ? std::gcd(groups, blocks) : 1)) continue;
        std::int64_t n = std::min(groups / m, power_below(div_up(r[1], 8)));
        // Where k is outside, a group's columns begin at a panel of 64.
        if (k_outside && div_up(div_up(r[1], 8), n) % 8 != 0) n = 1;
        // What a warpgroup reads from shared memory for one step of k.
        const std::int64_t cost = rows_only_ ? -m : blocks / m * (64 + div_up(r[1], 8 * n) * 8);
        if (least && cost >= *least) continue;
        least = cost;
        d.warps_m = 4 * m;
        d.warps_n = n;
      }
      d.result.axes = {warpgroup_rows(r[0], d.warps_m / 4), mma_cols(r[1], d.warps_n, d.warps_m)};
      dots_.emplace(op, std::move(d));
      continue;
    }
    const std::int64_t row_blocks = div_up(r[0], 16), col_blocks = div_up(r[1], 8);
    std::optional<std::int64_t> best;
    for (std::int64_t m = 1; m <= warps_; ++m) {
      if (warps_ % m != 0) continue;
      const std::int64_t n = warps_ / m;
      const std::int64_t used_m = std::min(m, row_blocks), used_n = std::min(n, power_below(col_blocks));
      if (used_m != m || (used_n != n && m * 2 <= std::min<std::int64_t>(warps_, row_blocks))) continue;
      // Operand elements that a warp reads for one step of k.
      std::int64_t cost = div_up(row_blocks, m) * 16 + div_up(col_blocks, used_n) * 8;
      if (rows_only_) cost = -m;
      if (!best || cost < *best) {
        best = cost;
        d.warps_m = m;
        d.warps_n = used_n;
      }
    }
    d.result.axes = {mma_rows(r[0], d.warps_m), mma_cols(r[1], d.warps_n, d.warps_m)};
    if (r[0] == 1) d.result.axes[0] = mma_rows(1, d.warps_m);
    dots_.emplace(op, std::move(d));
  }
}

}  // namespace tessera::gpu
