// Text -> checked program -> Tile IR. The only frontend header that others include.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dsl/diagnostic.h"
#include "dsl/ir.h"
#include "dsl/schedule.h"

namespace tessera {

/// Text of an imported module by dotted path ("std.attention"), with the name to show in diagnostics; empty if there is none.
struct ModuleText {
  std::string name;
  std::string text;
};
using ImportResolver = std::function<std::optional<ModuleText>(const std::string& dotted_path)>;

/// Imports are searched beside the importing file, then in the embedded std (dsl/std).
ImportResolver import_beside(const std::string& importing_file);
/// The embedded standard library: module path ("std.attention") -> text.
const std::map<std::string, std::string>& embedded_std();
/// Tuned constants for the skeletons of a std module, by module path; few modules have some.
const std::map<std::string, std::string>& embedded_winners();

/// Value of a kernel's compile-time parameter: an int, a bool, a dtype, or the name of a struct or fn.
using Constant = std::variant<std::int64_t, bool, DType, std::string>;
using Constants = std::map<std::string, Constant>;
std::string str(const Constant& c);

/// A kernel's compile-time parameter as declared.
struct ConstantInfo {
  std::string name;
  std::string kind;  ///< "int", "bool", "half", "float", "dtype", "struct", "fn"
  bool has_default = false;
  bool tuned = false;  ///< named in the kernel's tune block
};

/// A kernel's run-time parameter as declared; struct parameters are flattened only at instantiation.
struct ParameterInfo {
  std::string name;
  std::string type;  ///< as written: "out view T[B, Sq, H, D] ?"
};

struct KernelInfo {
  std::string name;
  std::vector<ConstantInfo> constants;
  std::vector<ParameterInfo> parameters;
};

/// A file and its imports, parsed and checked symbolically. Immutable; shared by threads.
class Program;

struct LoadResult {
  std::shared_ptr<const Program> program;  ///< null if there were errors
  std::shared_ptr<SourceMap> sources;      ///< for rendering diagnostics, also on failure
  Diagnostics diagnostics;
};

/// Parses and checks `text` (named `name` in diagnostics) and everything it imports.
LoadResult load_program(std::string name, std::string text, const ImportResolver& resolve);

std::vector<KernelInfo> kernels(const Program& program);
const SourceMap& sources(const Program& program);

/// Candidates of a kernel's tune block: each maps the tuned names to values, the file's order, those its `where` refuses left out.
/// `fixed` are constants already chosen.
std::vector<Constants> tune_candidates(const Program& program, const std::string& kernel, const Constants& fixed, Diagnostics& diagnostics);

/// The kernel's tune keys as text ("T", "bucket(Sq)"), for winners files.
std::vector<std::string> tune_keys(const Program& program, const std::string& kernel);

/// The module of the kernel whose body `kernel` runs, and its name there: `std.attention` and `fwd` for `kernel flash = att.fwd[..]`; an empty module
/// for the file itself.
struct Skeleton {
  std::string module, name;
};
Skeleton skeleton_of(const Program& program, const std::string& kernel);

/// Instantiates a kernel: binds constants (defaults fill the rest), inlines, and lowers to Tile IR. `absent` names the optional views that are
/// not given. Null, with diagnostics, if a constant is missing or unknown, a `where` clause is violated or a limit exceeded.
std::unique_ptr<ir::Kernel> instantiate(const Program& program, const std::string& kernel, const Constants& constants,
                                        const std::vector<std::string>& absent, Diagnostics& diagnostics);

/// The form of a kernel with all optional views, for its parameters and symbols: `where` clauses that ask `has(..)` are not judged, since a launch
/// may leave views out. Otherwise as `instantiate`.
std::unique_ptr<ir::Kernel> instantiate_signature(const Program& program, const std::string& kernel, const Constants& constants,
                                                  Diagnostics& diagnostics);

/// The schedule written for `kernel` (and the fns it calls) on a target family ("cpu", "sm80", "sm90", "sm100"), with names as paths.
/// `constants` give values to the tuned names in it.
Schedule schedule_for(const Program& program, const std::string& kernel, const std::string& family, const Constants& constants = {});

}  // namespace tessera
