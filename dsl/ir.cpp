#include "dsl/ir.h"

#include <algorithm>
#include <array>
#include <set>

#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

constexpr OpInfo kOps[] = {
#define TESSERA_OP(id, text, min, max, results, regions, rule, traits, doc) {text, min, max, results, regions, TypeRule::rule, traits, doc},
#include "dsl/ops.def"
};

constexpr std::array kAttrs = {"value",     "name",    "size",       "full", "saturate", "rounding", "perm",   "axis", "offset",  "prec", "kind",
                               "exclusive", "reverse", "descending", "k",    "zero",     "add",      "masked", "last", "message", "scope"};
static_assert(kAttrs.size() == static_cast<std::size_t>(Attr::Scope) + 1);

/// The constant behind shape-only ops, or null.
const Op* constant_op(const Value* v) {
  while (v->def && (v->def->kind == OpKind::Broadcast || v->def->kind == OpKind::Reshape)) v = v->def->operands.at(0);
  return v->def && v->def->kind == OpKind::Const ? v->def : nullptr;
}

void count_uses_in(const Block& block, std::map<const Value*, int>& uses) {
  walk(block, [&](const Op& op) {
    for (const Value* v : op.operands) ++uses[v];
  });
}

void drop_uses(const Op& op, std::map<const Value*, int>& uses) {
  for (const Value* v : op.operands) --uses[v];
  for (const auto& region : op.regions)
    for (const auto& inner : region->ops) drop_uses(*inner, uses);
}

/// No effect beyond its results. A `while` may not end, so it stays.
bool removable(const Op& op) {
  if (op.kind == OpKind::Load || has(op.kind, Trait::Pure) || op.kind == OpKind::Yield) {
    for (const auto& region : op.regions)
      if (!std::all_of(region->ops.begin(), region->ops.end(), [](const auto& inner) { return removable(*inner); })) return false;
    return true;
  }
  if (op.kind != OpKind::For && op.kind != OpKind::If) return false;
  return std::all_of(op.regions.begin(), op.regions.end(), [](const auto& region) {
    return std::all_of(region->ops.begin(), region->ops.end(), [](const auto& inner) { return removable(*inner); });
  });
}

void remove_dead_in(Block& block, std::map<const Value*, int>& uses) {
  for (std::size_t i = block.ops.size(); i-- > 0;) {
    Op& op = *block.ops[i];
    bool unused = std::all_of(op.results.begin(), op.results.end(), [&](const auto& r) { return uses[r.get()] == 0; });
    if (unused && op.kind != OpKind::Yield && removable(op)) {
      drop_uses(op, uses);
      block.ops[i] = nullptr;
      continue;
    }
    for (const auto& region : op.regions) remove_dead_in(*region, uses);
  }
  std::erase_if(block.ops, [](const auto& op) { return op == nullptr; });
}

std::unique_ptr<Value> copy_value(const Value& v, ValueMap& map) {
  auto copy = std::make_unique<Value>();
  copy->type = v.type;
  copy->hint = v.hint;
  copy->index = v.index;
  map[&v] = copy.get();
  return copy;
}

void clone_args(const Block& from, Block& to, ValueMap& map) {
  for (const auto& arg : from.args) {
    to.args.push_back(copy_value(*arg, map));
    to.args.back()->block = &to;
  }
}

Value* mapped(Value* v, const ValueMap& map) {
  for (auto it = map.find(v); it != map.end() && it->second != v; it = map.find(v)) v = it->second;
  return v;
}

}  // namespace

const OpInfo& info(OpKind k) { return kOps[static_cast<std::size_t>(k)]; }

std::optional<OpKind> op_from_name(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kOps); ++i)
    if (name == kOps[i].name) return static_cast<OpKind>(i);
  return std::nullopt;
}

std::vector<OpKind> all_ops() {
  std::vector<OpKind> all;
  for (std::size_t i = 0; i < std::size(kOps); ++i) all.push_back(static_cast<OpKind>(i));
  return all;
}

const char* name(Attr a) { return kAttrs[static_cast<std::size_t>(a)]; }

std::optional<Attr> attr_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kAttrs.size(); ++i)
    if (name == kAttrs[i]) return static_cast<Attr>(i);
  return std::nullopt;
}

const char* name(ReduceKind k) {
  switch (k) {
    case ReduceKind::Sum: return "sum";
    case ReduceKind::Prod: return "prod";
    case ReduceKind::Max: return "max";
    case ReduceKind::Min: return "min";
    case ReduceKind::Any: return "any";
    case ReduceKind::All: return "all";
    case ReduceKind::ArgMax: return "argmax";
    case ReduceKind::ArgMin: return "argmin";
  }
  TESSERA_UNREACHABLE("ReduceKind");
}

std::int64_t Op::int_attr(Attr a, std::int64_t otherwise) const {
  auto it = attrs.find(a);
  if (it == attrs.end()) return otherwise;
  const auto* v = std::get_if<std::int64_t>(&it->second);
  TESSERA_ASSERT(v, std::string("attribute is not an integer: ") + name(a));
  return *v;
}

double Op::float_attr(Attr a) const {
  auto it = attrs.find(a);
  TESSERA_ASSERT(it != attrs.end(), std::string("attribute missing: ") + name(a));
  if (const auto* d = std::get_if<double>(&it->second)) return *d;
  const auto* i = std::get_if<std::int64_t>(&it->second);
  TESSERA_ASSERT(i, std::string("attribute is not a number: ") + name(a));
  return static_cast<double>(*i);
}

const std::string& Op::string_attr(Attr a) const {
  static const std::string none;
  auto it = attrs.find(a);
  if (it == attrs.end()) return none;
  const auto* s = std::get_if<std::string>(&it->second);
  TESSERA_ASSERT(s, std::string("attribute is not a string: ") + name(a));
  return *s;
}

const Dims& Op::dims_attr(Attr a) const {
  auto it = attrs.find(a);
  const auto* d = it == attrs.end() ? nullptr : std::get_if<Dims>(&it->second);
  TESSERA_ASSERT(d, std::string("attribute is not a list: ") + name(a));
  return *d;
}

Value* Block::add_arg(Type type, std::string hint) {
  auto v = std::make_unique<Value>();
  v->type = std::move(type);
  v->hint = std::move(hint);
  v->block = this;
  v->index = args.size();
  args.push_back(std::move(v));
  return args.back().get();
}

void walk(Block& block, const std::function<void(Op&)>& f) {
  for (const auto& op : block.ops) {
    f(*op);
    for (const auto& region : op->regions) walk(*region, f);
  }
}

void walk(const Block& block, const std::function<void(const Op&)>& f) {
  for (const auto& op : block.ops) {
    f(*op);
    for (const auto& region : op->regions) walk(static_cast<const Block&>(*region), f);
  }
}

std::map<const Value*, int> count_uses(const Block& block) {
  std::map<const Value*, int> uses;
  count_uses_in(block, uses);
  return uses;
}

void replace_uses(Block& block, const ValueMap& map) {
  walk(block, [&](Op& op) {
    for (Value*& v : op.operands) v = mapped(v, map);
  });
}

std::unique_ptr<Op> clone(const Op& op, ValueMap& map) {
  auto copy = std::make_unique<Op>();
  copy->kind = op.kind;
  copy->attrs = op.attrs;
  copy->span = op.span;
  for (Value* v : op.operands) {
    auto it = map.find(v);
    copy->operands.push_back(it == map.end() ? v : it->second);
  }
  for (const auto& region : op.regions) {
    auto block = std::make_unique<Block>();
    block->parent = copy.get();
    clone_args(*region, *block, map);
    clone_ops(*region, *block, map, true);
    copy->regions.push_back(std::move(block));
  }
  for (const auto& r : op.results) {
    copy->results.push_back(copy_value(*r, map));
    copy->results.back()->def = copy.get();
  }
  return copy;
}

void clone_ops(const Block& from, Block& to, ValueMap& map, bool with_terminator) {
  for (const auto& op : from.ops) {
    if (!with_terminator && has(op->kind, Trait::Terminator)) continue;
    to.ops.push_back(clone(*op, map));
    to.ops.back()->parent = &to;
  }
}

void remove_dead(Block& block) {
  auto uses = count_uses(block);
  remove_dead_in(block, uses);
}

std::optional<double> constant_float(const Value* v) {
  const Op* op = constant_op(v);
  if (!op || !is_float(tile(op->result()->type).dtype)) return std::nullopt;
  return op->float_attr(Attr::Value);
}

std::optional<std::int64_t> constant_int(const Value* v) {
  const Op* op = constant_op(v);
  if (!op || is_float(tile(op->result()->type).dtype)) return std::nullopt;
  return op->int_attr(Attr::Value);
}

std::unique_ptr<Kernel> Kernel::clone() const {
  auto k = std::make_unique<Kernel>();
  k->name = name;
  k->params = params;
  k->symbols = symbols;
  k->where = where;
  k->grid = grid;
  k->strict = strict;
  k->deterministic = deterministic;
  k->resident = resident;
  k->constants = constants;
  k->in_place = in_place;
  k->span = span;
  ValueMap map;
  clone_args(body, k->body, map);
  clone_ops(body, k->body, map, true);
  return k;
}

}  // namespace tessera::ir
