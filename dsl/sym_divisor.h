// Quotients by symbolic divisors.
#pragma once

#include "dsl/sym.h"

namespace tessera {

/// Whether a / b and a % b as floor_div and mod give them were simplified in a way that is wrong where b is zero, such as (H * G) / G = H. Extents
/// are not zero where an instance runs; other values may be.
bool assumes_nonzero(const Sym& a, const Sym& b);

}  // namespace tessera
