#include "codegen/gpu/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

/// A row's bytes: an odd number of 16-byte chunks.
std::int64_t pitch_of(std::int64_t cols, std::int64_t cell) {
  std::int64_t chunks = round_up(cols * cell, 16) / 16;
  return (chunks % 2 == 0 ? chunks + 1 : chunks) * 16;
}

/// Whether a product's operands keep the lines of 128 bytes that they come in: an asynchronous copy writes a line of a padded row in two pieces. That
/// counts where each element that comes is used by few rows, so that memory sets the pace. `row_bytes` of the operand.
bool by_lines(const DotPlan& dot, std::int64_t row_bytes) {
  constexpr std::int64_t kFewRows = 16;
  return dot.mma && dot.result.axes[0].extent() <= kFewRows && row_bytes % kPanelBytes == 0;
}

/// A load whose indices are scalars and two ranges: rows and columns of a view.
bool rows_and_columns(const Value* v) {
  if (!v->def || v->def->kind != OpKind::Load || dims(v).size() != 2 || bits(dtype(v)) < 8) return false;
  int ranges = 0;
  for (std::size_t i = 1; i < v->def->operands.size(); ++i) {
    const Value* index = v->def->operands[i];
    if (ir::is_range(index->type))
      ++ranges;
    else if (!is_scalar(index))
      return false;
  }
  return ranges == 2;
}

const char* taken(Persistence p) {
  switch (p) {
    case Persistence::Off: return "one instance";
    case Persistence::Static: return "each n-th instance";
    case Persistence::Dynamic: return "instances by tickets";
  }
  return "";
}

}  // namespace

const Value* parameter_of(const Value* view) {
  while (view->def) view = view->def->operands[0];
  return view;
}

const Value* through_transposes(const Value* v, bool& flipped) {
  while (v->def && v->def->kind == OpKind::Permute && dims(v).size() == 2) {
    if (v->def->dims_attr(ir::Attr::Perm)[0] == 1) flipped = !flipped;
    v = v->def->operands[0];
  }
  return v;
}

Plan::Plan(const ir::Kernel& kernel, const GpuTarget& target, const Schedule& schedule)
    : kernel_(kernel), target_(target), wishes_(wishes_of(schedule)), uses_(kernel), affine_(kernel) {
  ir::walk(kernel.body, [&](const Op& op) {
    if (op.kind == OpKind::Dot) dot_ops_.push_back(&op);
  });
  bound_spans();
  if (target_.sm >= 80) {
    read_cache_wishes();
    read_unroll_wishes();
  } else {
    wishes_.homes.clear();
  }
  if (target_.sm < 90) wishes_.divides.clear();
  lay_out();
  const bool transposed = std::any_of(stages_.begin(), stages_.end(), [](const Stage& s) { return s.transposed_from >= 0; });
  // Where nobody is there to transpose tiles, they go through registers.
  if (transposed && !roles_) lay_out_without_transposing();
  choose_cluster();
  check_homes();
  check_divisions();
}

void Plan::lay_out_without_transposing() {
  transposing_ = false;
  dots_.clear();
  layouts_.clear();
  stages_.clear();
  skews_.clear();
  bulk_barriers_.clear();
  chains_.clear();
  shared_.clear();
  descending_.clear();
  asked_ring_.reset();
  polynomial_.clear();
  lay_out();
}

void Plan::lay_out() {
  choose_warps();
  choose_dots();
  assign_layouts();
  stage_operands();
  stage_row_numbers();
  make_rings();
  place_stages();
  skew_products();
  choose_bulk_copies();
  chain_loops();
  order_instances();
  choose_roles();
  find_live();
  balance_units();
  share_bodies();
}

/// A span of a fixed number of heads, say: nothing is clipped at run time, and merged axes are divided by a number.
void Plan::bound_spans() {
  ir::walk(kernel_.body, [&](const Op& op) {
    if (op.kind != OpKind::ViewSpan) return;
    const Sym lo = affine_.scalar(op.operands[1]), hi = affine_.scalar(op.operands[2]);
    const Sym extent = affine_.extent(op.operands[0], static_cast<int>(op.int_attr(ir::Attr::Axis)));
    if (!affine_.nonnegative(lo) || !affine_.nonnegative(hi - lo) || !affine_.nonnegative(extent - hi)) return;
    spans_[&op] = {.inside = true, .extent = (hi - lo).as_constant()};
  });
}

cpu::SpanBounds Plan::span_bounds(const Op& span) const {
  const auto at = spans_.find(&span);
  return at == spans_.end() ? cpu::SpanBounds{} : at->second;
}

bool Plan::fragments_in_registers(const Op& op, const DotPlan& dot) const {
  const Value* operand = op.operands[0];
  const std::optional<bool> wanted = wants_registers(operand);
  if (wanted == false || !dot.mma || dot.per_register == 1 || uses_.lazy(operand) || !has_layout(operand)) return false;
  if (dot.per_register == 4) {
    // Then the other operand is stored in that order too, by whoever transposes it.
    bool flipped = false;
    through_transposes(op.operands[1], flipped);
    if (flipped) return false;
  }
  if (operand->def && operand->def->kind == OpKind::Load && !wanted) return false;
  const Layout& l = layout(operand);
  return l.axes[0] == dot.result.axes[0] && l.axes[1] == mma_cols(dims(operand)[1]);
}

/// Whether the asking warpgroup, if there is one, could transpose the tile: a ring of bulk copies of bytes.
bool Plan::may_transpose(const Value* source) const {
  const Op* loop = rows_and_columns(source) ? source->def->parent->parent : nullptr;
  return transposing_ && warpgroups_ && bits(dtype(source)) == 8 && loop && loop->kind == OpKind::For && loop->parent == &kernel_.body &&
         dims(source)[0] % kTransposedRows == 0;
}

OperandHome Plan::stage_for(const Value* operand, const DotPlan& dot, bool is_a) {
  bool flipped = false;
  const Value* source = through_transposes(operand, flipped);
  OperandHome home;
  const bool source_k_inner = is_a != flipped;
  // 8x8 matrices are transposed on the way for 16-bit elements only.
  const bool turn = dot.mma && dot.per_register != 2 && !source_k_inner;
  home.k_inner = source_k_inner || turn;
  Stage s;
  s.source = source;
  const bool by_asking = turn && dot.warpgroup && may_transpose(source);
  s.from_load = rows_and_columns(source) && (!turn || by_asking);
  s.transposed = turn;
  s.swizzled = dot.warpgroup || (s.from_load && !warpgroups_ && by_lines(dot, dims(source)[1] * cell_bytes(dtype(source))));
  s.in_register_order = turn && dot.per_register == 4 && !is_a && dot.a.stage < 0;
  s.dtype = dtype(source);
  // Padding: k to whole steps (16 covers both halves of two steps of 8), the other axis to whole fragments.
  const std::int64_t k_step = dot.mma ? std::max<std::int64_t>(dot.k_step, 16) : 1;
  const std::int64_t n_step = dot.mma ? 16 : 1;
  const std::int64_t outer = is_a ? dot.result.axes[0].extent() : dot.result.axes[1].extent();
  const std::int64_t k = round_up(dims(operand)[is_a ? 1 : 0], k_step);
  const std::int64_t n = dot.mma ? round_up(outer, n_step) : outer;
  s.rows = home.k_inner ? n : k;
  s.cols = home.k_inner ? k : n;
  if (by_asking) {
    Stage raw = s;
    raw.transposed = raw.in_register_order = false;
    raw.rows = dims(source)[0];
    raw.cols = n;
    s.transposed_from = share_stage(raw);
  }
  home.stage = share_stage(s);
  return home;
}

/// A stage that serves as `s` would, by index.
int Plan::share_stage(Stage s) {
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Stage& t = stages_[i];
    if (t.source != s.source || t.transposed != s.transposed || t.swizzled != s.swizzled || t.in_register_order != s.in_register_order) continue;
    t.rows = std::max(t.rows, s.rows);
    t.cols = std::max(t.cols, s.cols);
    t.pitch = pitch_of(t.cols, cell_bytes(t.dtype));
    return static_cast<int>(i);
  }
  s.pitch = pitch_of(s.cols, cell_bytes(s.dtype));
  stages_.push_back(s);
  return static_cast<int>(stages_.size()) - 1;
}

void Plan::stage_operands() {
  for (const Op* op : dot_ops_) {
    DotPlan& d = dots_.at(op);
    if (!fragments_in_registers(*op, d)) d.a = stage_for(op->operands[0], d, true);
    d.b = stage_for(op->operands[1], d, false);
  }
}

/// Tiles that views take their rows by are read at places that only the access knows.
void Plan::stage_row_numbers() {
  ir::walk(kernel_.body, [&](const Op& op) {
    if (op.kind != OpKind::ViewTake || !is_real_tile(op.operands[1]) || uses_.lazy(op.operands[1])) return;
    const Value* v = op.operands[1];
    if (!stages_of(v).empty()) return;
    const std::int64_t n = dims(v)[0], cell = cell_bytes(dtype(v));
    stages_.push_back({.source = v, .dtype = dtype(v), .rows = 1, .cols = n, .pitch = round_up(n * cell, 16)});
  });
}

std::size_t parameter_index(const ir::Kernel& kernel, const Value* view) {
  std::size_t arg = parameter_of(view)->index;
  for (std::size_t p = 0; p < kernel.params.size(); ++p) {
    if (kernel.params[p].present && arg-- == 0) return p;
  }
  TESSERA_UNREACHABLE("a view without a parameter");
}

Layout operand_layout(const Value* operand, const Layout& result) {
  if (is_scalar(operand)) return {};
  Layout l = result;
  for (std::size_t a = 0; a < dims(operand).size(); ++a) {
    if (dims(operand)[a] == 1) l.axes[a].digits.clear();
  }
  return l;
}

std::vector<int> Plan::stages_of(const Value* v) const {
  std::vector<int> out;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (stages_[i].source == v) out.push_back(static_cast<int>(i));
  }
  return out;
}

std::vector<int> Plan::transposed_of(const Op& loop) const {
  std::vector<int> out = rings_of(loop);
  std::erase_if(out, [&](int i) { return stages_[static_cast<std::size_t>(i)].transposed_from < 0; });
  return out;
}

std::vector<int> Plan::rings_of(const Op& loop) const {
  std::vector<int> out;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (stages_[i].loop == &loop) out.push_back(static_cast<int>(i));
  }
  return out;
}

bool Plan::in_registers(const Value* v) const {
  if (uses_.lazy(v)) return false;
  for (const int i : stages_of(v)) {
    if (!stages_[static_cast<std::size_t>(i)].from_load) return true;
  }
  // Uses by products come from stages, or as fragments, which need registers.
  for (const Op* use : uses_.of(v)) {
    if (use->kind == OpKind::Dot) {
      const DotPlan& d = dots_.at(use);
      if (use->operands[0] == v && d.a.stage < 0) return true;
      continue;
    }
    if (use->kind == OpKind::Permute && dims(v).size() == 2) {
      if (in_registers(use->result())) return true;
      continue;
    }
    return true;
  }
  return false;
}

namespace {

/// Adds the ops inside `body` that `v` is computed by; false if one of them is no address arithmetic.
bool slice_of(const Value* v, const ir::Block& body, std::set<const Op*>& slice) {
  if (!v->def) return v->block == &body ? v->index == 0 || ir::is_view(v->type) : true;  // the loop variable, or something outside
  if (!Uses::inside(v->def->parent, &body)) return true;
  const Op& op = *v->def;
  if (op.parent != &body || !op.regions.empty() || slice.count(&op)) return slice.count(&op) != 0;
  const bool scalar_load = op.kind == OpKind::Load && is_scalar(op.result());
  const bool wanted = ir::is_view(op.result()->type) || ir::is_range(op.result()->type) || is_scalar(op.result());
  if (!wanted || !(ir::has(op.kind, ir::Pure) || scalar_load)) return false;
  for (const Value* o : op.operands) {
    if (!slice_of(o, body, slice)) return false;
  }
  slice.insert(&op);
  return true;
}

}  // namespace

bool Plan::prefetchable(const Op& load, const Op& loop) const {
  if (ir::view(parameter_of(load.operands[0])->type).mode != ir::Mode::In) return false;
  std::set<const Op*> slice;
  for (const Value* o : load.operands) {
    if (!slice_of(o, loop.region(), slice)) return false;
  }
  for (const Op* op : slice) {
    if (op->kind == OpKind::Load && ir::view(parameter_of(op->operands[0])->type).mode != ir::Mode::In) return false;
  }
  return true;
}

std::vector<const Op*> Plan::address_ops(const Op& loop, int behind) const {
  std::set<const Op*> slice;
  for (const int i : rings_of(loop)) {
    if (stages_[static_cast<std::size_t>(i)].behind != behind) continue;
    for (const Value* o : stages_[static_cast<std::size_t>(i)].source->def->operands) slice_of(o, loop.region(), slice);
  }
  std::vector<const Op*> out;
  for (const auto& op : loop.region().ops) {
    if (slice.count(op.get())) out.push_back(op.get());
  }
  return out;
}

void Plan::make_rings() {
  if (!target_.has_cp_async()) return;
  std::set<const Op*> loops;
  for (Stage& s : stages_) {
    const Op* parent = s.from_load ? s.source->def->parent->parent : nullptr;
    if (!parent || parent->kind != OpKind::For || !prefetchable(*s.source->def, *parent)) continue;
    s.loop = parent;
    loops.insert(parent);
  }
  if (loops.empty()) return;
  const auto set_slots = [&](int slots) {
    for (Stage& s : stages_) s.slots = s.loop ? slots : 1;
    for (Stage& s : stages_) {
      const auto wish = wishes_.slots.find(s.source->hint);
      if (!s.loop || wish == wishes_.slots.end()) continue;
      s.slots = static_cast<int>(wish->second.number);
      asked_ring_ = wish->second.span;
    }
    // One loop has one depth: the trip that is computed finds all its tiles.
    for (const Op* loop : loops) {
      int least = 8;
      for (const Stage& s : stages_) least = s.loop == loop ? std::min(least, s.slots) : least;
      for (Stage& s : stages_) s.slots = s.loop == loop ? least : s.slots;
    }
    place_stages();
  };
  // Two CTAs an SM where two slots leave room for that.
  const std::int64_t half = target_.max_shared_sm() / 2 - 2048, whole = target_.max_shared_cta() - 2048;
  const auto choose = [&](std::int64_t room, int most, int least) {
    for (int slots = most; slots >= least; --slots) {
      set_slots(slots);
      if (staged_bytes_ <= room) return true;
    }
    return false;
  };
  // What fits nowhere stays as the schedule asks for it, and is refused with the bytes it needs.
  if (2 * threads() * registers_ > 65536) {
    choose(whole, 4, 1);
  } else if (!choose(half, 4, 2)) {
    choose(whole, 3, 1);
  }
  for (Stage& s : stages_) {
    if (s.slots == 1) s.loop = nullptr;
  }
}

void Plan::place_stages() {
  // Stages whose blocks are not nested in each other are never in use at one time.
  staged_bytes_ = 0;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Stage& s = stages_[i];
    const std::int64_t size = round_up(s.slot_bytes() * s.slots, 128);
    s.offset = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t j = 0; j < i; ++j) {
        const Stage& t = stages_[j];
        if (!Uses::inside(s.block(), t.block()) && !Uses::inside(t.block(), s.block())) continue;
        const std::int64_t end = round_up(t.offset + t.slot_bytes() * t.slots, 128);
        if (s.offset < end && t.offset < s.offset + size) {
          s.offset = round_up(end, s.alignment());
          moved = true;
        }
      }
    }
    staged_bytes_ = std::max(staged_bytes_, s.offset + size);
  }
}

std::vector<std::string> Plan::notes() const {
  std::vector<std::string> out;
  for (const Op* op : dot_ops_) {
    const DotPlan& d = dots_.at(op);
    out.push_back(fmt::format("product {}: {}, {} x {} warps, A from {}", op->result()->hint.empty() ? "-" : op->result()->hint,
                              d.mma ? info(*d.mma).name : "multiply-adds", d.warps_m, d.warps_n, d.a.stage < 0 ? "registers" : "shared memory"));
  }
  if (roles_)
    out.push_back(fmt::format(
        "roles: one warpgroup asks for tiles with {} registers, {} compute with {}{}; a CTA takes {}", roles_->asking, warps_ / 4, roles_->computing,
        std::any_of(skews_.begin(), skews_.end(), [&](const auto& s) { return takes_turns(*s.first); }) ? " and take turns at products" : "",
        taken(persistence())));
  if (assembler_level() > 0) out.push_back(fmt::format("assembled at -O{}", assembler_level()));
  for (const auto& op : kernel_.body.ops) {
    if (roles_ && roles_->stores.count(op.get()) != 0)
      out.push_back(fmt::format("store of {}: by bulk copies, pieces of {} bytes, {} for each warpgroup",
                                kernel_.params[roles_->stores.at(op.get()).param].name, kPieceBytes, roles_->buffers));
  }
  if (live_) out.push_back(live_note());
  if (cluster_axis_) out.push_back(fmt::format("clusters: 2 CTAs, of neighbouring instances along {}", kernel_.grid[*cluster_axis_].name));
  for (const auto& [loop, skews] : skews_) {
    for (const Skew& k : skews)
      out.push_back(fmt::format("product {}: one trip behind", k.sum->result()->hint.empty() ? "-" : k.sum->result()->hint));
  }
  for (const auto& [head, body] : shared_)
    out.push_back(fmt::format("a loop in {} parts: the first trip and those with masks have one code", 1 + continued_by(*head).size()));
  for (const Op* op : dot_ops_) {
    const Op* loop = op->parent->parent;
    if (roles_ && loop && bulk_barriers_.count(loop) != 0 && sums_up(*loop))
      out.push_back(fmt::format("product {}: into the next trip", op->result()->hint.empty() ? "-" : op->result()->hint));
  }
  ir::walk(kernel_.body, [&](const Op& op) {
    const auto at = polynomial_.find(&op);
    if (at == polynomial_.end()) return;
    out.push_back(fmt::format("exponential {}: {} of {} by multiply-adds", op.result()->hint.empty() ? "-" : op.result()->hint, at->second, kShares));
  });
  for (const Stage& s : stages_) {
    out.push_back(fmt::format("tile {}: shared memory, {} x {} {}{}, {} slot{}, {} bytes", s.source->hint.empty() ? "-" : s.source->hint, s.rows,
                              s.cols, name(s.dtype), s.swizzled ? ", swizzled" : "", s.slots, s.slots == 1 ? "" : "s", s.slot_bytes() * s.slots) +
                  (s.transposed_from >= 0 ? ", transposed"
                   : s.bulk               ? ", by bulk copies"
                                          : "") +
                  (s.halves == Halves::None     ? ""
                   : s.halves == Halves::Panels ? ", for both CTAs of a cluster, each asks for half the columns"
                                                : ", for both CTAs of a cluster, each asks for half the rows"));
  }
  return out;
}

}  // namespace tessera::gpu
