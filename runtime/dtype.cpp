// The public element types are the dtypes of dsl, by number.
#include "tessera/dtype.h"

#include "dsl/dtype.h"

namespace tessera {

#define TESSERA_DTYPE(id, text, kind, bits) static_assert(static_cast<int>(ElementType::id) == static_cast<int>(DType::id));
#include "dsl/dtypes.def"

const char* name(ElementType t) noexcept { return name(static_cast<DType>(t)); }
int bits(ElementType t) noexcept { return bits(static_cast<DType>(t)); }

}  // namespace tessera
