// One nest: loops from the outside in, then lane vectors, then the folded loop; at each point every sink takes its value. Private to emit*.cpp.
#pragma once

#include "codegen/cpu/emit.h"

namespace tessera::cpu {

/// A run of lane vectors whose last has `tail` active lanes.
struct KernelEmitter::Chunk {
  llvm::Value* base = nullptr;  ///< coordinate of lane 0; null: no lanes
  int vectors = 1;
  int tail = kLanes;
  std::vector<Lanes> lane;  ///< the lane coordinate of every vector: made once, since coordinates are known by their values
};

class KernelEmitter::NestEmitter {
 public:
  /// `strip` is the strip under way of a region that has them; `row` the index of a region that runs over single ones.
  NestEmitter(KernelEmitter& k, const Nest& nest, const Region& region, const Chunk* strip, Lanes row)
      : k_(k), e_(k.e_), ev_(*k.ev_), nest_(nest), region_(region), strip_(strip), row_(row) {}

  void emit();

 private:
  /// A fold's state for one lane vector: the value, and for argmax and argmin where it was found (i32).
  struct Fold {
    llvm::Value* value = nullptr;
    llvm::Value* index = nullptr;
  };
  using Folds = std::vector<std::vector<Fold>>;  ///< by reduction, by vector
  struct Taken {
    Coords at;
    Lanes x;
  };
  using Point = std::vector<std::vector<Taken>>;  ///< by vector, by sink

  void outer(std::size_t loop);
  void lane_part();
  void chunk(const Chunk& c, Folds& lane_folds);
  void transposed_store();
  void transposed_block(const Sink& s, std::size_t along, llvm::Value* base, int rows, llvm::Value* first, int columns);
  void points(const Chunk& c, Folds& folds, Folds& lane_folds);
  Point evaluate(const Chunk& c);
  void take(const Chunk& c, const Point& point, Folds& folds, Folds& lane_folds);
  void product(const Chunk& c, Folds& folds, Folds& lane_folds);
  void inner_product(const Chunk& c, Folds& folds, Folds& lane_folds);
  Values inner_sums(const Sink& s, const PackSource& source, llvm::Value* first, std::int64_t row);
  void fold_value(const Sink& s, const Coords& c, llvm::Value* x, Fold& f);
  void store(const Sink& s, const Coords& c, const Lanes& x);
  void store_operand(const Sink& s, const Taken& first, const Taken* second);
  void finish(const Sink& s, const Coords& c, const Fold& f);
  Fold horizontal(const Sink& s, std::vector<Fold> parts);

  Lanes value_of(const Sink& s, const Coords& c);
  Coords coords(const Sink& s) const;
  void set_lane(const Chunk& c, int vector);
  void no_lane();
  void prepare();
  void prepare_strip(const Chunk& c);
  int loop_with(Role role) const;
  bool is_product() const { return nest_.sinks.front()->kind == SinkKind::Product; }
  bool folds_lanes(const Sink& s) const { return s.axis >= 0 && s.axis == s.lane; }
  Fold start(const Sink& s, bool vector) const;
  Values flatten(const Folds& f) const;
  void restore(Folds& f, llvm::ArrayRef<llvm::Value*> values) const;

  KernelEmitter& k_;
  Emitter& e_;
  Evaluator& ev_;
  const Nest& nest_;
  const Region& region_;
  const Chunk* strip_;
  Lanes row_;
  std::vector<Lanes> at_;  ///< coordinate of each loop; null while unknown
  Lanes second_;           ///< the pair loop's next coordinate, if it has a value already: what is bound there is found by it
  Lanes lane_;             ///< coordinate in lanes: of the strip, or of the lane loop
  std::vector<const Sink*> reductions_;
  /// Results in registers, bound when the nest's own scope has closed.
  struct Result {
    const ir::Value* v;
    Coords at;
    Lanes x;
  };
  std::vector<Result> results_;
};

}  // namespace tessera::cpu
