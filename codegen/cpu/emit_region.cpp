// Regions and nests: loops around the points where sinks take their values.
#include "codegen/cpu/emit.h"
#include "codegen/cpu/emit_nest.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using LV = llvm::Value;

const Buffer& KernelEmitter::ensure_buffer(const ir::Value* v) {
  if (ev_->has_buffer(v)) return ev_->buffer(v);
  if (const ir::Value* before = plan_.continues(v)) {
    ev_->bind_buffer(v, ev_->buffer(before));
    return ev_->buffer(v);
  }
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
  // An operand that is packed in front of a loop stands where the product's other operands need not exist yet; nor need the other values that a loop
  // starts with or carries on where this one is put in its place.
  const bool alone =
      (s.kind == SinkKind::Operand && s.op->kind != ir::OpKind::DotScaled) || s.kind == SinkKind::Initial || s.kind == SinkKind::Carried;
  if (!alone)
    for (const ir::Value* o : s.op->operands) ev_->require(o);
  if (s.value) ev_->require(s.value);
}

void KernelEmitter::prepare_nest(const Nest& nest) {
  for (const Sink* s : nest.sinks) {
    require_inputs(*s);
    if (s->target && !is_unit(s->target) && !plan_.in_registers(s->target)) ensure_buffer(s->target);
    if (s->kind == SinkKind::Operand) ensure_operand(*s);
    if (s->staged) {
      Buffer b = ev_->buffer(s->target);
      b.offset = arena_.take(b.bytes());
      staged_[s->target] = b;
    }
  }
}

void KernelEmitter::emit_region(const Region& region) {
  if (region.strip > 0) {
    for (const Nest& n : region.nests) prepare_nest(n);
    return emit_strips(region);
  }
  // One after the other: what one nest makes, the next may need as a unit.
  for (const Nest& n : region.nests) {
    prepare_nest(n);
    emit_nest(n, region, nullptr, Lanes{});
  }
}

KernelEmitter::Chunk KernelEmitter::make_chunk(LV* base, int vectors, int tail) {
  Chunk c{base, vectors, tail, {}};
  for (int v = 0; v < vectors; ++v)
    c.lane.push_back(linear_lanes(e_, v == 0 ? base : e_.add(base, e_.idx(static_cast<std::int64_t>(v) * kLanes)), 1, kLanes));
  return c;
}

void KernelEmitter::emit_strips(const Region& region) {
  auto body = [&](LV* strip, int vectors, int tail) {
    ev_->push();
    LV* base = e_.mul(strip, e_.idx(region.strip));
    const Chunk c = make_chunk(base, vectors, tail);
    for (int v = 0; v < vectors; ++v)
      ev_->place_strip(c.lane[static_cast<std::size_t>(v)].v, region.strip, strip, e_.idx(static_cast<std::int64_t>(v) * kLanes));
    for (const Nest& n : region.nests) emit_nest(n, region, &c, Lanes{});
    ev_->pop();
  };
  const std::int64_t whole = region.extent / region.strip;
  const std::int64_t rest = region.extent - whole * region.strip;
  const int vectors = static_cast<int>(region.strip / kLanes);
  if (whole == 1)
    body(e_.idx(0), vectors, kLanes);
  else if (whole > 1)
    e_.loop(e_.idx(0), e_.idx(whole), e_.idx(1), true, [&](LV* strip) { body(strip, vectors, kLanes); });
  if (rest > 0) body(e_.idx(whole), static_cast<int>((rest + kLanes - 1) / kLanes), static_cast<int>(rest - (rest - 1) / kLanes * kLanes));
}

void KernelEmitter::emit_nest(const Nest& nest, const Region& region, const Chunk* strip, Lanes row) {
  const Sink& first = *nest.sinks.front();
  switch (first.kind) {
    case SinkKind::Unit: ev_->bind_unit(first.value, ev_->define(first.value, Coords(dims(first.value).size(), lanes(e_.idx(0))))); return;
    case SinkKind::Fold: return emit_fold(first);
    case SinkKind::Whole: return emit_whole(first);
    case SinkKind::Operand:
      if (nest.sinks.size() == 1 && emit_operand(first)) return;
      break;
    default: break;
  }
  NestEmitter(*this, nest, region, strip, row).emit();
}

/// The packing of last resort: element by element, as the nest of the sink alone.
void KernelEmitter::pack_by_elements(const Sink& s) {
  Region region;
  region.nests.push_back(operand_nest(const_cast<Sink&>(s), plan_.product(*s.op)));
  NestEmitter(*this, region.nests.front(), region, nullptr, Lanes{}).emit();
}

void KernelEmitter::copy_staged(const Segment& segment) {
  for (const Region& r : segment.regions)
    for (const Nest& n : r.nests)
      for (const Sink* s : n.sinks) {
        if (!s->staged) continue;
        const Buffer& to = ev_->buffer(s->target);
        e_.b.CreateMemCpy(ev_->address(to), llvm::Align(64), ev_->address(staged_.at(s->target)), llvm::Align(64),
                          static_cast<std::uint64_t>(to.bytes()));
      }
}

}  // namespace tessera::cpu
