// Ops that see a whole axis at once, through shared memory.
#include <fmt/format.h>

#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

void ThreadEmitter::emit_whole(const Op& op) { unsupported(op, fmt::format("`{}` on a GPU", ir::info(op.kind).name)); }

void ThreadEmitter::emit_scan(const Op& op) { emit_whole(op); }

}  // namespace tessera::gpu
