// Modules of kernels and kernels without a C++ signature. The typed form is in kernel.h.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tessera/argument.h"
#include "tessera/cache.h"
#include "tessera/context.h"
#include "tessera/error.h"
#include "tessera/graph.h"

namespace tessera {

/// Value of a compile-time parameter: a number, a bool, an element type, or the name of a struct or fn.
using ConstValue = std::variant<std::int64_t, bool, ElementType, std::string>;

/// Values by name: `Consts{{"T", ElementType::BF16}, {"D", 128}, {"variant", "gemma"}}`. Thread safety: a value.
class TESSERA_API Consts {
 public:
  struct Entry {
    std::string name;
    ConstValue value;
    Entry(std::string n, ElementType v) : name(std::move(n)), value(v) {}
    Entry(std::string n, bool v) : name(std::move(n)), value(v) {}
    Entry(std::string n, const char* v) : name(std::move(n)), value(std::string(v)) {}
    Entry(std::string n, std::string v) : name(std::move(n)), value(std::move(v)) {}
    template <detail::PlainInteger T>
    Entry(std::string n, T v) : name(std::move(n)), value(static_cast<std::int64_t>(v)) {}
  };
  Consts() = default;
  Consts(std::initializer_list<Entry> entries) {
    for (const Entry& e : entries) set(e);
  }
  void set(Entry e) { values_.insert_or_assign(std::move(e.name), std::move(e.value)); }
  const std::map<std::string, ConstValue>& values() const { return values_; }

 private:
  std::map<std::string, ConstValue> values_;
};

/// What to do when a launch leaves out other optional views than any launch or prepare() before.
enum class OnMiss : std::uint8_t {
  Compile,  ///< compile that form of the kernel within the launch
  Fail,     ///< throw Error E0708, naming prepare()
};

struct Options {
  /// "cpu" (machine code), "interp" (the reference interpreter: every op rounds to its type), "interp:exact" (floats stay float64), "cuda" or
  /// "cuda:1" (machine code of that GPU, loaded there), "sm_80" (code of an architecture, loaded by prepare() or the first launch), "simt:sm_80"
  /// (the same code on a simulated GPU, which throws Error E0806 for races, accesses out of bounds, deadlocks).
  /// Empty: the target of `context`, without one the CPU.
  std::string target = {};
  /// With an empty target or "cuda": the device to compile for and to load the code on.
  std::optional<Context> context = {};
  /// Check the kernel's asserts and claims while it runs (the interpreters always do).
  bool debug = false;
  /// What the order of threads and the moments of asynchronous copies follow from on a simulated GPU; other targets have no use for it.
  std::uint64_t seed = 1;
  OnMiss on_miss = OnMiss::Compile;
  /// Optional views that the first form is compiled without.
  std::vector<std::string> absent = {};
  /// Text of a winners file, as `tessera tune` writes it, from which unset tune constants are taken; empty: of the file beside the source, with the
  /// ending .winners, where load() found one. Where no line fits, the first legal candidate. A simulated GPU and the interpreters take no line from
  /// beside the source.
  std::string winners = {};
  /// Launch symbols that launches will have, about, for the lines of winners that depend on them: {{"Sq", 4096}}.
  std::map<std::string, std::int64_t> sizes = {};
  /// Receives what the kernel prints; null: stderr. Called from the launch's threads, one at a time.
  std::function<void(const std::string&)> print = {};
};

/// A parameter as a specialised kernel has it; struct parameters appear as one parameter a field, `x.slopes`.
struct Parameter {
  std::string name;
  bool is_view = false;
  ElementType dtype = ElementType::F32;
  std::string nominal;  ///< "Lse" for a nominal type, else empty
  Access access = Access::In;
  bool optional = false;
  bool strided = false;
  std::vector<std::string> dims;  ///< "Sq", "64", "H*4"
};

/// A kernel of a module before its constants are chosen.
struct KernelOutline {
  struct Constant {
    std::string name;
    std::string kind;  ///< "int", "bool", "half", "float", "dtype", "struct", "fn"
    bool has_default = false;
    bool tuned = false;
  };
  struct Declared {
    std::string name;
    std::string type;  ///< as written: "out view T[B, Sq, H, D] ?"
  };
  std::string name;
  std::vector<Constant> constants;
  std::vector<Declared> parameters;
};

namespace detail {
class KernelImpl;
class ModuleImpl;
/// One entry of a typed signature.
struct SignatureEntry {
  bool is_view = false;
  bool may_be_absent = false;  ///< std::optional<..>
  bool is_absent = false;      ///< Absent
  ElementType dtype = ElementType::F32;
  std::string_view nominal = {};
  Access access = Access::In;
  int rank = 0;
};
}  // namespace detail

/// A kernel with its constants chosen, compiled. A cheap handle; copies share the code. Thread safety: all functions may be called from
/// several threads at once, launches too, as far as their arguments do not race.
class TESSERA_API AnyKernel {
 public:
  const std::string& name() const noexcept;
  const std::vector<Parameter>& parameters() const noexcept;
  /// All compile-time parameters with the values in force, tuned ones included, as text.
  const std::vector<std::pair<std::string, std::string>>& constants() const noexcept;

  /// On the CPU, runs the kernel to its end. On a GPU, queues it on the context's stream, as one kernel launch that allocates nothing and may be
  /// captured into a CUDA graph; tensors must live until it has run. No instances: nothing is queued. With Options::debug it waits for the end. One
  /// argument a parameter, in order. Throws Error: E0701 number of arguments, E0702 element type, E0703 rank, E0704 extents, E0705 `where`, E0706
  /// strides, E0707 overlap, E0708 missing, E0710 pointer, or memory of another device; E0711 mode, E0712 scalar out of range, E0804 a kernel of
  /// another target than the context's, or more than 2^31 - 1 instances on a GPU; E0805 a failed assertion (debug or interpreter); Machine if memory
  /// runs out or the GPU fails. While a stream is being captured, E0708 if the kernel is not prepared. On an E07xx error nothing has run.
  void launch(const Context& context, std::span<const Argument> arguments) const;
  void launch(const Context& context, std::initializer_list<Argument> arguments) const {
    launch(context, std::span(arguments.begin(), arguments.size()));
  }
  /// Arguments by name; absent optional views may be left out. Throws as above, and E0709 for a name the kernel does not have.
  void launch(const Context& context, const std::map<std::string, Argument>& arguments) const;

  /// Adds one launch with these arguments to a CUDA graph, to run after the nodes `after` of that graph, and gives its node; nothing runs now. The
  /// tensors must live as long as the graph runs. `context` names the GPU; its stream has no part in it. Throws as launch(), and Error: E0804 on the
  /// CPU, with Options::debug, or if the arguments give no instances; Machine if the driver refuses.
  GraphNode node(const Context& context, Graph graph, std::span<const GraphNode> after, std::span<const Argument> arguments) const;
  /// Gives a node of an instantiated graph other arguments, checked as those of a launch; they count from the graph's next launch on. The node must
  /// be one that node() has made, or a captured launch, of any kernel on the same GPU. Arguments without instances turn it off until the next
  /// update. Not at the same time as another call with this graph. Throws as node(), but no instances are no error.
  void update(const Context& context, GraphExec exec, GraphNode node, std::span<const Argument> arguments) const;

  /// Compiles the form without these optional views now, so that a launch need not. Throws Error if a name is not an optional view.
  void prepare(const std::vector<std::string>& absent = {}) const;
  /// The same, and loads the code on the context's device. Throws also Error: E0804 if it was made for another, Machine.
  void prepare(const Context& context, const std::vector<std::string>& absent = {}) const;

  /// Extents of every view parameter that follow from the given ones, by name; what cannot be known stays out. Throws Error (Machine) if memory runs
  /// out.
  std::map<std::string, std::vector<std::int64_t>> infer_extents(const std::map<std::string, std::vector<std::int64_t>>& known) const;

  /// For the library's own use.
  explicit AnyKernel(std::shared_ptr<detail::KernelImpl> impl) : impl_(std::move(impl)) {}
  detail::KernelImpl& impl() const noexcept { return *impl_; }
  /// Throws Error (E0701, E0702, E0703, E0708, E0711) if a C++ signature does not fit.
  void check_signature(std::span<const detail::SignatureEntry> signature) const;

 private:
  std::shared_ptr<detail::KernelImpl> impl_;
};

template <class... Args>
class Kernel;

/// A checked source file. A cheap handle. Thread safety: immutable; all functions may be called from several threads at once.
class TESSERA_API Module {
 public:
  std::vector<KernelOutline> kernels() const;

  /// Chooses the constants, compiles, and gives a kernel for untyped launches. Tune constants that `constants` leaves open come from
  /// the winners (Options::winners), else are the first legal candidate. Throws Error: E0519 no such kernel, E0510, E0511, E0312 constants, E0509 a
  /// `where` clause, E06xx limits, E0802 an unknown target, E0804 not supported there.
  AnyKernel kernel(std::string_view name, const Consts& constants = {}, const Options& options = {}) const;
  /// The same with a C++ signature, which is checked here, once. Throws also E0701, E0702, E0703, E0708, E0711.
  template <class... Args>
    requires(sizeof...(Args) > 0)
  Kernel<Args...> kernel(std::string_view name, const Consts& constants = {}, const Options& options = {}) const;

  /// For the library's own use.
  explicit Module(std::shared_ptr<const detail::ModuleImpl> impl) : impl_(std::move(impl)) {}
  const detail::ModuleImpl& impl() const noexcept { return *impl_; }

 private:
  /// kernel(), with the views that `signature` calls absent left out of the form that is compiled.
  AnyKernel kernel_for(std::string_view name, const Consts& constants, const Options& options,
                       std::span<const detail::SignatureEntry> signature) const;

  std::shared_ptr<const detail::ModuleImpl> impl_;
};

/// Reads and checks a .tile file and what it imports: beside it, then in the standard library. Texts that have passed the checks before, by the word
/// of the cache, are not parsed until that is needed. Kernels made from the module use the same cache. Throws Error: Machine if a file cannot be
/// read, else E01xx to E06xx with all problems found. Thread safety: any thread.
TESSERA_API Module load(const std::string& path, const Cache& cache = Cache::standard());
/// The same for text that is already in memory; `name` stands in messages, and imports are searched beside it if it is a path.
TESSERA_API Module load_source(const std::string& name, const std::string& text, const Cache& cache = Cache::standard());
/// The same with imports by dotted path, which are searched first: for sources embedded in a program.
TESSERA_API Module load_source(const std::string& name, const std::string& text, const std::map<std::string, std::string>& imports,
                               const Cache& cache = Cache::standard());

}  // namespace tessera
