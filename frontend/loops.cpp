// Loops and run-time conditionals: variables assigned inside become carried values.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborate.h"

namespace tessera {

using ir::OpKind;

std::vector<Binding*> Elaborator::carried(const std::set<std::string>& assigned, const ScopePtr& s) {
  std::vector<Binding*> out;
  for (const std::string& n : assigned) {
    bool crossed = false;
    Binding* b = find(*s, n, &crossed);
    if (b && b->is_var && !crossed && !b->value.poison()) out.push_back(b);
  }
  std::stable_sort(out.begin(), out.end(), [](const Binding* a, const Binding* b) { return a->span.begin < b->span.begin; });
  return out;
}

std::vector<ir::Value*> Elaborator::current(const std::vector<Binding*>& vars) {
  std::vector<ir::Value*> out;
  for (Binding* b : vars) {
    std::vector<ir::Value**> slots;
    flatten(b->value, slots);
    for (ir::Value** v : slots) out.push_back(*v);
  }
  return out;
}

void Elaborator::rebind(const std::vector<Binding*>& vars, const std::vector<ir::Value*>& values) {
  std::size_t i = 0;
  for (Binding* b : vars) {
    std::vector<ir::Value**> slots;
    flatten(b->value, slots);
    for (ir::Value** v : slots) *v = values[i++];
  }
}

std::vector<ir::Value*> Elaborator::add_args(ir::Block& block, const std::vector<Binding*>& vars) {
  std::vector<ir::Value*> out;
  for (ir::Value* v : current(vars)) out.push_back(block.add_arg(v->type, v->hint));
  return out;
}

std::vector<ir::Value*> Elaborator::add_results(ir::Op& op, const std::vector<ir::Value*>& like) {
  std::vector<ir::Value*> out;
  for (ir::Value* v : like) {
    auto r = std::make_unique<ir::Value>();
    r->type = v->type;
    r->hint = v->hint;
    r->def = &op;
    r->index = op.results.size();
    out.push_back(r.get());
    op.results.push_back(std::move(r));
  }
  return out;
}

/// An op with empty regions, appended to the current block; its results follow when its regions are known.
ir::Op* Elaborator::open_op(OpKind k, std::vector<ir::Value*> operands, int regions) {
  auto op = std::make_unique<ir::Op>();
  op->kind = k;
  op->operands = std::move(operands);
  op->span = builder_->span();
  op->parent = &builder_->block();
  for (int i = 0; i < regions; ++i) {
    op->regions.push_back(std::make_unique<ir::Block>());
    op->regions.back()->parent = op.get();
  }
  ir::Op* raw = op.get();
  builder_->block().ops.push_back(std::move(op));
  return raw;
}

void Elaborator::exec_if_else(ir::Value* condition, const std::set<std::string>& assigned, const ScopePtr& s, const std::function<void()>& then,
                              const std::function<void()>& otherwise) {
  if (!lowering()) {
    then();
    otherwise();
    return;
  }
  std::vector<Binding*> vars = carried(assigned, s);
  std::vector<Val> before;
  for (Binding* b : vars) before.push_back(b->value);
  ir::Block& outer = builder_->block();
  ir::Op* op = open_op(OpKind::If, {condition}, 2);
  for (std::size_t arm = 0; arm < 2; ++arm) {
    for (std::size_t i = 0; i < vars.size(); ++i) vars[i]->value = before[i];
    builder_->set_block(op->region(arm));
    (arm == 0 ? then : otherwise)();
    builder_->yield(current(vars));
  }
  builder_->set_block(outer);
  rebind(vars, add_results(*op, op->region(0).yielded()));
}

void Elaborator::loop(const std::set<std::string>& assigned, const ScopePtr& s, ir::Value* lo, ir::Value* hi, ir::Value* step,
                      const std::function<void(ir::Value*)>& body) {
  if (!lowering()) return body(nullptr);
  std::vector<Binding*> vars = carried(assigned, s);
  std::vector<ir::Value*> inits = current(vars);
  std::vector<ir::Value*> operands{lo, hi, step};
  operands.insert(operands.end(), inits.begin(), inits.end());
  ir::Block& outer = builder_->block();
  ir::Op* op = open_op(OpKind::For, operands, 1);
  ir::Value* iv = op->region().add_arg(ir::scalar(DType::Idx));
  rebind(vars, add_args(op->region(), vars));
  builder_->set_block(op->region());
  body(iv);
  builder_->yield(current(vars));
  builder_->set_block(outer);
  rebind(vars, add_results(*op, inits));
}

void Elaborator::while_loop(const std::set<std::string>& assigned, const ScopePtr& s, const std::function<ir::Value*()>& condition,
                            const std::function<void()>& body) {
  if (!lowering()) {
    (void)condition();
    return body();
  }
  std::vector<Binding*> vars = carried(assigned, s);
  std::vector<ir::Value*> inits = current(vars);
  ir::Block& outer = builder_->block();
  ir::Op* op = open_op(OpKind::While, inits, 2);
  std::vector<Val> before;
  for (Binding* b : vars) before.push_back(b->value);
  rebind(vars, add_args(op->region(0), vars));
  builder_->set_block(op->region(0));
  builder_->yield({condition()});
  for (std::size_t i = 0; i < vars.size(); ++i) vars[i]->value = before[i];
  rebind(vars, add_args(op->region(1), vars));
  builder_->set_block(op->region(1));
  body();
  builder_->yield(current(vars));
  builder_->set_block(outer);
  rebind(vars, add_results(*op, inits));
}

void Elaborator::exec_while(const ast::While& w, Span span, const ScopePtr& s) {
  std::set<std::string> assigned = assigned_names(*w.body);
  ScopePtr inner = child(s);
  bool breaks = assigned.count("break") != 0;
  inner->names["break"] = Binding{Val{constant(elem(DType::Bool), {}, 0)}, true, span, "break", false};
  while_loop(
      assigned, inner,
      [&] {
        TileVal c = scalar_bool(eval(*w.condition, inner), w.condition->span);
        if (!breaks || !builder_) return c.v;
        return emit(OpKind::And, {c.v, emit(OpKind::Not, {find(*inner, "break")->value.as<TileVal>()->v})});
      },
      [&] { exec_block(*w.body, inner); });
}

void Elaborator::unroll(const ast::For& f, const Val& iter, Span span, const ScopePtr& s) {
  const RangeVal r = as_range(iter, f.iter->span);
  (void)span;
  if (!r.lo_sym || !r.hi_sym || run_time(*r.lo_sym) || run_time(*r.hi_sym))
    fail(Code::E0315, f.iter->span, "the ends of a `for const` loop are compile-time integers");
  auto lo = facts_.normalise(*r.lo_sym).as_constant(), hi = facts_.normalise(*r.hi_sym).as_constant();
  if (lo && hi && *hi > *lo && static_cast<std::uint64_t>(*hi) - static_cast<std::uint64_t>(*lo) > 1024)
    fail(Code::E0602, f.iter->span,
         fmt::format("the loop would be unrolled {} times; the limit is 1024", static_cast<std::uint64_t>(*hi) - static_cast<std::uint64_t>(*lo)),
         "use a run-time `for`");
  if (!lowering()) {
    ScopePtr inner = child(s);
    Sym at = fresh_symbol(f.var.name, nullptr);
    constant_symbols_.insert(at.symbols()[0]);
    inner->names[f.var.name] = Binding{Val{IntConst{at}}, false, f.var.span, f.var.name, false};
    inner->names["break"] = Binding{};
    return exec_block(*f.body, inner);
  }
  if (!lo || !hi) fail(Code::E0315, f.iter->span, "the ends of a `for const` loop are compile-time integers", "use a run-time `for`");
  for (std::int64_t i = *lo; i < *hi; ++i) {
    Deeper deeper(*this, f.iter->span);
    ScopePtr inner = child(s);
    inner->names[f.var.name] = Binding{Val{IntConst{Sym(i)}}, false, f.var.span, f.var.name, false};
    inner->names["break"] = Binding{};
    exec_block(*f.body, inner);
  }
}

void Elaborator::exec_for(const ast::For& f, Span span, const ScopePtr& s) {
  Val iter = eval(*f.iter, s);
  if (iter.poison()) throw Failed{};
  if (f.is_const) return unroll(f, iter, span, s);
  if (f.label) labels_.push_back(f.label->name);
  auto* tiles = iter.as<TilesVal>();
  RangeVal r = tiles ? tiles->of : as_range(iter, f.iter->span);
  if (r.size) {  // the coordinates of a tile range: from its start, those that are valid
    r.lo = idx_binary(OpKind::Max, r.lo, r.start);
    r.hi = builder_ ? idx_binary(OpKind::Min, r.hi, idx_binary(OpKind::Add, r.start, emit_sym(*r.size))) : nullptr;
    r.size.reset();
    r.lo_sym.reset();
    r.hi_sym.reset();
  }
  at(f.iter->span);
  ir::Value* step = builder_ ? (tiles ? emit_sym(tiles->size) : emit_idx(1)) : nullptr;
  std::set<std::string> assigned = assigned_names(*f.body);
  auto enter = [&](const ScopePtr& inner, ir::Value* iv) {
    Sym at = fresh_symbol(f.var.name, iv);
    if (!tiles && r.lo_sym && r.hi_sym) bounds_[at.symbols()[0]] = {*r.lo_sym, *r.hi_sym};
    if (iv) {
      // Under the path of the loop, whose own label is for what is inside.
      iv->hint = f.var.name;
      for (std::size_t i = labels_.size() - (f.label ? 1 : 0); i-- > 0;) iv->hint = labels_[i] + "." + iv->hint;
    }
    Val v;
    if (tiles) {
      ir::Value* block = builder_ ? emit(OpKind::Div, {idx_binary(OpKind::Sub, iv, r.lo), step}) : nullptr;
      RangeVal t = tile_range(r, tiles->size, iv, at, block);
      t.bound = f.var.span;
      v = {t};
    } else {
      TileVal t = make(elem(DType::Idx), {}, iv);
      t.sym = at;
      v = {t};
    }
    inner->names[f.var.name] = Binding{v, false, f.var.span, f.var.name, false};
  };
  if (assigned.count("break")) {
    ScopePtr outer = child(s);
    outer->names["break"] = Binding{Val{constant(elem(DType::Bool), {}, 0)}, true, span, "break", false};
    TileVal start = make(elem(DType::Idx), {}, r.lo);
    outer->names["#iv"] = Binding{Val{start}, true, span, "#iv", false};
    assigned.insert("#iv");
    while_loop(
        assigned, outer,
        [&]() -> ir::Value* {
          if (!builder_) return nullptr;
          ir::Value* more = emit(OpKind::Lt, {find(*outer, "#iv")->value.as<TileVal>()->v, r.hi});
          return emit(OpKind::And, {more, emit(OpKind::Not, {find(*outer, "break")->value.as<TileVal>()->v})});
        },
        [&] {
          ScopePtr inner = child(outer);
          enter(inner, find(*outer, "#iv")->value.as<TileVal>()->v);
          exec_block(*f.body, inner);
          TileVal* iv = find(*outer, "#iv")->value.as<TileVal>();
          iv->v = idx_binary(OpKind::Add, iv->v, step);
        });
  } else {
    loop(assigned, s, r.lo, r.hi, step, [&](ir::Value* iv) {
      ScopePtr inner = child(s);
      enter(inner, iv);
      exec_block(*f.body, inner);
    });
  }
  if (f.label) labels_.pop_back();
}

}  // namespace tessera
