// The inside of AnyKernel and Module.
#pragma once

#include <memory>
#include <mutex>

#include "frontend/frontend.h"
#include "runtime/append_list.h"
#include "runtime/cache/image.h"
#include "runtime/cache/store.h"
#include "runtime/compile.h"
#include "runtime/launch.h"
#include "runtime/source_set.h"
#include "tessera/module.h"

namespace tessera::detail {

/// One compiled choice of optional views.
struct Form {
  std::uint64_t absent = 0;              ///< the views left out, as bits
  std::unique_ptr<ir::Kernel> source;    ///< as the front end made it; null if the form came from the cache
  std::unique_ptr<ir::Kernel> compiled;  ///< what the passes made of it; the executable may refer to it; null if the code came from the cache
  std::unique_ptr<LaunchPlan> plan;
  std::shared_ptr<const Executable> executable;
};

/// Where a kernel's Tile IR comes from. Thread safe.
class KernelSource {
 public:
  virtual ~KernelSource() = default;
  /// The Tile IR of the form without these views; null with diagnostics. Without a list: all views, whatever the kernel demands of their presence.
  virtual std::unique_ptr<ir::Kernel> lower(const std::optional<std::vector<std::string>>& absent, Diagnostics& diagnostics) const = 0;
  virtual Schedule schedule() const { return {}; }
};

/// A kernel's place in the cache: none by default.
struct CacheLink {
  std::shared_ptr<cache::Store> store;
  cache::Key key;  ///< of everything that says which kernel it is: sources, name, constants, winners, target
};

/// Options::target and Options::context, understood.
struct ResolvedTarget {
  std::string name;  ///< as winners are filed under: "cpu", "sm_90a"
  Target target = Target::Cpu;
  std::optional<GpuTarget> gpu;
  std::optional<Context> context;  ///< the device to load code on; none for the host, and for an architecture alone
};
/// Throws Error (E0802) for an unknown target or a context that does not fit it, MachineError if a device is named that does not work.
ResolvedTarget resolve_target(const Options& options);

class KernelImpl {
 public:
  /// Throws Error as Module::kernel does. Nothing is compiled yet.
  KernelImpl(std::unique_ptr<const KernelSource> source, std::shared_ptr<const SourceMap> sources, std::shared_ptr<LazyLoader> loader,
             Options options, const ResolvedTarget& target, CompileHooks hooks, CacheLink link = {});

  const std::string& name() const { return signature_->name; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const std::vector<std::pair<std::string, std::string>>& constants() const { return signature_->constants; }
  const Options& options() const { return options_; }
  const ir::Kernel& signature() const { return *signature_; }
  const std::shared_ptr<const SourceMap>& sources() const { return sources_; }

  /// Tile IR of the form without the views whose bits are set (bit i = i-th optional view). Throws Error.
  std::unique_ptr<ir::Kernel> lower(std::uint64_t absent_mask) const;
  /// What the target-free passes make of it: Form::compiled of code that is not from the cache. Throws Error.
  std::unique_ptr<ir::Kernel> after_passes(std::uint64_t absent_mask) const;
  /// What the passes and the target are told.
  CompileOptions compile_options() const;
  LazyLoader& loader() const { return *loader_; }
  const CacheLink& link() const { return link_; }
  /// The optional views, by name.
  std::vector<std::string> optional_views() const { return names_of(~std::uint64_t{0}); }
  /// The form without these views. Compiles it unless it exists, and loads it on the device that the options name. Throws Error.
  const Form& form(std::uint64_t absent_mask);
  std::uint64_t mask_of(const std::vector<std::string>& absent) const;
  void launch(const Context& context, std::span<const Argument> arguments);
  /// A launch as a node of a CUDA graph, and such a node with other arguments. Throw as AnyKernel::node and update.
  GraphNode add_node(const Context& context, Graph graph, std::span<const GraphNode> after, std::span<const Argument> arguments);
  void update_node(const Context& context, GraphExec exec, GraphNode node, std::span<const Argument> arguments);
  /// Arguments in order, from named ones.
  std::vector<Argument> in_order(const std::map<std::string, Argument>& arguments) const;
  void check_signature(std::span<const SignatureEntry> signature) const;

 private:
  [[noreturn]] void refuse(Code code, Span span, const std::string& message, const std::string& help = "") const;

  std::unique_ptr<const KernelSource> source_;
  std::shared_ptr<const SourceMap> sources_;
  std::shared_ptr<LazyLoader> loader_;
  Options options_;
  CompileHooks hooks_;
  ResolvedTarget target_;
  CacheLink link_;
  std::unique_ptr<ir::Kernel> signature_;  ///< the form with all optional views; from the cache without most of its body
  bool whole_signature_ = false;           ///< it has all of it
  std::vector<Parameter> parameters_;
  std::vector<std::size_t> optional_;  ///< parameters that may be absent
  /// The form for these arguments, compiled if it may be.
  const Form& form_for(const Context& context, std::span<const Argument> arguments);
  /// Null if there is none yet. Takes no lock.
  const Form* find_form(std::uint64_t absent_mask) const;
  std::vector<std::string> names_of(std::uint64_t absent_mask) const;
  /// Fills the form without parsing or compiling anything; false if the cache does not know it.
  bool recall(Form& form) const;
  /// Fills the form from Tile IR, with code of the cache if it has some.
  void build(Form& form) const;
  void compile_into(Form& form, const cache::Key* key) const;
  /// Code of the cache, loaded on the device that the options name; null if it has none that can be loaded.
  std::shared_ptr<const Executable> cached_code(const cache::Key& key, cache::InPlace& in_place) const;
  /// Loads code on the device that the options name, if they name one.
  void load(const Executable& code) const;
  cache::Key form_key(std::uint64_t absent_mask) const;
  std::mutex mutex_;  ///< of adding to forms_
  AppendList<std::unique_ptr<Form>> forms_;
};

/// Sources that have passed all checks, in this process or, by the word of the cache, in an earlier one. Thread safe.
class ModuleImpl : public std::enable_shared_from_this<ModuleImpl> {
 public:
  /// `program` may be null: then the sources are parsed when somebody asks for it. `winners`: the text of the file that lies beside the source.
  ModuleImpl(SourceSet set, std::shared_ptr<const Program> program, std::shared_ptr<const SourceMap> sources, std::shared_ptr<cache::Store> store,
             std::string winners)
      : set_(std::move(set)), program_(std::move(program)), sources_(std::move(sources)), store_(std::move(store)), winners_(std::move(winners)) {}
  /// Throws Error if the sources are not what the cache said.
  const Program& program() const;
  const std::shared_ptr<const SourceMap>& sources() const { return sources_; }
  const std::shared_ptr<LazyLoader>& loader() const { return loader_; }
  const std::shared_ptr<cache::Store>& store() const { return store_; }
  cache::Key key() const { return set_.key(); }
  const std::string& winners() const { return winners_; }

 private:
  SourceSet set_;
  mutable std::mutex mutex_;  ///< of making program_
  mutable std::shared_ptr<const Program> program_;
  std::shared_ptr<const SourceMap> sources_;
  std::shared_ptr<cache::Store> store_;
  std::string winners_;
  std::shared_ptr<LazyLoader> loader_ = std::make_shared<LazyLoader>();  ///< all kernels of a module share one
};

/// The front end's form of them.
Constants to_constants(const Consts& consts);

/// What only the command line asks of Module::kernel.
struct MakeOptions {
  CompileHooks hooks = {};
  std::map<std::string, std::int64_t> sizes = {};  ///< launch symbols known already, for choosing among winners
  bool compile = true;                             ///< false: the first launch or prepare() compiles
};
/// Module::kernel. `signature` may be empty: then nothing is known about how the kernel will be called. Throws Error.
AnyKernel make_kernel(const ModuleImpl& module, const std::string& name, const Consts& constants, const Options& options,
                      std::span<const SignatureEntry> signature, const MakeOptions& more);

/// A kernel from Tile IR alone, without optional views. Throws Error.
AnyKernel kernel_from_ir(std::unique_ptr<ir::Kernel> kernel, std::shared_ptr<const SourceMap> sources, const Options& options,
                         const CompileHooks& hooks = {});

}  // namespace tessera::detail
