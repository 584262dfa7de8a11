// Emission of one kernel: walks the plan and writes LLVM IR. Private to codegen/cpu/emit*.cpp and compile.cpp.
#pragma once

#include <string>
#include <vector>

#include "codegen/cpu/compile.h"
#include "codegen/cpu/evaluate.h"
#include "codegen/cpu/plan.h"

namespace tessera::cpu {

class KernelEmitter {
 public:
  class NestEmitter;  // emit_nest.h

  KernelEmitter(const Analysis& analysis, const Plan& plan, Emitter& e, const CpuOptions& options)
      : analysis_(analysis), plan_(plan), e_(e), options_(options) {}

  /// Adds both entries to the module.
  void emit(const std::string& entry, const std::string& range_entry);
  std::int64_t arena_bytes() const { return arena_.most(); }
  std::vector<CpuCheck> take_checks() { return std::move(checks_); }

 private:
  // emit_kernel.cpp
  void bind_parameters(llvm::Value* frame, llvm::Value* instance, llvm::Value* grid);
  llvm::Value* frame_word(llvm::Value* frame, std::size_t word);

  // emit_control.cpp
  void emit_block(const ir::Block& block);
  void emit_control(const ir::Op& op);
  void emit_for(const ir::Op& op);
  void emit_while(const ir::Op& op);
  void emit_if(const ir::Op& op);
  void require_for(const ir::Op& control);
  /// The units a block yields, then (for tiles) nothing: they are in their buffers.
  Values yielded_units(const ir::Block& block);

  // emit_region.cpp
  void emit_region(const Region& region);
  void emit_nest(const Nest& nest, const Region& region);
  const Buffer& ensure_buffer(const ir::Value* v);
  void require_inputs(const Sink& s);

  /// Tiles that were written beside their place go there, now that nobody reads the old ones.
  void copy_staged(const Segment& segment);

  // emit_product.cpp
  void ensure_operand(const Sink& s);
  const Buffer& operand_buffer(const ir::Op& op, std::size_t operand) const { return operands_.at({&op, operand}); }
  /// An operand's element in the product's units: whole, or half of a pair.
  llvm::Value* operand_element(const Sink& s, const Coords& c);

  // emit_fold.cpp, emit_whole.cpp
  void emit_fold(const Sink& s);
  void emit_whole(const Sink& s);
  void emit_sort(const ir::Op& op);
  void emit_histogram(const ir::Op& op);
  void emit_solve_lower(const ir::Op& op);
  void emit_assert(const ir::Op& op, llvm::Value* all_true);

  const Analysis& analysis_;
  const Plan& plan_;
  Emitter& e_;
  const CpuOptions& options_;
  Arena arena_;
  std::unique_ptr<Evaluator> ev_;
  llvm::Value* instance_ = nullptr;
  std::vector<CpuCheck> checks_;
  std::map<std::pair<const ir::Op*, std::size_t>, Buffer> operands_;
  std::map<const ir::Value*, Buffer> staged_;
};

}  // namespace tessera::cpu
