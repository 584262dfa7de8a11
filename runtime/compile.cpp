#include "runtime/compile.h"

#include <fmt/format.h>

#include <chrono>

#include "dsl/interpret.h"
#include "dsl/text.h"
#include "dsl/verify.h"
#include "runtime/errors.h"

namespace tessera {
namespace {

struct TargetInfo {
  Target target;
  const char* name;
  const char* family;
  const char* description;
};
constexpr TargetInfo targets[] = {
    {Target::Cpu, "cpu", "cpu", "machine code for this processor, on a pool of threads"},
    {Target::Interp, "interp", "", "the reference interpreter: every operation rounds to its type"},
    {Target::InterpExact, "interp:exact", "", "the reference interpreter in float64 without rounding: the numerical oracle"},
};

const TargetInfo& target_info(Target t) { return targets[static_cast<std::size_t>(t)]; }

class Interpreted : public Executable {
 public:
  Interpreted(const ir::Kernel& kernel, std::shared_ptr<const SourceMap> sources, bool exact)
      : kernel_(kernel), sources_(std::move(sources)), exact_(exact) {}

  void run(const Context&, const Launch& launch, const std::function<void(const std::string&)>& print) const override {
    if (launch.instances == 0) return;
    try {
      interpret(kernel_, launch.frame, {.exact = exact_, .print = print});
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

}  // namespace

std::optional<Target> target_from_name(const std::string& name) {
  for (const TargetInfo& t : targets) {
    if (name == t.name) return t.target;
  }
  return std::nullopt;
}
const char* name(Target t) { return target_info(t).name; }
const char* schedule_family(Target t) { return target_info(t).family; }
const char* describe(Target t) { return target_info(t).description; }
std::vector<Target> all_targets() {
  std::vector<Target> out;
  for (const TargetInfo& t : targets) out.push_back(t.target);
  return out;
}

std::unique_ptr<Executable> compile(ir::Kernel& kernel, const Schedule&, const std::shared_ptr<const SourceMap>& sources,
                                    const CompileOptions& options, Diagnostics&) {
  ir::verify_or_die(kernel, "lower");
  switch (options.target) {
    case Target::Interp: return std::make_unique<Interpreted>(kernel, sources, false);
    case Target::InterpExact: return std::make_unique<Interpreted>(kernel, sources, true);
    case Target::Cpu: break;
  }
  return nullptr;
}

}  // namespace tessera
