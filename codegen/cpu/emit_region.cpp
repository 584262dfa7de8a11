// Regions and nests: loops around the points where sinks take their values.
#include "codegen/cpu/emit.h"
#include "codegen/cpu/emit_nest.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using LV = llvm::Value;

const Buffer& KernelEmitter::ensure_buffer(const ir::Value* v) {
  if (ev_->has_buffer(v)) return ev_->buffer(v);
  const Layout* layout = plan_.layout(v);
  Buffer b;
  b.dtype = dtype(v);
  b.dims = dims(v);
  b.layout = layout ? *layout : row_major_layout(b.dims);
  b.offset = arena_.take(b.bytes());
  ev_->bind_buffer(v, b);
  return ev_->buffer(v);
}

void KernelEmitter::require_inputs(const Sink& s) {
  for (const ir::Value* o : s.op->operands) ev_->require(o);
  if (s.value) ev_->require(s.value);
}

void KernelEmitter::emit_region(const Region& region) {
  for (const Nest& n : region.nests) {
    for (const Sink* s : n.sinks) {
      require_inputs(*s);
      if (s->target && !is_unit(s->target)) ensure_buffer(s->target);
      if (s->kind == SinkKind::Operand) ensure_operand(*s);
      if (s->staged) {
        Buffer b = ev_->buffer(s->target);
        b.offset = arena_.take(b.bytes());
        staged_[s->target] = b;
      }
    }
  }
  for (const Nest& n : region.nests) emit_nest(n, region);
}

void KernelEmitter::emit_nest(const Nest& nest, const Region& region) {
  const Sink& first = *nest.sinks.front();
  switch (first.kind) {
    case SinkKind::Unit:
      ev_->bind_unit(first.value, ev_->define(first.value, Coords(dims(first.value).size(), lanes(e_.idx(0)))));
      return;
    case SinkKind::Fold: return emit_fold(first);
    case SinkKind::Whole: return emit_whole(first);
    default: break;
  }
  NestEmitter(*this, nest, region).emit();
}

void KernelEmitter::copy_staged(const Segment& segment) {
  for (const Region& r : segment.regions)
    for (const Nest& n : r.nests)
      for (const Sink* s : n.sinks) {
        if (!s->staged) continue;
        const Buffer& to = ev_->buffer(s->target);
        e_.b.CreateMemCpy(ev_->address(to), llvm::Align(64), ev_->address(staged_.at(s->target)), llvm::Align(64), static_cast<std::uint64_t>(to.bytes()));
      }
}

}  // namespace tessera::cpu
