// Tiles that bulk copies would fetch, copied element by element: for launches whose tensors have no maps.
//
// The asking warp puts what a copy needs into shared memory; the other warps of its warpgroup wait for such commands, and for nothing else, so that
// they do with few registers.
#include <algorithm>

#include "codegen/gpu/emit.h"

namespace tessera::gpu {

namespace {

constexpr std::int64_t kCopyingThreads = kGroupThreads - kWarpLanes;

/// Tiles that one piece of code copies: their numbers alone differ.
bool alike(const Plan& plan, const Stage& x, const Stage& y) {
  return x.rows == y.rows && x.cols == y.cols && x.dtype == y.dtype && x.transposed == y.transposed && x.in_register_order == y.in_register_order &&
         dims(x.source) == dims(y.source) && x.bulk->group == y.bulk->group && plan.eviction(*x.source->def) == plan.eviction(*y.source->def);
}

}  // namespace

/// A command in shared memory, by offsets.
struct ThreadEmitter::Command {
  static constexpr std::int64_t element = 0;                        ///< address of the first column of row 0, i64
  static constexpr std::int64_t row_stride = 8, inner_stride = 16;  ///< bytes, i64
  static constexpr std::int64_t start = 24;                         ///< row 0 of the tile on the rows' axis, i32
  static constexpr std::int64_t first = 28, end = 32;               ///< rows of the tile that exist, i32
  static constexpr std::int64_t place = 36;                         ///< of the stage, i32
  static constexpr std::int64_t columns = 40;                       ///< of the tile that exist, i32
  static constexpr std::int64_t kind = 44;                          ///< number of the stage that is alike, or -1: no more commands, i32
};

void ThreadEmitter::command_copy(int stage, LV* slot) {
  const std::vector<Stage>& stages = plan_.stages();
  const Stage& s = stages[static_cast<std::size_t>(stage)];
  const BulkCopy& copy = *s.bulk;
  const std::vector<ir::Value*>& operands = s.source->def->operands;
  const RangeValue *rows = nullptr, *cols = nullptr;
  for (std::size_t i = 1; i < operands.size(); ++i) {
    if (ir::is_range(operands[i]->type)) (rows ? cols : rows) = &ranges_.at(operands[i]);
  }
  const cpu::View& whole = *view(parameter_of(operands[0]));
  const std::int64_t cell = cell_bytes(s.dtype);
  LV *element = e_.add(whole.origin, cols->start), *row_stride = e_.idx(0), *inner_stride = e_.idx(0), *last = e_.idx(0), *valid = e_.b.getTrue();
  LV* start = rows->start;  // on the parameter's axes
  for (std::size_t a = 0; a < copy.axes.size(); ++a) {
    const BulkCopy::Axis& axis = copy.axes[a];
    LV* stride = whole.strides[a];
    if (axis.rows) {
      row_stride = e_.mul(stride, e_.idx(cell));
      last = e_.mul(whole.extents[a], e_.idx(copy.group));
      if (!axis.number) continue;
      LV* number = scalar(axis.number);
      element = e_.add(element, e_.mul(number, stride));
      start = e_.add(start, e_.mul(number, e_.idx(copy.group)));
    } else if (!axis.cols) {
      if (axis.inner_rows) inner_stride = e_.mul(stride, e_.idx(cell));
      if (!axis.number) continue;
      LV* number = scalar(axis.number);
      element = e_.add(element, e_.mul(number, stride));
      if (!axis.inner_rows) valid = e_.b.CreateAnd(valid, e_.b.CreateICmpULT(number, whole.extents[a]));
    }
  }
  const auto cut = [&](LV* x, std::size_t axis) { return e_.b.CreateTrunc(e_.max(e_.idx(0), e_.min(e_.idx(dims(s.source)[axis]), x)), e_.i32()); };
  LV* end = e_.b.CreateSelect(valid, cut(e_.sub(last, start), 0), i32(0));
  LV* address = e_.b.CreatePtrToInt(e_.at(cell_type(s.dtype), whole.base, element), e_.i64());
  const auto kind = std::find_if(stages.begin(), stages.end(), [&](const Stage& x) { return x.bulk && alike(plan_, x, s); }) - stages.begin();
  e_.if_then(e_.b.CreateICmpEQ(lane_, i32(0)), [&] {
    const auto put = [&](std::int64_t offset, LV* v, int align) { shared_store(v, shared_address(plan_.roles()->commands + offset), align); };
    put(Command::element, address, 8);
    put(Command::row_stride, row_stride, 8);
    put(Command::inner_stride, inner_stride, 8);
    put(Command::start, e_.b.CreateTrunc(rows->start, e_.i32()), 4);
    put(Command::first, cut(e_.sub(e_.idx(0), start), 0), 4);
    put(Command::end, end, 4);
    put(Command::place, e_.b.CreateAdd(shared_address(s.offset), e_.b.CreateMul(slot, i32(s.slot_bytes()))), 4);
    put(Command::columns, cut(e_.sub(whole.extents.back(), cols->start), 1), 4);
    put(Command::kind, i32(kind), 4);
  });
  call(e_.b, e_.module, Primitive::WarpSync, {});
  call(e_.b, e_.module, Primitive::BarSync, {i32(kCommandBarrier), i32(kGroupThreads)});
  call(e_.b, e_.module, Primitive::BarSync, {i32(kObeyedBarrier), i32(kGroupThreads)});
}

void ThreadEmitter::end_commands() {
  e_.if_then(e_.b.CreateNot(maps_encoded_), [&] {
    e_.if_then(e_.b.CreateICmpEQ(lane_, i32(0)), [&] { shared_store(i32(-1), shared_address(plan_.roles()->commands + Command::kind), 4); });
    call(e_.b, e_.module, Primitive::WarpSync, {});
    call(e_.b, e_.module, Primitive::BarSync, {i32(kCommandBarrier), i32(kGroupThreads)});
  });
}

void ThreadEmitter::obey_commands() {
  const std::vector<Stage>& stages = plan_.stages();
  LV* thread = e_.b.CreateSub(tid_, i32(plan_.threads() + kWarpLanes));
  const auto got = [&](std::int64_t offset, llvm::Type* t, int align) {
    return shared_load(t, shared_address(plan_.roles()->commands + offset), align);
  };
  const auto copy = [&](const Stage& s) {
    const std::int64_t cell = cell_bytes(s.dtype);
    LV *element = got(Command::element, e_.i64(), 8), *row_stride = got(Command::row_stride, e_.i64(), 8);
    LV* inner_stride = got(Command::inner_stride, e_.i64(), 8);
    LV *start = got(Command::start, e_.i32(), 4), *first = got(Command::first, e_.i32(), 4), *end = got(Command::end, e_.i32(), 4);
    LV *place = got(Command::place, e_.i32(), 4), *columns = got(Command::columns, e_.i32(), 4);
    const std::int64_t across = s.transposed ? s.rows : s.cols;
    e_.loop(thread, i32(s.rows * s.cols), i32(kCopyingThreads), false, [&](LV* q) {
      LV *row = e_.b.CreateUDiv(q, i32(across)), *col = e_.b.CreateURem(q, i32(across));
      LV* exists = e_.b.CreateAnd(e_.b.CreateICmpSGE(row, first), e_.b.CreateICmpSLT(row, end));
      exists = e_.b.CreateAnd(exists, e_.b.CreateICmpSLT(col, columns));
      LV* number = e_.b.CreateAdd(start, row);
      LV* outer = s.bulk->group > 1 ? e_.b.CreateUDiv(number, i32(s.bulk->group)) : number;
      LV* byte = e_.add(e_.b.CreateMul(e_.b.CreateSExt(outer, e_.i64()), row_stride), e_.b.CreateZExt(e_.b.CreateMul(col, i32(cell)), e_.i64()));
      if (s.bulk->group > 1)
        byte = e_.add(byte, e_.b.CreateMul(e_.b.CreateZExt(e_.b.CreateURem(number, i32(s.bulk->group)), e_.i64()), inner_stride));
      LV* from = e_.b.CreateIntToPtr(e_.add(element, byte), e_.b.getPtrTy(1));
      const auto read = [&] {
        const Marked marked(*this, *s.source->def);
        return Values{e_.load(cell_type(s.dtype), from, static_cast<int>(cell))};
      };
      LV* x = e_.choose(exists, read, [&] { return Values{e_.zero(cell_type(s.dtype))}; })[0];
      if (s.transposed) std::swap(row, col);
      shared_store(x, stage_place(s, place, row, e_.b.CreateMul(col, i32(cell))), static_cast<int>(cell));
    });
  };
  e_.if_then(e_.b.CreateNot(maps_encoded_), [&] {
    LV* kind = nullptr;
    repeat(
        {},
        [&](llvm::ArrayRef<LV*>) {
          call(e_.b, e_.module, Primitive::BarSync, {i32(kCommandBarrier), i32(kGroupThreads)});
          kind = got(Command::kind, e_.i32(), 4);
          return e_.b.CreateICmpSGE(kind, i32(0));
        },
        [&](llvm::ArrayRef<LV*>) {
          for (std::size_t i = 0; i < stages.size(); ++i) {
            const auto same =
                std::find_if(stages.begin(), stages.end(), [&](const Stage& x) { return x.bulk && stages[i].bulk && alike(plan_, x, stages[i]); });
            if (same != stages.begin() + static_cast<std::ptrdiff_t>(i)) continue;
            e_.if_then(e_.b.CreateICmpEQ(kind, i32(static_cast<std::int64_t>(i))), [&] { copy(stages[i]); });
          }
          call(e_.b, e_.module, Primitive::FenceProxyAsync, {});
          call(e_.b, e_.module, Primitive::BarSync, {i32(kObeyedBarrier), i32(kGroupThreads)});
          return Values{};
        });
  });
}

}  // namespace tessera::gpu
