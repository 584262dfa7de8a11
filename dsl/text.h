// Tile IR as text. print and parse are inverse: parse(print(k)) prints the same. Repro files, pass tests and cache keys use this form.
//
//   kernel scale(
//     %0.x: view f32[M, 64],
//     %1.y: out view f32[M, 64],
//     %2.a: f32
//   )
//   symbols(M)
//   where(mod(M, 8) == 0)
//   grid(%3.i < ceil(M, 8))
//   deterministic
//   constants(BM = "8")
//   in_place(y = x)
//   {
//     %4 = const {value = 8} : idx
//     %5 = mul %3.i, %4 : idx
//     ..
//     %9.t = load %0.x, %7, %8 {zero} : f32[8, 64]
//     %10.s = for %6, %4, %4, %9.t : f32[8, 64] (%11: idx, %12.s: f32[8, 64]) {
//       %13 = mul %12.s, %2.a : f32[8, 64]
//       yield %13
//     }
//     store %1.y, %10.s, %7, %8
//     yield
//   }
//
// A parameter reads `[peer[W]] [mode] view dtype [as Nominal][dims] [strided] [?|absent]`; an absent one has no number. A line of the body reads
// `results = op operands {attributes} : result types (region arguments) { region }`, with what is empty left out. Attributes that are flags print
// as their name. Comments start with `//`. In text written by hand a value may have any name (`%q`); its number, if it has one, is its identity.
#pragma once

#include <memory>
#include <string>

#include "dsl/diagnostic.h"
#include "dsl/ir.h"

namespace tessera::ir {

/// Values are numbered in order of definition, hints are appended (`%3.kt`), so the text does not depend on addresses or history.
std::string print(const Kernel& kernel);

/// One op as printed, without its regions; for messages.
std::string print_op(const Kernel& kernel, const Op& op);

/// Null with diagnostics (E0803) if the text is malformed, an op is ill-typed or the kernel is not sound (verify.h); positions point into `file`.
/// Ops get no spans.
std::unique_ptr<Kernel> parse_kernel(const SourceMap& sources, FileId file, Diagnostics& diagnostics);

}  // namespace tessera::ir
