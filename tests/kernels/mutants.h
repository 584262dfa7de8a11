// Mutants of generated code: one primitive use dropped, repeated, or with one integer operand off by a step; one address, register, comparison or
// masking changed.
#pragma once

#include <llvm/IR/Module.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::test {

struct Mutant {
  enum class Kind : std::uint8_t {
    Drop,      ///< a primitive is gone
    Repeat,    ///< it runs twice; not made of those whose repetition changes nothing
    Bump,      ///< an integer operand of it is off by a step
    Fragment,  ///< two registers of a fragment change places
    Swizzle,   ///< an address in shared memory moves to the neighbouring 16 bytes
    Stride,    ///< a factor of an integer product in the address of global memory is one more
    OffByOne,  ///< a bound that comparisons which mask or guard an access test against is one more
    When,      ///< the lanes that a primitive's condition leaves out take part
    Map,       ///< a bulk copy reads by another tensor map
    Atomic,    ///< an atomic operation on memory takes or leaves one more
    Trips,     ///< what ends a loop comes one later
    Unmasked,  ///< the selects of a block against padding constants take their other side always, its asynchronous copies read all of their bytes
  };
  Kind kind{};
  std::size_t place = 0;  ///< which of the instructions that this kind changes, in the order of the module
  unsigned operand = 0;   ///< of Bump and Fragment
  std::string what;       ///< "cp_async16", "shared load", "mul"
  std::string block;      ///< the basic block in which it takes effect

  std::string text() const;
};

/// All of them, in order.
std::vector<Mutant> mutants(llvm::Module& module);
/// Changes the module that it was made of.
void apply(llvm::Module& module, const Mutant& mutant);

}  // namespace tessera::test
