// Where operands of products lie, and which axis of results warpgroups divide, as far as a schedule says so.
#include <fmt/format.h>

#include <algorithm>

#include "codegen/gpu/plan.h"
#include "codegen/passes/named.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

/// Calls f(value) for an operand and what it is converted, transposed or padded from, until f says so.
template <class F>
void each_form(const Value* operand, F f) {
  for (const Value* v = operand; !f(*v) && v->def;) {
    const Op& op = *v->def;
    const bool pads = op.kind == OpKind::Select && op.operands[2]->def && op.operands[2]->def->kind == OpKind::Const;
    if (!pads && op.kind != OpKind::Cast && op.kind != OpKind::Permute) return;
    v = op.operands[pads ? 1 : 0];
  }
}

}  // namespace

std::optional<bool> Plan::wants_registers(const Value* operand) const {
  std::optional<bool> wanted;
  each_form(operand, [&](const Value& v) {
    const auto at = wishes_.homes.find(v.hint);
    if (at != wishes_.homes.end()) wanted = at->second.registers;
    return wanted.has_value();
  });
  return wanted;
}

std::int64_t Plan::wanted_in_registers() const {
  std::set<const Value*> wanted;
  for (const Op* op : dot_ops_) {
    const Value* v = op->operands[0];
    if (wants_registers(v) == true && v->def && v->def->kind == OpKind::Load) wanted.insert(v);
  }
  std::int64_t bytes = 0;
  for (const Value* v : wanted) bytes += elements(v) * cell_bytes(dtype(v));
  return bytes;
}

void Plan::check_homes() const {
  for (const auto& [name, w] : wishes_.homes) {
    const auto no = [&, name = name, w = w](const std::string& why) {
      refuse(w.span, fmt::format("home {}: {}", name, w.registers ? "regs" : "smem"), why);
    };
    bool multiplied = false;
    for (const Op* op : dot_ops_) {
      const DotPlan& d = dots_.at(op);
      for (const std::size_t side : {0U, 1U}) {
        bool flipped = false;
        const Value* operand = op->operands[side];
        through_transposes(operand, flipped);
        bool mentioned = false;
        each_form(operand, [&, name = name](const Value& v) { return mentioned = v.hint == name; });
        if (!mentioned) continue;
        multiplied = true;
        if (!w.registers || (side == 0 && d.a.stage < 0)) continue;
        if (side == 1) no(fmt::format("`{}` is the second operand of a product, which comes from shared memory", name));
        if (!d.mma) no("this product is made of multiply-adds, whose operands come from shared memory");
        if (flipped) no(fmt::format("`{}` is transposed on its way to the product, which shared memory does", name));
        if (d.per_register != 2)
          no(fmt::format("operands of {} come from shared memory, unless they are computed as products take them", tessera::name(dtype(operand))));
        no(fmt::format("the rows of `{}` lie with other threads than those of the product", name));
      }
    }
    const std::vector<const Value*> values = ir::named(kernel_, name);
    if (!multiplied && !w.registers && !values.empty()) no(fmt::format("`{}` is no operand of a product: it lies in registers", name));
  }
}

const DivideWish* Plan::division(const Op& dot) const {
  // What has no name of its own goes by that of what is made of it, element by element: a scaled product, or a sum.
  std::vector<const Value*> work = {dot.result()};
  while (!work.empty()) {
    const Value* v = work.back();
    work.pop_back();
    if (const auto at = wishes_.divides.find(v->hint); at != wishes_.divides.end()) return &at->second;
    if (!v->hint.empty()) continue;
    for (const Op* use : uses_.of(v)) {
      if (ir::has(use->kind, ir::Elementwise) && dims(use->result()) == dims(dot.result())) work.push_back(use->result());
    }
  }
  return nullptr;
}

void Plan::check_divisions() const {
  // Without warpgroups that compute, as of small tiles, nobody divides anything.
  if (!warpgroups_) return;
  for (const auto& [name, w] : wishes_.divides) {
    const auto no = [&, name = name, w = w](const std::string& why) { refuse(w.span, fmt::format("divide {} {}: group", name, w.axis), why); };
    bool found = false;
    for (const Op* op : dot_ops_) {
      if (division(*op) != &w) continue;
      found = true;
      const DotPlan& d = dots_.at(op);
      if (!d.warpgroup) no(fmt::format("`{}` is not computed by warpgroups", name));
      if ((w.axis == 0 ? d.warps_m : 4 * d.warps_n) == warps_) continue;
      if (w.axis == 1 && rows_only_) no("rows of a product are reduced, or multiplied again: each stays with one warpgroup");
      no(w.axis == 1 ? "its columns are too few, or not whole panels of 64 for each warpgroup"
                     : fmt::format("{} warpgroups cannot share its {} rows evenly, by 64", warps_ / 4, dims(op->result())[0]));
    }
    if (!found && !ir::named(kernel_, name).empty()) no(fmt::format("`{}` is no result of a product", name));
  }
}

}  // namespace tessera::gpu
