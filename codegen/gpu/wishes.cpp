#include "codegen/gpu/wishes.h"

#include <fmt/format.h>

#include "codegen/passes/named.h"

namespace tessera::gpu {
namespace {

constexpr std::int64_t kMostSlots = 8, kMostAskingWarps = 4, kMostGroups = 4, kMostCtas = 2, kMostGroupRows = 1 << 16;
/// Of setmaxnreg: a multiple of 8 (PTX ISA).
constexpr std::int64_t kFewestRegisters = 24, kMostRegisters = 256;

[[noreturn]] void refuse(const ScheduleDirective& d, const std::string& asked, const std::string& why) {
  gpu::refuse(d.span, fmt::format("{} {}", info(d.kind).name, asked), why);
}

/// The number of an argument that has one, within bounds.
Wish number(const ScheduleDirective& d, const ScheduleArg& a, std::int64_t least, std::int64_t most, const std::string& what) {
  const std::string asked = (a.subject.empty() ? "" : a.subject + ": ") + std::to_string(*a.number);
  if (*a.number < least || *a.number > most) refuse(d, asked, fmt::format("{} {} to {}", what, least, most));
  return {*a.number, d.span};
}

/// An argument as it was written.
std::string text_of(const ScheduleArg& a) {
  std::string out = a.subject;
  if (a.index) out += fmt::format(" {}", *a.index);
  if (a.number || !a.word.empty()) out += ": " + (a.number ? std::to_string(*a.number) : a.word);
  return out;
}

Wish registers(const ScheduleDirective& d, const ScheduleArg& a) {
  const Wish w = number(d, a, kFewestRegisters, kMostRegisters, "a thread has");
  if (w.number % 8 != 0) refuse(d, fmt::format("{}: {}", a.subject, w.number), "registers are given in eights");
  return w;
}

/// What stands behind the colon of the directive's arguments is a number.
bool of_numbers(DirectiveKind k) { return std::string_view(info(k).words).empty() || k == DirectiveKind::Roles || k == DirectiveKind::Regs; }

void read(const ScheduleDirective& d, const ScheduleArg& a, Wishes& out) {
  // A name that stands for a tuned number which nobody has given: the compiler's choice.
  const bool named = d.kind == DirectiveKind::Multicast && a.word.empty();
  if (!a.number && of_numbers(d.kind) && !named) return;
  switch (d.kind) {
    case DirectiveKind::Roles:
      if (a.subject == "producer") out.asks = number(d, a, 0, kMostAskingWarps, "the warps that ask for tiles are").number > 0;
      if (a.subject == "consumer") {
        // 0, as `BM / 64` is of small tiles: whatever computes.
        out.groups = number(d, a, 0, kMostGroups, "the warpgroups that compute are");
        if (out.groups->number == 0) out.groups.reset();
      }
      return;
    case DirectiveKind::Regs: (a.subject == "producer" ? out.asking : out.computing) = registers(d, a); return;
    case DirectiveKind::Ring: out.slots[a.subject] = number(d, a, 1, kMostSlots, "the slots of a ring are"); return;
    case DirectiveKind::Skew:
      if (number(d, a, 0, 1, "a product runs behind by").number == 0) {
        out.in_step.insert(a.subject);
      } else {
        out.in_step.erase(a.subject);
      }
      return;
    case DirectiveKind::Persistent:
      if (a.subject == "off") out.persistence = Persistence::Off;
      if (a.subject == "static") out.persistence = Persistence::Static;
      if (a.subject == "dynamic") out.persistence = Persistence::Dynamic;
      if (a.subject == "row_major") out.row_major = true;
      if (a.subject == "longest_first") out.row_major = false;
      return;
    case DirectiveKind::PingPong: out.turns = *a.number != 0; return;
    case DirectiveKind::Swizzle: out.group_rows = number(d, a, 0, kMostGroupRows, "groups have").number; return;
    case DirectiveKind::Store:
      if (a.word == "direct") {
        out.direct_stores.insert(a.subject);
      } else {
        out.direct_stores.erase(a.subject);
      }
      return;
    case DirectiveKind::Cluster:
      if (d.args.size() > 1) refuse(d, fmt::format("{}: {}", a.subject, *a.number), "clusters lie along one axis");
      out.cluster = {a.subject, number(d, a, 1, kMostCtas, "the CTAs of a cluster are")};
      return;
    case DirectiveKind::Multicast:
      if (a.number.value_or(1) != 0) {
        out.multicast[a.subject] = d.span;
      } else {
        out.multicast.erase(a.subject);
      }
      return;
    case DirectiveKind::Cache:
      if (a.word != "evict_first" && a.word != "evict_last") refuse(d, text_of(a), "a line of the cache is `evict_first` or `evict_last`");
      out.cache.push_back({a.subject, a.word == "evict_first" ? Eviction::First : Eviction::Last, d.span});
      return;
    case DirectiveKind::Home:
      if (a.word != "regs" && a.word != "smem") refuse(d, text_of(a), "an operand's home is `regs` or `smem`");
      out.homes[a.subject] = {a.word == "regs", d.span};
      return;
    case DirectiveKind::Divide:
      if (!a.index || a.word != "group") refuse(d, text_of(a), "an axis of a value is divided by `group`, as in `divide acc 0: group`");
      if (*a.index < 0 || *a.index > 1) refuse(d, text_of(a), "the axes of a product's result are 0 and 1");
      out.divides[a.subject] = {static_cast<std::size_t>(*a.index), d.span};
      return;
    case DirectiveKind::Unroll: out.unrolls[a.subject] = number(d, a, 1, ir::kMostUnrolled, "a loop is unrolled by"); return;
    // Of other targets.
    case DirectiveKind::Parallel:
    case DirectiveKind::Vector:
    case DirectiveKind::BlockBy:
    case DirectiveKind::Fibers: return;
  }
}

}  // namespace

void refuse(Span span, std::string_view directive, std::string_view why) {
  throw Unsupported{span, fmt::format("its schedule says `{}`, but {}", directive, why)};
}

Wishes wishes_of(const Schedule& schedule) {
  Wishes out;
  for (const ScheduleDirective& d : schedule.directives) {
    for (const ScheduleArg& a : d.args) read(d, a, out);
  }
  return out;
}

}  // namespace tessera::gpu
