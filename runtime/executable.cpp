#include "runtime/executable.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "codegen/cpu/compile.h"
#include "dsl/interpret.h"
#include "runtime/cpu_pool.h"
#include "runtime/errors.h"

namespace tessera {

void need_host(const Context& context) {
  if (context.is_cuda()) {
    fail(Code::E0804, fmt::format("the kernel was made for the host, but is launched on {}", context.target()),
         "give Options::context, or a target cuda, when making the kernel");
  }
}

namespace {

[[noreturn]] void refuse_graph() {
  fail(Code::E0804, "only kernels made for a GPU can be nodes of a CUDA graph", "make the kernel with Options::context = Context::cuda()");
}

}  // namespace

GraphNode Executable::add_node(const Context&, Graph, std::span<const GraphNode>, const Launch&) const { refuse_graph(); }
void Executable::update_node(const Context&, GraphExec, GraphNode, const Launch&) const { refuse_graph(); }

namespace {

class Interpreted : public Executable {
 public:
  Interpreted(const ir::Kernel& kernel, std::shared_ptr<const SourceMap> sources, bool exact)
      : kernel_(kernel), sources_(std::move(sources)), exact_(exact) {}

  void prepare(const Context& context) const override { need_host(context); }
  void run(const Context& context, const Launch& launch, const std::function<void(const std::string&)>& print) const override {
    need_host(context);
    if (launch.instances == 0) return;
    try {
      interpret(kernel_, std::vector<std::uint64_t>(launch.frame.begin(), launch.frame.end()), {.exact = exact_, .print = print});
    } catch (const InterpretError& e) {
      Diagnostic d;
      d.code = Code::E0805;
      d.span = e.span;
      d.message = e.what();
      throw to_error(d, *sources_);
    }
  }

 private:
  const ir::Kernel& kernel_;
  std::shared_ptr<const SourceMap> sources_;
  bool exact_;
};

/// Machine code whose instances the pool's threads share.
class Compiled : public Executable {
 public:
  Compiled(std::shared_ptr<CpuLoader> loader, CpuKernel code, std::vector<CpuCheck> checks, std::shared_ptr<const SourceMap> sources)
      : loader_(std::move(loader)), code_(std::move(code)), checks_(std::move(checks)), sources_(std::move(sources)) {}

  void prepare(const Context& context) const override { need_host(context); }
  void run(const Context& context, const Launch& launch, const std::function<void(const std::string&)>&) const override {
    need_host(context);
    struct State {
      const Compiled* self;
      const Launch* launch;
    } state{this, &launch};
    context.pool().run(
        launch.instances, std::max(code_.arena_bytes, sizeof(CpuReport)),
        [](void* p, std::int64_t first, std::int64_t count, void* arena) {
          const State& s = *static_cast<const State*>(p);
          s.self->run_range(*s.launch, first, count, arena);
        },
        &state);
  }

 private:
  void run_range(const Launch& launch, std::int64_t first, std::int64_t count, void* arena) const {
    std::memset(arena, 0, sizeof(CpuReport));
    code_.range_entry(launch.frame.data(), first, count, launch.grid.data(), arena);
    CpuReport report;
    std::memcpy(&report, arena, sizeof report);
    if (checks_.empty() || report.failed_check == 0) return;
    const CpuCheck& check = checks_.at(static_cast<std::size_t>(report.failed_check - 1));
    Diagnostic d;
    d.code = Code::E0805;
    d.span = check.span;
    d.message = fmt::format("{}, in grid instance {}", check.message.empty() ? "an assertion failed" : check.message, report.instance);
    throw to_error(d, *sources_);
  }

  std::shared_ptr<CpuLoader> loader_;
  CpuKernel code_;
  std::vector<CpuCheck> checks_;
  std::shared_ptr<const SourceMap> sources_;
};

}  // namespace

std::unique_ptr<Executable> interpreted(const ir::Kernel& kernel, std::shared_ptr<const SourceMap> sources, bool exact) {
  return std::make_unique<Interpreted>(kernel, std::move(sources), exact);
}

std::unique_ptr<Executable> linked(CpuObject object, std::shared_ptr<CpuLoader> loader, std::shared_ptr<const SourceMap> sources) {
  CpuKernel code = loader->load(object);
  return std::make_unique<Compiled>(std::move(loader), std::move(code), std::move(object.checks), std::move(sources));
}

std::shared_ptr<CpuLoader> LazyLoader::get() {
  std::call_once(once_, [this] { loader_ = std::make_shared<CpuLoader>(); });
  return loader_;
}

}  // namespace tessera
