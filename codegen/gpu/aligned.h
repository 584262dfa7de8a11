// Code that is emitted as if addresses were aligned.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "codegen/gpu/emit.h"

namespace tessera::gpu {

struct ThreadEmitter::Aligned {
  llvm::BasicBlock* before = nullptr;         ///< which the test ends
  std::set<const llvm::BasicBlock*> outside;  ///< what they compute is there in `before`
  std::vector<LV*> tests;                     ///< i1, computed in `before`, of each access; null: it asks in its own place
  bool assumed = true;                        ///< the form that takes them for granted is being emitted, not the other
  std::size_t met = 0;                        ///< tests that the other form has come to
  std::map<const LV*, LV*> copies;

  /// A value computed in `before`; null if only its own place can compute it.
  LV* earlier(cpu::Emitter& e, LV* v);
};

}  // namespace tessera::gpu
