#include "dsl/interpret.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <unordered_map>

#include "dsl/interpret_value.h"
#include "dsl/interpret_view.h"

namespace tessera {
namespace interp {
namespace {

using ir::Attr;
using ir::Op;
using ir::OpKind;

struct Node;

/// A block with its values numbered once a kernel, so that running it needs no lookups.
struct Code {
  std::vector<std::size_t> args;
  std::vector<Node> nodes;
  std::vector<std::size_t> yielded;
};

struct Node {
  const Op* op = nullptr;
  std::vector<std::size_t> operands;
  std::vector<std::size_t> results;
  std::vector<Code> regions;
};

class Machine {
 public:
  Machine(const ir::Kernel& kernel, const std::vector<std::uint64_t>& frame, const InterpretOptions& options)
      : kernel_(kernel), frame_(frame), options_(options), mode_{options.exact, options.poison}, layout_(frame_layout(kernel)) {
    TESSERA_ASSERT(frame.size() >= layout_.words, "the launch frame is shorter than the kernel's parameters need");
    body_ = number(kernel.body);
    slots_.resize(numbers_.size());
  }

  void run() {
    const std::vector<std::int64_t> grid = grid_counts(kernel_, layout_, frame_);
    std::int64_t instances = 1;
    for (const std::int64_t n : grid) instances *= n;
    const std::size_t params = bind_params();
    for (std::int64_t instance = 0; instance < instances; ++instance) {
      std::int64_t rest = instance;
      for (std::size_t a = 0; a < grid.size(); ++a) {
        slots_[body_.args[params + a]] = int_scalar(DType::Idx, rest % grid[a]);
        rest /= grid[a];
      }
      run_code(body_);
    }
  }

 private:
  std::size_t number(const ir::Value* v) { return numbers_.try_emplace(v, numbers_.size()).first->second; }

  Code number(const ir::Block& block) {
    Code code;
    for (const auto& arg : block.args) code.args.push_back(number(arg.get()));
    for (const auto& op : block.ops) {
      if (op->kind == OpKind::Yield) {
        for (const ir::Value* v : op->operands) code.yielded.push_back(number(v));
        break;
      }
      Node node;
      node.op = op.get();
      for (const ir::Value* v : op->operands) node.operands.push_back(number(v));
      for (const auto& r : op->results) node.results.push_back(number(r.get()));
      for (const auto& region : op->regions) node.regions.push_back(number(*region));
      code.nodes.push_back(std::move(node));
    }
    return code;
  }

  /// Sets the body's parameter arguments; returns how many there are.
  std::size_t bind_params() {
    std::size_t arg = 0;
    for (std::size_t p = 0; p < kernel_.params.size(); ++p) {
      const ir::Param& param = kernel_.params[p];
      if (!param.present) continue;
      const FrameSlot& slot = layout_.params[p];
      if (param.is_view) {
        slots_[body_.args[arg++]] = base_view(param, slot);
        continue;
      }
      auto tile = make_tile(param.dtype, {});
      if (tile->floats()) {
        tile->f[0] = decode_float(param.dtype, frame_[slot.base]);
      } else {
        tile->i[0] = decode_int(param.dtype, frame_[slot.base]);
      }
      slots_[body_.args[arg++]] = TilePtr(tile);
    }
    return arg;
  }

  ViewPtr base_view(const ir::Param& param, const FrameSlot& slot) const {
    auto v = std::make_shared<View>();
    v->dtype = param.dtype;
    const auto bases = static_cast<std::size_t>(std::max<std::int64_t>(param.peers, 1));
    for (std::size_t r = 0; r < bases; ++r) v->bases.push_back(frame_[slot.base + r]);
    for (std::size_t a = 0; a < param.dims.size(); ++a) {
      v->extents.push_back(static_cast<std::int64_t>(frame_[slot.extents + a]));
      v->strides.push_back(static_cast<std::int64_t>(frame_[slot.strides + a]));
    }
    return v;
  }

  std::int64_t symbol(const std::string& name) const {
    const auto at = std::find(kernel_.symbols.begin(), kernel_.symbols.end(), name);
    TESSERA_ASSERT(at != kernel_.symbols.end(), "unknown launch symbol `" + name + "`");
    return static_cast<std::int64_t>(frame_[layout_.symbols[static_cast<std::size_t>(at - kernel_.symbols.begin())]]);
  }

  const TilePtr& tile(std::size_t slot) const { return std::get<TilePtr>(slots_[slot]); }

  Tiles tiles(const std::vector<std::size_t>& slots, std::size_t from = 0) const {
    Tiles all;
    for (std::size_t k = from; k < slots.size(); ++k) all.push_back(tile(slots[k]));
    return all;
  }

  std::vector<const Slot*> slot_pointers(const Node& node) const {
    std::vector<const Slot*> all;
    for (const std::size_t s : node.operands) all.push_back(&slots_[s]);
    return all;
  }

  void set(const std::vector<std::size_t>& to, Tiles values) {
    for (std::size_t k = 0; k < to.size(); ++k) slots_[to[k]] = std::move(values[k]);
  }

  Tiles run_region(const Code& code, Tiles args, std::size_t first_arg = 0) {
    for (std::size_t k = 0; k < args.size(); ++k) slots_[code.args[first_arg + k]] = std::move(args[k]);
    run_code(code);
    return tiles(code.yielded);
  }

  void run_code(const Code& code) {
    for (const Node& node : code.nodes) run_node(node);
  }

  void run_for(const Node& node) {
    const std::int64_t lo = tile(node.operands[0])->i[0];
    const std::int64_t hi = tile(node.operands[1])->i[0];
    const std::int64_t by = tile(node.operands[2])->i[0];
    if (lo < hi && by <= 0) fail(*node.op, fmt::format("the step {} is not positive", by));
    const Code& body = node.regions[0];
    Tiles carried = tiles(node.operands, 3);
    for (std::int64_t iv = lo; iv < hi;) {
      slots_[body.args[0]] = int_scalar(DType::Idx, iv);
      carried = run_region(body, std::move(carried), 1);
      if (__builtin_add_overflow(iv, by, &iv)) break;
      count_step(*node.op);
    }
    set(node.results, std::move(carried));
  }

  void run_while(const Node& node) {
    Tiles carried = tiles(node.operands);
    while (run_region(node.regions[0], carried)[0]->i[0] != 0) {
      carried = run_region(node.regions[1], std::move(carried));
      count_step(*node.op);
    }
    set(node.results, std::move(carried));
  }

  /// What an operand of a claim contributes: a range its coordinates, -1 where they are not valid.
  TilePtr claim_operand(std::size_t slot) const {
    const auto* r = std::get_if<RangeValue>(&slots_[slot]);
    if (r == nullptr) return tile(slot);
    auto y = make_tile(DType::Idx, {r->size});
    for (std::int64_t k = 0; k < r->size; ++k) y->i[static_cast<std::size_t>(k)] = r->valid(k) ? r->coord(k) : -1;
    return y;
  }

  /// Integer operands together name a place, which may occur once in the whole launch; a negative index names none. A bool operand says where
  /// the claim counts.
  void run_claim(const Node& node) {
    Tiles parts;
    Dims dims;
    for (const std::size_t s : node.operands) {
      parts.push_back(claim_operand(s));
      ir::broadcast(dims, parts.back()->dims, dims);
    }
    for (TilePtr& p : parts) p = expand(p, dims);
    std::set<Dims>& seen = claimed_[node.op];
    for (std::size_t e = 0; e < static_cast<std::size_t>(count(dims)); ++e) {
      Dims key;
      bool counts = true;
      for (const TilePtr& p : parts) {
        const std::int64_t v = p->i[e];
        counts = counts && (is_bool(p->dtype) ? v != 0 : v >= 0);
        if (!is_bool(p->dtype)) key.push_back(v);
      }
      if (counts && !seen.insert(key).second) {
        const std::string& why = node.op->string_attr(Attr::Message);
        fail(*node.op, fmt::format("unique does not hold: ({}) occurs twice{}", fmt::join(key, ", "), why.empty() ? "" : " (\"" + why + "\")"));
      }
    }
  }

  void run_assert(const Node& node) const {
    const Tile& x = *tile(node.operands[0]);
    const auto bad = std::find(x.i.begin(), x.i.end(), 0);
    if (bad == x.i.end()) return;
    fail(*node.op, fmt::format("{} (false at element {} of {})", node.op->string_attr(Attr::Message), bad - x.i.begin(), x.i.size()));
  }

  void run_print(const Node& node) const {
    const Tile& x = *tile(node.operands[0]);
    const std::string line = fmt::format("{}: {} = {}", node.op->string_attr(Attr::Message), ir::str(ir::TileType{x.dtype, x.dims}), print_tile(x));
    if (options_.print) {
      options_.print(line);
    } else {
      std::fputs((line + "\n").c_str(), stderr);
    }
  }

  TilePtr coords(const RangeValue& r) const {
    auto y = make_tile(DType::Idx, {r.size});
    for (std::int64_t k = 0; k < r.size; ++k) y->i[static_cast<std::size_t>(k)] = r.coord(k);
    return y;
  }

  TilePtr inside(const RangeValue& r) const {
    auto y = make_tile(DType::Bool, {r.size});
    for (std::int64_t k = 0; k < r.size; ++k) y->i[static_cast<std::size_t>(k)] = r.valid(k) ? 1 : 0;
    return y;
  }

  TilePtr iota(const Op& op) const {
    auto y = make_tile(ir::tile(op.result()->type));
    for (std::size_t k = 0; k < y->i.size(); ++k) y->i[k] = static_cast<std::int64_t>(k);
    return y;
  }

  RangeValue range(const Node& node) const {
    const auto number = [&](std::size_t k) { return tile(node.operands[k])->i[0]; };
    return {number(0), number(1), number(2), node.op->int_attr(Attr::Size), node.op->int_attr(Attr::Full) != 0};
  }

  void count_step(const Op& op) {
    if (options_.max_steps > 0 && ++steps_ > options_.max_steps) fail(op, fmt::format("gave up after {} steps", options_.max_steps));
  }

  RegionFn region_fn(const Code& code) {
    return [this, &code](Tiles args) { return run_region(code, std::move(args)); };
  }

  void run_node(const Node& node);

  const ir::Kernel& kernel_;
  const std::vector<std::uint64_t>& frame_;
  const InterpretOptions& options_;
  Mode mode_;
  FrameLayout layout_;
  Code body_;
  std::unordered_map<const ir::Value*, std::size_t> numbers_;
  std::vector<Slot> slots_;
  std::unordered_map<const Op*, std::set<Dims>> claimed_;
  std::int64_t steps_ = 0;
};

void Machine::run_node(const Node& node) {
  const Op& op = *node.op;
  count_step(op);
  const auto result = [&](Slot v) { slots_[node.results[0]] = std::move(v); };
  switch (op.kind) {
    case OpKind::Const: result(eval_const(op, mode_)); break;
    case OpKind::Iota: result(iota(op)); break;
    case OpKind::Sym: result(int_scalar(DType::Idx, symbol(op.string_attr(Attr::Name)))); break;
    case OpKind::Range: result(range(node)); break;
    case OpKind::Coords: result(coords(std::get<RangeValue>(slots_[node.operands[0]]))); break;
    case OpKind::Inside: result(inside(std::get<RangeValue>(slots_[node.operands[0]]))); break;
    case OpKind::Neg:
    case OpKind::Abs:
    case OpKind::Not:
    case OpKind::Exp:
    case OpKind::Exp2:
    case OpKind::Ln:
    case OpKind::Log2:
    case OpKind::Sqrt:
    case OpKind::Rsqrt:
    case OpKind::Rcp:
    case OpKind::Tanh:
    case OpKind::Sigmoid:
    case OpKind::Sin:
    case OpKind::Cos:
    case OpKind::Erf:
    case OpKind::Floor:
    case OpKind::Ceil:
    case OpKind::Round:
    case OpKind::Popcount:
    case OpKind::Clz: result(eval_unary(op, tiles(node.operands), mode_)); break;
    case OpKind::Add:
    case OpKind::Sub:
    case OpKind::Mul:
    case OpKind::Div:
    case OpKind::Mod:
    case OpKind::Min:
    case OpKind::Max:
    case OpKind::And:
    case OpKind::Or:
    case OpKind::Xor:
    case OpKind::Shl:
    case OpKind::Shr: result(eval_binary(op, tiles(node.operands), mode_)); break;
    case OpKind::Eq:
    case OpKind::Ne:
    case OpKind::Lt:
    case OpKind::Le:
    case OpKind::Gt:
    case OpKind::Ge: result(eval_compare(op, tiles(node.operands))); break;
    case OpKind::Select: result(eval_select(op, tiles(node.operands))); break;
    case OpKind::Fma: result(eval_fma(op, tiles(node.operands), mode_)); break;
    case OpKind::Cast: result(eval_cast(op, tiles(node.operands), mode_)); break;
    case OpKind::Bitcast: result(eval_bitcast(op, tiles(node.operands))); break;
    case OpKind::Broadcast: result(expand(tile(node.operands[0]), ir::tile(op.result()->type).dims)); break;
    case OpKind::Reshape: result(eval_reshape(op, tiles(node.operands))); break;
    case OpKind::Permute: result(eval_permute(op, tiles(node.operands))); break;
    case OpKind::Slice: result(eval_slice(op, tiles(node.operands))); break;
    case OpKind::Concat: result(eval_concat(op, tiles(node.operands))); break;
    case OpKind::Pick: result(eval_pick(op, tiles(node.operands))); break;
    case OpKind::Dot: result(eval_dot(op, tiles(node.operands), mode_)); break;
    case OpKind::DotScaled: result(eval_dot_scaled(op, tiles(node.operands), mode_)); break;
    case OpKind::Reduce: result(eval_reduce(op, tiles(node.operands), mode_)); break;
    case OpKind::Scan: result(eval_scan(op, tiles(node.operands), mode_)); break;
    case OpKind::ReduceWith: set(node.results, eval_reduce_with(op, tiles(node.operands), region_fn(node.regions[0]))); break;
    case OpKind::ScanWith: set(node.results, eval_scan_with(op, tiles(node.operands), region_fn(node.regions[0]))); break;
    case OpKind::Sort: result(eval_sort(op, tiles(node.operands))); break;
    case OpKind::TopK: set(node.results, eval_top_k(op, tiles(node.operands))); break;
    case OpKind::Histogram: result(eval_histogram(op, tiles(node.operands))); break;
    case OpKind::SolveLower: result(eval_solve_lower(op, tiles(node.operands), mode_)); break;
    case OpKind::Load: result(eval_load(op, slot_pointers(node), mode_)); break;
    case OpKind::Store:
    case OpKind::Signal: eval_store(op, slot_pointers(node), mode_); break;
    case OpKind::FetchAdd: result(eval_fetch_add(op, slot_pointers(node), mode_)); break;
    case OpKind::Wait: result(eval_wait(op, slot_pointers(node), mode_, region_fn(node.regions[0]))); break;
    case OpKind::ViewIndex:
    case OpKind::ViewSpan:
    case OpKind::ViewPermute:
    case OpKind::ViewMerge:
    case OpKind::ViewSplit:
    case OpKind::ViewPaged:
    case OpKind::ViewTake:
    case OpKind::ViewPeer: result(apply_view_op(op, slot_pointers(node))); break;
    case OpKind::Extent: {
      const View& v = *std::get<ViewPtr>(slots_[node.operands[0]]);
      result(int_scalar(DType::Idx, v.extents[static_cast<std::size_t>(op.int_attr(Attr::Axis))]));
      break;
    }
    case OpKind::For: run_for(node); break;
    case OpKind::While: run_while(node); break;
    case OpKind::If: {
      const Code& taken = node.regions[tile(node.operands[0])->i[0] != 0 ? 0 : 1];
      set(node.results, run_region(taken, {}));
      break;
    }
    case OpKind::Assert: run_assert(node); break;
    case OpKind::Print: run_print(node); break;
    case OpKind::Claim: run_claim(node); break;
    case OpKind::Yield: TESSERA_UNREACHABLE("a yield ends its block");
  }
}

}  // namespace
}  // namespace interp

void interpret(const ir::Kernel& kernel, const std::vector<std::uint64_t>& frame, const InterpretOptions& options) {
  interp::Machine(kernel, frame, options).run();
}

}  // namespace tessera
