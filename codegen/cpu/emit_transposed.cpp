// Stores of values whose lanes run across memory: blocks of 16 x 16 are transposed in registers and written in whole vectors.
#include "codegen/cpu/emit_nest.h"
#include "codegen/cpu/pack.h"

namespace tessera::cpu {

using LV = llvm::Value;
using NE = KernelEmitter::NestEmitter;

void NE::transposed_block(const Sink& s, std::size_t along, LV* base, int rows, LV* first, int columns) {
  ev_.push();
  llvm::Type* type = register_type(e_, dtype(s.value));
  llvm::Type* wide = e_.vec(e_.i32());
  Values block;
  lane_ = linear_lanes(e_, base, 1, kLanes);
  ev_.set_active(rows < kLanes ? e_.lanes_below(e_.idx(rows)) : nullptr);
  for (int i = 0; i < kLanes; ++i) {
    if (i >= columns) {
      block.push_back(e_.zero(wide));
      continue;
    }
    at_[along] = idx_add(e_, lanes(first), lanes(e_.idx(i)));
    LV* x = as_vector(e_, ev_.eval(s.value, coords(s)));
    llvm::Type* bits = e_.vec(e_.b.getIntNTy(type->getScalarSizeInBits()));
    block.push_back(e_.b.CreateZExtOrTrunc(e_.b.CreateBitCast(x, bits), wide));
  }
  const Values turned = emit_transpose16(e_, block);
  ev_.set_active(columns < kLanes ? e_.lanes_below(e_.idx(columns)) : nullptr);
  at_[along] = linear_lanes(e_, first, 1, kLanes);
  // By a loop: the address of a row may take dozens of instructions.
  LV* place = e_.stack(wide, kLanes);
  for (int r = 0; r < rows; ++r) e_.store(turned[static_cast<std::size_t>(r)], e_.at(wide, place, e_.idx(r)), 64);
  e_.loop(e_.idx(0), e_.idx(rows), e_.idx(1), true, [&](LV* r) {
    ev_.push();
    lane_ = lanes(e_.add(base, r));
    LV* x = e_.b.CreateTrunc(e_.load(wide, e_.at(wide, place, r), 64), e_.vec(e_.b.getIntNTy(type->getScalarSizeInBits())));
    store(s, coords(s), lanes(e_.b.CreateBitCast(x, e_.vec(type))));
    ev_.pop();
  });
  at_[along] = Lanes{};
  no_lane();
  ev_.pop();
}

void NE::transposed_store() {
  const Sink& s = *nest_.sinks.front();
  const auto along = static_cast<std::size_t>(nest_.loop_of.at(&s)[static_cast<std::size_t>(s.across)]);
  const std::int64_t rows = s.space[static_cast<std::size_t>(s.lane)];
  const std::int64_t columns = s.space[static_cast<std::size_t>(s.across)];
  auto band = [&](LV* base, int count) {
    ev_.push();
    lane_ = linear_lanes(e_, base, 1, kLanes);
    prepare();
    no_lane();
    const std::int64_t whole = columns / kLanes * kLanes;
    if (whole > 0)
      e_.loop(e_.idx(0), e_.idx(whole), e_.idx(kLanes), true, [&](LV* first) { transposed_block(s, along, base, count, first, kLanes); });
    if (whole < columns) transposed_block(s, along, base, count, e_.idx(whole), static_cast<int>(columns - whole));
    ev_.pop();
  };
  const std::int64_t whole = rows / kLanes * kLanes;
  if (whole > 0) e_.loop(e_.idx(0), e_.idx(whole), e_.idx(kLanes), true, [&](LV* base) { band(base, kLanes); });
  if (whole < rows) band(e_.idx(whole), static_cast<int>(rows - whole));
}

}  // namespace tessera::cpu
