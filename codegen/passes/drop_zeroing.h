// Pass `drop_zeroing`: a load {zero} whose padding reaches neither an effect nor an element outside of the padding loses the flag.
//
// pad_states asks for zeros along the axis that a product contracts. Where split_masks has made that range full, only axes are left that nobody
// looks at, such as the rows that stick out of the last tile of a product.
// Precondition: a sound kernel. Results are the same.
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

void drop_zeroing(Kernel& kernel);

}  // namespace tessera::ir
