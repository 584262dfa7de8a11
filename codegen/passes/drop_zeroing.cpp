#include "codegen/passes/drop_zeroing.h"

#include "codegen/passes/pad_model.h"
#include "codegen/passes/rewrite.h"

namespace tessera::ir {

void drop_zeroing(Kernel& kernel) {
  const Uses uses = collect_uses(kernel.body);
  const ValueClasses classes(kernel.body);
  const Guards none;
  PadModel model(classes, uses, none);
  walk(kernel.body, [&](Op& op) {
    if (op.kind != OpKind::Load || op.int_attr(Attr::Zero) == 0) return;
    const auto ranges = axis_ranges(op);
    for (std::size_t axis = 0; axis < ranges.size(); ++axis) {
      const Value* r = ranges[axis];
      if (!r || (r->def && r->def->int_attr(Attr::Full) != 0)) continue;
      if (tile(op.result()->type).dims[axis] == 1 || model.observed(op.result(), {r, static_cast<int>(axis)})) return;
    }
    op.attrs.erase(Attr::Zero);
  });
}

}  // namespace tessera::ir
