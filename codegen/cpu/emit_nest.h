// One nest: loops from the outside in, then lane vectors, then the folded loop; at each point every sink takes its value. Private to emit*.cpp.
#pragma once

#include "codegen/cpu/emit.h"

namespace tessera::cpu {

class KernelEmitter::NestEmitter {
 public:
  NestEmitter(KernelEmitter& k, const Nest& nest, const Region& region) : k_(k), e_(k.e_), ev_(*k.ev_), nest_(nest), region_(region) {}

  void emit();

 private:
  /// A fold's state for one lane vector: the value, and for argmax and argmin where it was found (i32).
  struct Fold {
    llvm::Value* value = nullptr;
    llvm::Value* index = nullptr;
  };
  using Folds = std::vector<std::vector<Fold>>;  ///< by reduction, by vector

  /// A run of lane vectors whose last has `tail` active lanes.
  struct Chunk {
    llvm::Value* base = nullptr;  ///< coordinate of lane 0; null: no lanes
    int vectors = 1;
    int tail = kLanes;
    std::vector<Lanes> lane;  ///< the lane coordinate of every vector: made once, since coordinates are known by their values
  };
  Chunk make_chunk(llvm::Value* base, int vectors, int tail);

  void outer(std::size_t loop);
  void lane_part();
  void chunk(const Chunk& c, Folds& lane_folds);
  void points(const Chunk& c, Folds& folds, Folds& lane_folds);
  void product(const Chunk& c, Folds& folds, Folds& lane_folds);
  void fold_value(const Sink& s, const Coords& c, llvm::Value* x, Fold& f);
  void store(const Sink& s, const Coords& c, const Lanes& x);
  void store_operand(const Sink& s, const Coords& c, const Coords* second);
  void finish(const Sink& s, const Coords& c, const Fold& f);
  Fold horizontal(const Sink& s, std::vector<Fold> parts);

  Lanes value_of(const Sink& s, const Coords& c);
  Coords coords(const Sink& s) const;
  void set_lane(const Chunk& c, int vector);
  void prepare();
  int loop_with(Role role) const;
  bool folds_lanes(const Sink& s) const { return s.axis >= 0 && s.axis == s.lane; }
  Fold start(const Sink& s, bool vector) const;
  Values flatten(const Folds& f) const;
  void restore(Folds& f, llvm::ArrayRef<llvm::Value*> values) const;

  KernelEmitter& k_;
  Emitter& e_;
  Evaluator& ev_;
  const Nest& nest_;
  const Region& region_;
  std::vector<Lanes> at_;  ///< coordinate of each loop; null while unknown
  std::vector<const Sink*> reductions_;
  std::vector<std::pair<const ir::Value*, Lanes>> units_;  ///< results of one element, bound when the nest's own scope has closed
};

}  // namespace tessera::cpu
