// Which loads and stores a schedule's `cache` directives are about.
#include <fmt/format.h>

#include "codegen/gpu/plan.h"
#include "codegen/passes/named.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

/// The load that makes `v`: itself, or what is converted or moved on the way to it. Null: none.
const Op* load_of(const Value* v) {
  while (v->def) {
    switch (v->def->kind) {
      case OpKind::Load: return v->def;
      case OpKind::Cast:
      case OpKind::Bitcast:
      case OpKind::Broadcast:
      case OpKind::Reshape:
      case OpKind::Permute: v = v->def->operands[0]; break;
      default: return nullptr;
    }
  }
  return nullptr;
}

std::string text_of(const CacheWish& w) { return fmt::format("cache {}: {}", w.name, w.eviction == Eviction::First ? "evict_first" : "evict_last"); }

}  // namespace

void Plan::read_cache_wishes() {
  for (const CacheWish& w : wishes_.cache) {
    const std::vector<const Value*> values = ir::named(kernel_, w.name);
    bool found = false;
    const auto add = [&](const Op& op) {
      evictions_[&op] = w.eviction;
      found = true;
    };
    for (const Value* v : values) {
      if (const Op* load = load_of(v)) add(*load);
      if (!ir::is_view(v->type)) continue;
      ir::walk(kernel_.body, [&](const Op& op) {
        if ((op.kind != OpKind::Load && op.kind != OpKind::Store && op.kind != OpKind::FetchAdd) || parameter_of(op.operands[0]) != v) return;
        if (op.kind == OpKind::FetchAdd || op.has(ir::Attr::Add))
          refuse(w.span, text_of(w), "what is added in memory has no place in the order of eviction");
        if (op.kind == OpKind::Store && bits(ir::view(v->type).dtype) < 8)
          refuse(w.span, text_of(w), "elements of less than a byte are stored by atomic updates, which have no place in the order of eviction");
        add(op);
      });
    }
    if (!values.empty() && !found)
      refuse(w.span, text_of(w), fmt::format("`{}` is neither loaded from memory nor a view that is read or stored", w.name));
  }
}

std::optional<Eviction> Plan::eviction(const Op& op) const {
  const auto at = evictions_.find(&op);
  return at == evictions_.end() ? std::nullopt : std::optional(at->second);
}

}  // namespace tessera::gpu
