// Emission of one kernel: walks the plan and writes LLVM IR. Private to codegen/cpu/emit*.cpp and compile.cpp.
#pragma once

#include <string>
#include <vector>

#include "codegen/cpu/compile.h"
#include "codegen/cpu/evaluate.h"
#include "codegen/cpu/operand.h"
#include "codegen/cpu/plan.h"
#include "codegen/cpu/wishes.h"

namespace tessera::cpu {

class KernelEmitter {
 public:
  class NestEmitter;  // emit_nest.h
  struct Chunk;

  KernelEmitter(const Analysis& analysis, const Plan& plan, const Wishes& wishes, Emitter& e, const CpuOptions& options)
      : analysis_(analysis), plan_(plan), wishes_(wishes), e_(e), options_(options) {}

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
  void prepare_nest(const Nest& nest);
  void emit_nest(const Nest& nest, const Region& region, const Chunk* strip, Lanes row);
  Chunk make_chunk(llvm::Value* base, int vectors, int tail);
  void emit_strips(const Region& region);
  const Buffer& ensure_buffer(const ir::Value* v);
  void require_inputs(const Sink& s);

  /// Tiles that were written beside their place go there, now that nobody reads the old ones.
  void copy_staged(const Segment& segment);

  // emit_operand.cpp
  /// How a product reads an operand, in units.
  struct OperandRef {
    llvm::Value* base = nullptr;
    llvm::Value* row = nullptr;    ///< between rows (an operand that is broadcast)
    llvm::Value* k = nullptr;      ///< between steps of k
    llvm::Value* strip = nullptr;  ///< between strips (an operand in lanes)
    int align = 64;                ///< bytes, of lane vectors
    llvm::Value* ahead = nullptr;  ///< to what is to be fetched beside what is read
  };
  void ensure_operand(const Sink& s);
  const Buffer& operand_buffer(const ir::Op& op, std::size_t operand) const { return operands_.at({&op, operand}); }
  const OperandRef& operand_ref(const ir::Op& op, std::size_t operand) const { return operand_refs_.at(plan_.packed_operand(op, operand)); }
  OperandRef packed_ref(const Sink& s);
  /// Operands of a whole tile: as they lie in a buffer or in memory where they can be read so, else packed.
  bool emit_operand(const Sink& s);
  std::optional<OperandRef> buffer_operand(const Sink& s);
  bool emit_pack(const Sink& s);
  void pack_by_elements(const Sink& s);
  std::int64_t plan_rows(const Sink& s) const;
  /// An operand's element in the product's units: whole, or half of a pair.
  llvm::Value* operand_element(const Sink& s, const Coords& c);

  // emit_gemm_loop.cpp
  void emit_gemm_loop(const ir::Op& op);
  /// Scratch of the accumulation loops that every instance runs: its packed operands outlive an instance.
  void keep_gemm_scratch();
  /// i1: `v` is what it was in the instance that ran just before on this arena; null: nobody can tell.
  llvm::Value* as_before(const std::vector<const ir::Value*>& v);

  // emit_kernel.cpp
  /// i1: the view's parameter is so large, and its elements written so plainly, that stores should bypass the caches; null: never.
  llvm::Value* streams(const ir::Value* view);
  void find_streams();
  /// Which loads of the block each nest shall fetch ahead for: the last nest that evaluates them.
  void plan_fetches(const ir::Block& block);
  void close_stores();

  // emit_fold.cpp, emit_whole.cpp
  void emit_fold(const Sink& s);
  void emit_whole(const Sink& s);
  void emit_sort(const ir::Op& op);
  void emit_histogram(const ir::Op& op);
  void emit_solve_lower(const ir::Op& op);
  void emit_assert(const ir::Op& op, llvm::Value* all_true);

  const Analysis& analysis_;
  const Plan& plan_;
  const Wishes& wishes_;
  Emitter& e_;
  const CpuOptions& options_;
  Arena arena_;
  std::unique_ptr<Evaluator> ev_;
  llvm::Value* instance_ = nullptr;
  llvm::Value* follows_ = nullptr;  ///< i1: instance - 1 ran just before, on the same arena
  Values grid_;                     ///< extents
  std::map<const ir::Op*, std::int64_t> gemm_scratch_;
  std::map<std::size_t, llvm::Value*> streams_;  ///< by parameter
  bool products_ = false;                        ///< the kernel has some
  std::map<const Nest*, std::vector<const ir::Op*>> fetches_;
  std::vector<CpuCheck> checks_;
  std::map<OperandName, Buffer> operands_;
  std::map<OperandName, OperandRef> operand_refs_;
  std::map<const ir::Value*, Buffer> staged_;
};

}  // namespace tessera::cpu
