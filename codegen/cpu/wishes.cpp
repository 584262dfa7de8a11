#include "codegen/cpu/wishes.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "codegen/cpu/emitter.h"
#include "codegen/passes/named.h"

namespace tessera::cpu {
void refuse(const ir::Kernel& kernel, Span span, const std::string& directive, const std::string& why, Diagnostics& diagnostics) {
  Diagnostic d;
  d.code = Code::E0804;
  d.span = span;
  d.message = fmt::format("`{}` cannot run on the CPU: its schedule says `{}`, but {}", kernel.name, directive, why);
  diagnostics.add(std::move(d));
}

Wishes wishes_of(const ir::Kernel& kernel, const Schedule& schedule, Diagnostics& diagnostics) {
  Wishes out;
  for (const ScheduleDirective& d : schedule.directives) {
    const auto no = [&](const std::string& asked, const std::string& why) {
      refuse(kernel, d.span, std::string(info(d.kind).name) + (asked.empty() ? "" : " " + asked), why, diagnostics);
    };
    const auto number = [](const ScheduleArg& a) { return a.subject + (a.subject.empty() ? "" : ": ") + std::to_string(a.number.value_or(0)); };
    switch (d.kind) {
      case DirectiveKind::Unroll:
        for (const ScheduleArg& a : d.args) {
          if (!a.number) continue;  // a tuned number that nobody has given
          if (*a.number < 1 || *a.number > ir::kMostUnrolled) {
            no(number(a), fmt::format("a loop is unrolled by 1 to {}", ir::kMostUnrolled));
          } else if (const std::string why = ir::why_no_loop(kernel, a.subject); !why.empty()) {
            no(number(a), why);
          }
          for (const ir::Op* loop : ir::loops_named(kernel, a.subject)) out.unrolls[loop] = {static_cast<int>(*a.number), d.span};
        }
        break;
      case DirectiveKind::Parallel: {
        std::set<std::string> axes;
        std::string all;
        for (const ScheduleArg& a : d.args) {
          axes.insert(a.subject);
          all += (all.empty() ? "" : ", ") + a.subject;
          if (!ir::has_axis(kernel, a.subject)) no(a.subject, fmt::format("`{}` is no axis of the grid", a.subject));
        }
        const bool missing = std::any_of(kernel.grid.begin(), kernel.grid.end(), [&](const ir::GridAxis& a) { return !axes.contains(a.name); });
        if (missing) no(all, "threads divide the instances of all axes of the grid");
        break;
      }
      case DirectiveKind::Vector:
        for (const ScheduleArg& a : d.args) {
          if (a.number && *a.number != kLanes)
            no(number(a), fmt::format("a vector has {} lanes on every processor: the order of sums, and with it results, follows from them", kLanes));
        }
        break;
      case DirectiveKind::BlockBy:
        for (const ScheduleArg& a : d.args)
          no(number(a), "the caches' blocks of a product are the compiler's: those of k decide the order of its sums");
        break;
      case DirectiveKind::Fibers: no("", "kernels whose instances wait for others do not run here"); break;
      // Of other targets.
      case DirectiveKind::Roles:
      case DirectiveKind::Regs:
      case DirectiveKind::Ring:
      case DirectiveKind::Skew:
      case DirectiveKind::PingPong:
      case DirectiveKind::Persistent:
      case DirectiveKind::Divide:
      case DirectiveKind::Cluster:
      case DirectiveKind::Multicast:
      case DirectiveKind::Home:
      case DirectiveKind::Store:
      case DirectiveKind::Swizzle:
      case DirectiveKind::Cache: break;
    }
  }
  return out;
}

}  // namespace tessera::cpu
