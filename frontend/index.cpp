// Indexing: views are sliced, tiles are loaded and stored.
#include <fmt/format.h>

#include "frontend/elaborate.h"

namespace tessera {

using ir::OpKind;

namespace {

const ast::Postfix* as_indexing(const ast::Expr& e) {
  auto* p = std::get_if<ast::Postfix>(&e.node);
  return p && !p->suffixes.empty() && std::get_if<ast::Index>(&p->suffixes.back().kind) ? p : nullptr;
}

bool is_tile_index(const Val& v) {
  if (auto* r = v.as<RangeVal>()) return r->size.has_value();
  auto* t = v.as<TileVal>();
  return t && !t->dims.empty();
}

}  // namespace

/// Known at launch or later only: it mentions a symbol that no compile-time parameter or `for const` bound.
bool Elaborator::run_time(const Sym& s) const {
  for (const std::string& n : s.symbols())
    if (launch_symbols_.count(n) || (n.find('#') != std::string::npos && !constant_symbols_.count(n))) return true;
  return false;
}

/// Proved to lie among the whole tiles: a constant, or a grid index or loop variable plus a constant.
bool Elaborator::is_tile_number(const TileVal& i, const TilesVal& tiles) const {
  if (!i.sym || !tiles.of.lo_sym || !tiles.of.hi_sym) return false;
  Sym number = facts_.normalise(*i.sym), least = number, beyond = number + 1;
  for (const std::string& n : number.symbols()) {
    auto it = bounds_.find(n);
    if (it == bounds_.end()) continue;
    if (number.coefficient(n) != 1) return false;
    least = least - Sym::symbol(n) + it->second.first;
    beyond = beyond - Sym::symbol(n) + it->second.second - 1;
  }
  auto room = facts_.normalise(floor_div(*tiles.of.hi_sym - *tiles.of.lo_sym, tiles.size) - beyond).as_constant(),
       first = facts_.normalise(least).as_constant();
  return first && *first >= 0 && room && *room >= 0;
}

/// Where the axis of a view and that of a range were bound, or failing that, declared.
std::vector<Label> Elaborator::axis_labels(const ViewVal& v, const Sym& axis, const RangeVal& r) {
  std::vector<Label> out;
  auto bound = [&](const Sym& s) -> const Span* {
    auto name = s.as_symbol();
    auto it = name ? symbol_bound_.find(*name) : symbol_bound_.end();
    return it == symbol_bound_.end() ? nullptr : &it->second;
  };
  if (const Span* s = bound(axis))
    out.push_back({*s, fmt::format("`{}` bound here", display(axis))});
  else if (v.bound.known())
    out.push_back({v.bound, fmt::format("`{}` declared here", v.root)});
  if (!r.axis) return out;
  if (const Span* s = bound(*r.axis))
    out.push_back({*s, fmt::format("`{}` bound here", display(*r.axis))});
  else if (r.bound.known())
    out.push_back({r.bound, "the range is bound here"});
  return out;
}

void Elaborator::require_present(const ViewVal& v, Span span) {
  if (v.absent || (v.optional && !present_.count(v.root)))
    fail(Code::E0515, span, fmt::format("`{}` is optional and may be absent here", v.root),
         fmt::format("use it inside `if has({}) {{ .. }}`", v.root), {{v.bound, fmt::format("`{}` declared here", v.root)}});
}

std::vector<Val> Elaborator::index_items(const ViewVal& v, const ast::Index& ix, std::vector<Span>& spans, Span span, const ScopePtr& s) {
  if (ix.items.size() != v.dims.size())
    fail(Code::E0204, span, fmt::format("`{}` has {} axes, but {} indices are given", v.root, v.dims.size(), ix.items.size()), "",
         {{v.bound, fmt::format("`{}` declared here", v.root)}});
  std::vector<Val> items;
  for (std::size_t i = 0; i < ix.items.size(); ++i) {
    spans.push_back(ix.items[i]->span);
    if (std::get_if<ast::All>(&ix.items[i]->node)) {
      items.push_back({whole_axis(v, static_cast<int>(i))});
    } else {
      Val item = eval(*ix.items[i], s);
      if (item.as<ViewVal>()) item = decay(item, spans.back());
      if (item.poison()) throw Failed{};
      items.push_back(std::move(item));
    }
  }
  return items;
}

Val Elaborator::index(Val base, const ast::Index& ix, Span span, Span suffix, const ScopePtr& s) {
  if (auto* t = base.as<TypeVal>()) {
    if (auto* st = std::get_if<StructTy>(&t->type.kind); st && st->decl) {
      std::vector<Val> args;
      for (const auto& e : ix.items) args.push_back(eval(*e, s));
      return {TypeVal{Ty{struct_type(*st->decl, args, span)}}};
    }
    auto* tile = std::get_if<TileTy>(&t->type.kind);
    if (!tile || !tile->dims.empty()) fail(Code::E0302, span, "this type takes no dims");
    std::vector<Sym> dims;
    for (const auto& e : ix.items) {
      if (std::get_if<ast::All>(&e->node)) fail(Code::E0315, e->span, "a tile type needs every dim");
      dims.push_back(resolve_dim(*e, s, false));
    }
    positive_dims(dims, suffix);
    return {TypeVal{Ty{TileTy{tile->elem, dims}}}};
  }
  if (auto* tiles = base.as<TilesVal>()) {
    if (ix.items.size() != 1) fail(Code::E0204, suffix, "tiles are indexed by one number");
    TileVal i = as_idx(eval(*ix.items[0], s), ix.items[0]->span);
    ir::Value* offset = idx_binary(OpKind::Mul, i.v, emit_sym(tiles->size));
    std::optional<Sym> start;
    if (i.sym && tiles->of.lo_sym) start = *tiles->of.lo_sym + *i.sym * tiles->size;
    return {tile_range(tiles->of, tiles->size, idx_binary(OpKind::Add, tiles->of.lo, offset), start, i.v, is_tile_number(i, *tiles))};
  }
  if (auto* v = base.as<ViewVal>()) {
    if (v->peers) {
      if (ix.items.size() != 1) fail(Code::E0204, suffix, fmt::format("`{}` is a peer view: index it by rank first", v->root));
      TileVal r = as_idx(eval(*ix.items[0], s), ix.items[0]->span);
      ViewVal out = *v;
      out.peers.reset();
      out.v = emit(OpKind::ViewPeer, {v->v, r.v});
      return {out};
    }
    require_present(*v, span);
    std::vector<Span> spans;
    std::vector<Val> items = index_items(*v, ix, spans, suffix, s);
    at(span);
    return index_view(*v, std::move(items), spans, span);
  }
  if (base.poison()) throw Failed{};
  if (base.as<TileVal>()) {
    const TileVal& t = *base.as<TileVal>();
    if (ix.items.size() != t.dims.size())
      fail(Code::E0204, suffix, fmt::format("{} has {} axes, but {} indices are given", describe(base), t.dims.size(), ix.items.size()));
    std::vector<Val> items;
    std::vector<bool> all;
    for (const auto& e : ix.items) {
      all.push_back(std::get_if<ast::All>(&e->node) != nullptr);
      items.push_back(all.back() ? Val{} : eval(*e, s));
    }
    return index_tile(t, items, all, span);
  }
  fail(Code::E0302, span, fmt::format("{} cannot be indexed", describe(base)));
}

/// `t[i, :]`: one element along an axis, which is dropped.
Val Elaborator::index_tile(const TileVal& t, const std::vector<Val>& items, const std::vector<bool>& all, Span span) {
  TileVal out = t;
  std::vector<Sym> kept;
  for (std::size_t a = 0; a < items.size(); ++a) {
    if (all[a]) {
      kept.push_back(t.dims[a]);
      continue;
    }
    TileVal i = as_idx(items[a], span);
    if (!i.dims.empty()) fail(Code::E0302, span, "a tile in registers is indexed by scalars and `:`; gather from a view instead");
    out.v = emit(OpKind::Pick, {out.v, i.v}, {{ir::Attr::Axis, static_cast<std::int64_t>(a)}});
    out.dims[a] = Sym(1);
    std::vector<Mask> valid;
    for (const Mask& m : out.valid)
      if (m.range_id ? m.axis != static_cast<int>(a) : m.dims[a] == Sym(1)) valid.push_back(m);
    out.valid = valid;
  }
  return {reshape(out, kept, span)};
}

ViewVal Elaborator::span_view(const ViewVal& v, int axis, const RangeVal& r, Span span) {
  ViewVal out = v;
  auto a = static_cast<std::size_t>(axis);
  if (r.axis && !same_axis(*r.axis, v.dims[a]))
    fail(Code::E0203, span, fmt::format("the range runs over axis `{}`, but `{}` has axis `{}` here", display(*r.axis), v.root, display(v.dims[a])),
         fmt::format("index with a range over `{}`, or declare both views with one symbol", display(v.dims[a])), axis_labels(v, v.dims[a], r));
  if (r.lo_sym && r.hi_sym && *r.lo_sym == Sym(0) && facts_.proves_equal(*r.hi_sym, v.dims[a])) return out;
  out.dims[a] = range_extent(r);
  out.v = emit(OpKind::ViewSpan, {v.v, r.lo, r.hi}, {{ir::Attr::Axis, static_cast<std::int64_t>(axis)}});
  return out;
}

Val Elaborator::index_view(ViewVal v, std::vector<Val> items, const std::vector<Span>& spans, Span span) {
  bool tiles = false, scalars_only = true;
  for (const Val& i : items) {
    tiles |= is_tile_index(i);
    scalars_only &= !i.as<RangeVal>() && !is_tile_index(i);
  }
  if (tiles || scalars_only) return load(target(std::move(v), std::move(items), spans, span));
  // From the last axis to the first, so that dropping one does not renumber those still to come.
  for (std::size_t i = items.size(); i-- > 0;) {
    if (auto* r = items[i].as<RangeVal>()) {
      v = span_view(v, static_cast<int>(i), *r, spans[i]);
    } else {
      TileVal x = as_idx(items[i], spans[i]);
      v.v = emit(OpKind::ViewIndex, {v.v, x.v}, {{ir::Attr::Axis, static_cast<std::int64_t>(i)}});
      v.dims.erase(v.dims.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  return {v};
}

Elaborator::Target Elaborator::target(ViewVal v, std::vector<Val> items, const std::vector<Span>& spans, Span span) {
  Target t;
  t.span = span;
  int gathers = 0, ranges = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (auto* r = items[i].as<RangeVal>()) {
      ++ranges;
      if (r->axis && !same_axis(*r->axis, v.dims[i]))
        fail(Code::E0203, spans[i],
             fmt::format("the range runs over axis `{}`, but `{}` has axis `{}` here", display(*r->axis), v.root, display(v.dims[i])),
             fmt::format("index with a range over `{}`, or declare both views with one symbol", display(v.dims[i])), axis_labels(v, v.dims[i], *r));
      if (!r->size) {
        Sym extent = range_extent(*r);
        if (run_time(facts_.normalise(extent)))
          fail(Code::E0210, spans[i],
               fmt::format("axis `{}` of `{}` is known only at run time and cannot be read as one tile", display(extent), v.root),
               fmt::format("read it in tiles: `for i in tiles({}, 64)`", display(extent)));
        positive_dims({facts_.normalise(extent)}, spans[i]);
        RangeVal whole = *r;
        if (!whole.axis) whole.axis = v.dims[i];
        items[i] = {tile_range(whole, facts_.normalise(extent), whole.lo, whole.lo_sym, emit_idx(0))};
      }
    } else {
      TileVal x = as_idx(items[i], spans[i]);
      if (!x.dims.empty()) ++gathers;
      items[i] = {x};
    }
  }
  t.gather = gathers > 0;
  if (gathers > 0 && ranges > 0 && gathers != 1)
    fail(Code::E0302, span, "a gather takes tile indices on every axis, or one rank-1 tile among ranges");
  TileVal shape;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (auto* r = items[i].as<RangeVal>()) {
      if (!r->full) {
        Mask m;
        m.range_id = r->id;
        m.axis = static_cast<int>(t.dims.size());
        m.range = r->range;
        t.valid.push_back(m);
      }
      t.dims.push_back(*r->size);
      t.operands.push_back(r->range);
    } else {
      TileVal x = *items[i].as<TileVal>();
      if (!x.dims.empty() && ranges > 0) {
        if (x.dims.size() != 1) fail(Code::E0302, spans[i], fmt::format("a row gather takes a rank-1 index, not {}", describe(items[i])));
        for (Mask m : x.valid) {
          if (m.range_id) m.axis = static_cast<int>(t.dims.size()), t.valid.push_back(m);
        }
        t.dims.push_back(x.dims[0]);
      } else if (!x.dims.empty()) {
        t.dims = broadcast_dims(shape, x, span);
        shape.dims = t.dims;
        t.valid = this->join(t.valid, x.valid);
      }
      t.operands.push_back(x.v);
    }
  }
  positive_dims(t.dims, span);
  t.indices = std::move(items);
  t.view = std::move(v);
  return t;
}

Val Elaborator::load(const Target& t) {
  using ir::Mode;
  if (t.view.mode == Mode::Out || t.view.mode == Mode::Scatter || t.view.mode == Mode::Add)
    fail(Code::E0504, t.span, fmt::format("`{}` is declared `{}` and cannot be read", t.view.root, ir::name(t.view.mode)),
         t.view.mode == Mode::Add ? "" : "declare it `inout`", {{t.view.bound, "declared here"}});
  std::vector<ir::Value*> operands{t.view.v};
  operands.insert(operands.end(), t.operands.begin(), t.operands.end());
  at(t.span);
  return {make(t.view.elem, t.dims, emit(OpKind::Load, operands), t.valid)};
}

/// Drops axes of one element so that `rank` are left, from the last on.
TileVal Elaborator::drop_units(const TileVal& t, std::size_t rank) {
  std::vector<Sym> dims;
  std::size_t excess = t.dims.size() - rank;
  for (std::size_t i = t.dims.size(); i-- > 0;) {
    if (excess > 0 && t.dims[i] == Sym(1))
      --excess;
    else
      dims.insert(dims.begin(), t.dims[i]);
  }
  return excess ? t : reshape(t, dims, {});
}

/// The masks of a stored value that are not those of the place anyway.
std::vector<Mask> Elaborator::masks_of_value(const Target& t, const TileVal& x) {
  std::vector<Mask> extra;
  for (const Mask& m : x.valid) {
    bool by_index = false;
    for (const Mask& k : t.valid) by_index |= m.range_id && m.range_id == k.range_id && m.axis == k.axis;
    if (!by_index) extra.push_back(m);
  }
  return extra;
}

void Elaborator::store(const Target& t, Val given, Span span, bool add) {
  using ir::Mode;
  const ViewVal& v = t.view;
  stored_.insert(v.root);
  if (v.mode == Mode::In)
    fail(Code::E0505, t.span, fmt::format("`{}` is read-only", v.root), "declare it `out`, `inout`, `scatter` or `add`",
         {{v.bound, "declared here"}});
  if (v.mode == Mode::Add && !add)
    fail(Code::E0506, t.span, fmt::format("`{}` is an `add` view", v.root), "accumulate with `+=`", {{v.bound, "declared here"}});
  if (add && v.mode != Mode::Add) {
    Val old = load(t);
    given = binary(ast::BinaryOp::Add, old, given, span, t.span, span);
  }
  TileVal x = coerce_elem(decay(given, span), v.elem, span);
  if (x.dims.size() > t.dims.size()) x = drop_units(x, t.dims.size());
  if (x.dims.size() > t.dims.size() || (x.dims.size() < t.dims.size() && !x.dims.empty()))
    fail(Code::E0202, span, fmt::format("{} does not fit the place {}", describe(given), describe_dims(t.dims)));
  x = broadcast_to(x, t.dims, span);
  std::vector<ir::Value*> operands{v.v, x.v};
  std::vector<Mask> extra = masks_of_value(t, x);
  if (t.gather) extra = this->join(extra, t.valid);
  operands.insert(operands.end(), t.operands.begin(), t.operands.end());
  ir::Attrs attrs;
  if (add && v.mode == Mode::Add) attrs[ir::Attr::Add] = std::int64_t{1};
  if (!extra.empty() && builder_) {
    attrs[ir::Attr::Masked] = std::int64_t{1};
    operands.push_back(mask_value(extra, t.dims.size(), t.dims));
  }
  at(span);
  emit(OpKind::Store, operands, attrs);
}

Val Elaborator::fetch_add(const Target& t, Val given, Span span) {
  bool unused = std::exchange(unused_, false);
  if (t.view.mode == ir::Mode::In)
    fail(Code::E0505, t.span, fmt::format("`{}` is read-only", t.view.root), "declare it `add`", {{t.view.bound, "declared here"}});
  if (deterministic_ && (!unused || is_float(t.view.elem)))
    fail(Code::E0517, span,
         is_float(t.view.elem) ? fmt::format("`{}` adds floats in any order", t.view.root)
                               : "`fetch_add` returns what the order of the instances decides",
         is_float(t.view.elem) ? "drop `deterministic`, or accumulate into integers" : "drop `deterministic`, or leave the value unused");
  if (t.view.mode != ir::Mode::Add && t.view.mode != ir::Mode::InOut)
    fail(Code::E0506, t.span, fmt::format("`{}` cannot be added to", t.view.root), "declare it `add`", {{t.view.bound, "declared here"}});
  stored_.insert(t.view.root);
  TileVal x = broadcast_to(coerce_elem(decay(given, span), t.view.elem, span), t.dims, span);
  // What is not valid adds nothing.
  TileVal masked = x;
  masked.valid = masks_of_value(t, x);
  if (!masked.valid.empty()) masked = guard(masked, 0);
  std::vector<ir::Value*> operands{t.view.v, masked.v};
  for (std::size_t i = 0; i < t.operands.size(); ++i) {
    const TileVal* ix = t.indices[i].as<TileVal>();
    // An index that is padding must not count: -1 is outside every axis.
    operands.push_back(ix && !ix->valid.empty() ? guard(*ix, -1).v : t.operands[i]);
  }
  return {make(t.view.elem, t.dims, emit(OpKind::FetchAdd, operands), this->join(t.valid, x.valid))};
}

/// The place an assignment writes to, if the expression is an indexed view.
std::optional<Elaborator::Target> Elaborator::eval_target(const ast::Expr& e, const ScopePtr& s) {
  const ast::Postfix* p = as_indexing(e);
  if (!p) return std::nullopt;
  Val base;
  if (p->suffixes.size() == 1) {
    base = eval(*p->base, s);
  } else {
    base = eval_prefix(*p, p->suffixes.size() - 1, s);
  }
  auto* v = base.as<ViewVal>();
  if (!v) {
    if (base.poison()) throw Failed{};
    fail(Code::E0405, e.span, fmt::format("only elements of views are assigned by index, not those of {}", describe(base)));
  }
  require_present(*v, e.span);
  std::vector<Span> spans;
  std::vector<Val> items = index_items(*v, std::get<ast::Index>(p->suffixes.back().kind), spans, p->suffixes.back().span, s);
  return target(*v, std::move(items), spans, e.span);
}

}  // namespace tessera
