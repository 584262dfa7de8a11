// Pass `split_masks`: affine masks and axis ends become loop bounds.
//
// For a loop whose body selects on conjunctions of affine comparisons in the loop variable, coordinates and scalars, or loads through ranges that
// stick out of their axis at one end, interval analysis over the tile gives the trips in which all of these are settled (every condition true
// throughout, every range full), and the trips in which a condition fails throughout. The loop becomes up to three in a row with computed bounds:
// masked, free, masked. In the free one conditions are constants and ranges {full}. Trips in which the conditions fail throughout are skipped if
// skip_proof shows that they change nothing. Order and arithmetic of the trips stay the same: results keep their bits, but for what skip_proof
// takes for granted.
//
// Precondition: a sound kernel, folded and with its pads placed (so that one select carries the whole mask). Inner loops first; loops too large to
// be copied are left alone.
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

void split_masks(Kernel& kernel);

}  // namespace tessera::ir
