// How many registers a thread's code keeps at one time.
#pragma once

#include <llvm/IR/Function.h>

namespace tessera::nvptx {

/// The most 32-bit words of values that are alive at one point, in the order in which the instructions stand. Two of 16 bits count as one. Conditions
/// count nothing: they have registers of their own. What adds a constant or widens an index counts as what it is made of: an address does both where
/// it is used. An assembler that moves instructions may need fewer or, to hide latencies, more.
int live_words(const llvm::Function& f);

}  // namespace tessera::nvptx
