#include "runtime/launch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "runtime/cuda_device.h"
#include "runtime/errors.h"
#include "runtime/overlap.h"

namespace tessera {

using ir::Mode;
using ir::Param;

namespace {

constexpr std::size_t none = static_cast<std::size_t>(-1);

bool is_power_of_two_aligned(std::uintptr_t p, int bits) { return bits < 8 || p % static_cast<std::uintptr_t>(bits / 8) == 0; }

std::string type_text(const Param& p) { return p.nominal.empty() ? name(p.dtype) : p.nominal; }
std::string type_text(ElementType t, std::string_view nominal) { return nominal.empty() ? std::string(name(t)) : std::string(nominal); }

/// idx lives in memory as i64.
bool same_type(ElementType given, DType wanted) {
  return given == static_cast<ElementType>(wanted) || (given == ElementType::I64 && wanted == DType::Idx);
}

bool written(const Param& p) { return p.mode != Mode::In; }

const char* access_name(Access a) {
  switch (a) {
    case Access::In: return "In";
    case Access::Out: return "Out";
    case Access::InOut: return "InOut";
    case Access::Scatter: return "Scatter";
    case Access::Add: return "Add";
    case Access::Any: return "any";
  }
  TESSERA_UNREACHABLE("bad access");
}

StridedBox box(const Tensor& t) {
  const auto rank = static_cast<std::size_t>(t.rank);
  return {reinterpret_cast<std::uintptr_t>(t.data), bits(t.dtype), std::span(t.extents).first(rank), std::span(t.strides).first(rank)};
}

bool same_memory(const Tensor& a, const Tensor& b) {
  if (a.data != b.data || a.rank != b.rank || bits(a.dtype) != bits(b.dtype)) return false;
  for (std::size_t i = 0; i < static_cast<std::size_t>(a.rank); ++i) {
    if (a.extents[i] != b.extents[i] || (a.extents[i] > 1 && a.strides[i] != b.strides[i])) return false;
  }
  return true;
}

}  // namespace

LaunchPlan::LaunchPlan(const ir::Kernel& kernel, std::shared_ptr<const SourceMap> sources)
    : name_(kernel.name),
      params_(kernel.params),
      symbols_(kernel.symbols),
      layout_(frame_layout(kernel)),
      span_(kernel.span),
      sources_(std::move(sources)) {
  for (std::size_t i = 0; i < params_.size(); ++i) {
    const Param& p = params_[i];
    if (!p.is_view) continue;
    if (!p.present) continue;
    if (p.dims.size() > static_cast<std::size_t>(max_rank))
      refuse(Code::E0703, i, fmt::format("`{}` has {} axes; at most {} are supported", p.name, p.dims.size(), max_rank));
    if (p.peers != 0) refuse(Code::E0804, i, fmt::format("`{}` is a view of several devices, which this target does not have", p.name));
    views_.push_back(i);
  }
  plan_axes(kernel);
  const auto symbol_number = [this](const std::string& s) { return number(s); };
  for (const SymCondition& c : kernel.where) {
    Where w{c.op, SymProgram(c.lhs, symbol_number), {}, {}, c.lhs.str()};
    std::vector<std::string> members;
    for (const Sym& r : c.rhs) {
      w.rhs.emplace_back(r, symbol_number);
      members.push_back(r.str());
    }
    w.text = c.rhs.size() == 1 ? fmt::format("{} {} {}", c.lhs.str(), text(c.op), members[0])
                               : fmt::format("{} in {{{}}}", c.lhs.str(), fmt::join(members, ", "));
    where_.push_back(std::move(w));
  }
  plan_scalar_checks(kernel);
  for (const ir::GridAxis& g : kernel.grid) grid_.emplace_back(g.count, symbol_number);
  for (const auto& [write, read] : kernel.in_place) {
    const auto index = [&](const std::string& n) {
      return static_cast<std::size_t>(std::find_if(params_.begin(), params_.end(), [&](const Param& p) { return p.name == n; }) - params_.begin());
    };
    in_place_.emplace_back(index(write), index(read));
  }
}

std::optional<std::size_t> LaunchPlan::number(const std::string& symbol) const {
  const auto at = std::find(symbols_.begin(), symbols_.end(), symbol);
  if (at == symbols_.end()) return std::nullopt;
  return static_cast<std::size_t>(at - symbols_.begin());
}

void LaunchPlan::plan_axes(const ir::Kernel& kernel) {
  bound_by_.assign(symbols_.size(), none);
  std::vector<Axis> rest;
  for (std::size_t i : views_) {
    for (std::size_t axis = 0; axis < params_[i].dims.size(); ++axis) {
      const Sym& dim = params_[i].dims[axis];
      Axis a{i, axis, none, 1, 0, SymProgram(dim, [this](const std::string& s) { return number(s); }), dim.str()};
      const std::vector<std::string> names = dim.symbols();
      if (names.size() == 1 && dim.is_plain_polynomial()) {
        const std::optional<std::int64_t> mul = dim.coefficient(names[0]);
        const std::optional<std::size_t> n = number(names[0]);
        if (mul && *mul > 0 && n && bound_by_[*n] == none) {
          const std::optional<std::int64_t> add = (dim - Sym(*mul) * Sym::symbol(names[0])).as_constant();
          if (add) {
            a.symbol = *n;
            a.mul = *mul;
            a.add = *add;
            bound_by_[*n] = binders_.size();
            binders_.push_back(std::move(a));
            continue;
          }
        }
      }
      checks_.push_back(std::move(a));
    }
  }
  // Symbols that only an absent view would have bound are missing if anything still reads them.
  std::vector<bool> read(symbols_.size(), false);
  const auto reads = [&](const Sym& s) {
    for (const std::string& n : s.symbols()) {
      if (const std::optional<std::size_t> at = number(n)) read[*at] = true;
    }
  };
  for (std::size_t i : views_) {
    for (const Sym& d : params_[i].dims) reads(d);
  }
  for (const SymCondition& c : kernel.where) {
    reads(c.lhs);
    for (const Sym& r : c.rhs) reads(r);
  }
  for (const ir::GridAxis& g : kernel.grid) reads(g.count);
  ir::walk(kernel.body, [&](const ir::Op& op) {
    if (op.kind == ir::OpKind::Sym) reads(Sym::symbol(op.string_attr(ir::Attr::Name)));
  });
  for (std::size_t s = 0; s < symbols_.size(); ++s) {
    if (read[s] && bound_by_[s] == none) {
      refuse(Code::E0708, none, fmt::format("`{}` is the extent of no given view, so its value is unknown", symbols_[s]),
             "give the optional view whose shape names it");
    }
  }
}

void LaunchPlan::refuse(Code code, std::size_t param, const std::string& message, const std::string& help) const {
  Diagnostic d;
  d.code = code;
  d.span = param == none ? span_ : params_[param].span;
  d.message = message;
  d.help = help;
  throw to_error(d, *sources_);
}

void LaunchPlan::extents_disagree(const Axis& axis, std::int64_t extent, const std::string& why, std::span<const std::int64_t> values) const {
  const Param& p = params_[axis.param];
  Diagnostic d;
  d.code = Code::E0704;
  d.span = p.span;
  d.message = fmt::format("`{}` has extent {} in axis {} (`{}`), but {}", p.name, extent, axis.axis, axis.text, why);
  for (std::size_t s : axis.dim.uses()) {
    if (s >= bound_by_.size() || bound_by_[s] == none || s == axis.symbol) continue;
    const Axis& b = binders_[bound_by_[s]];
    d.labels.push_back(
        {params_[b.param].span, fmt::format("`{}` = {} bound here by axis {} of `{}`", symbols_[s], values[s], b.axis, params_[b.param].name)});
  }
  throw to_error(d, *sources_);
}

void LaunchPlan::check_view(std::size_t i, const Argument& a, const Context& context) const {
  const Param& p = params_[i];
  if (a.is_absent()) {
    refuse(Code::E0708, i, fmt::format("view `{}` is missing", p.name));
  }
  const Tensor* t = a.tensor();
  if (!t) refuse(Code::E0702, i, fmt::format("`{}` is a view, but a scalar is given", p.name));
  if (!same_type(t->dtype, p.dtype)) {
    refuse(Code::E0702, i, fmt::format("`{}` has elements of type `{}`, but `{}` is given", p.name, type_text(p), type_text(t->dtype, t->nominal)));
  }
  if (!t->nominal.empty() && t->nominal != p.nominal) {
    refuse(Code::E0702, i, fmt::format("`{}` has elements of type `{}`, but `{}` is given", p.name, type_text(p), t->nominal));
  }
  if (t->rank < 0 || static_cast<std::size_t>(t->rank) != p.dims.size()) {
    refuse(Code::E0703, i, fmt::format("`{}` has {} axes, but a tensor of {} is given", p.name, p.dims.size(), t->rank));
  }
  const auto wanted = static_cast<Access>(p.mode);
  if (a.access() != Access::Any && a.access() != wanted) {
    refuse(Code::E0711, i,
           fmt::format("`{}` is declared {}, but given as {}", p.name, p.mode == Mode::In ? "to be read only" : fmt::format("`{}`", ir::name(p.mode)),
                       access_name(a.access())));
  }
  if (t->read_only && written(p))
    refuse(Code::E0711, i, fmt::format("`{}` is written (`{}`), but the tensor is read-only", p.name, ir::name(p.mode)));
  check_memory(i, *t);
  check_location(i, *t, context);
}

void LaunchPlan::check_location(std::size_t i, const Tensor& t, const Context& context) const {
  const auto text = [](Location l) {
    switch (l.kind) {
      case Location::Kind::Unstated: break;
      case Location::Kind::Host: return std::string("in the host's memory");
      case Location::Kind::Cuda: return fmt::format("on GPU {}", l.device);
    }
    return std::string("nowhere");
  };
  const Location wanted = context.location();
  const auto elsewhere = [&](Location l) {
    refuse(Code::E0710, i,
           fmt::format("`{}` lies {}, but the kernel runs {}", params_[i].name, text(l), context.is_cuda() ? text(wanted) : "on the CPU"),
           context.is_cuda() ? "copy it into a DeviceBuffer of the context" : "copy it to the host, or launch on the GPU's context");
  };
  if (t.location.kind != Location::Kind::Unstated) {
    if (t.location != wanted) elsewhere(t.location);
  } else if (context.is_cuda() && t.data && !context.gpu()->reaches(t.data)) {
    elsewhere(Location::host());
  }
}

void LaunchPlan::check_memory(std::size_t i, const Tensor& t) const {
  const Param& p = params_[i];
  const auto rank = static_cast<std::size_t>(t.rank);
  const int width = bits(p.dtype);
  bool empty = false;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    if (t.extents[axis] < 0) refuse(Code::E0704, i, fmt::format("`{}` has the negative extent {} in axis {}", p.name, t.extents[axis], axis));
    empty |= t.extents[axis] == 0;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(t.data);
  if (!t.data && !empty) refuse(Code::E0710, i, fmt::format("`{}` is a null pointer", p.name));
  if (!is_power_of_two_aligned(address, width)) {
    refuse(Code::E0710, i,
           fmt::format("`{}` starts at address {:#x}, which is not a multiple of its element's {} bytes", p.name, address, width / 8));
  }
  std::int64_t reach = 0;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const std::int64_t extent = t.extents[axis], stride = t.strides[axis];
    if (extent < 2) continue;  // the stride is never used
    if (stride < 0) refuse(Code::E0706, i, fmt::format("`{}` has the negative stride {} in axis {}", p.name, stride, axis));
    if (axis + 1 == rank && stride != 1 && !p.strided) {
      refuse(Code::E0706, i, fmt::format("`{}` has stride {} in its last axis, which must be contiguous", p.name, stride),
             "declare the view `strided`, or copy the tensor");
    }
    if (width < 8 && ((axis + 1 == rank) ? extent % 2 != 0 : stride % 2 != 0)) {
      refuse(Code::E0706, i,
             fmt::format("rows of `{}` do not start on a byte: {} elements of {} bits", p.name, axis + 1 == rank ? extent : stride, width));
    }
    std::int64_t step = 0;
    if (!empty && (__builtin_mul_overflow(extent - 1, stride, &step) || __builtin_add_overflow(reach, step, &reach))) reach = INT64_MAX;
  }
  // Half the address space, so that differences of addresses fit 64 bits.
  if (!empty && (reach >= INT64_MAX / 16 || address > static_cast<std::uintptr_t>(INT64_MAX) ||
                 address + static_cast<std::uintptr_t>(reach) * 8 > static_cast<std::uintptr_t>(INT64_MAX))) {
    refuse(Code::E0706, i, fmt::format("`{}` reaches beyond the address space", p.name));
  }
  if (written(p) && overlaps_itself(box(t))) {
    refuse(Code::E0706, i,
           fmt::format("`{}` is written, but its strides [{}] make elements overlap", p.name,
                       fmt::join(t.strides.begin(), t.strides.begin() + t.rank, ", ")));
  }
}

std::uint64_t LaunchPlan::check_scalar(std::size_t i, const Argument& a) const {
  const Param& p = params_[i];
  if (a.is_absent()) refuse(Code::E0708, i, fmt::format("scalar `{}` is missing", p.name));
  const Scalar* s = a.scalar();
  if (!s) refuse(Code::E0702, i, fmt::format("`{}` is a scalar, but a tensor is given", p.name));
  const auto given = static_cast<DType>(s->dtype);
  if ((!s->nominal.empty() && s->nominal != p.nominal) || (is_int(p.dtype) ? !is_int(given) : given != p.dtype)) {
    refuse(Code::E0702, i, fmt::format("`{}` has type `{}`, but `{}` is given", p.name, type_text(p), type_text(s->dtype, s->nominal)));
  }
  if (!is_int(p.dtype)) return s->bits;
  const auto value = static_cast<std::int64_t>(s->bits);
  const bool huge = given == DType::U64 && value < 0;  // 2^63 and more
  const bool fits = p.dtype == DType::U64 ? (huge || value >= 0) : (!huge && value >= int_min(p.dtype) && value <= int_max(p.dtype));
  if (!fits) {
    refuse(Code::E0712, i,
           fmt::format("{} does not fit `{}` of type `{}`", huge ? fmt::format("{}", s->bits) : fmt::format("{}", value), p.name, name(p.dtype)));
  }
  return s->bits;
}

void LaunchPlan::bind_symbols(std::span<const Argument> arguments, std::span<std::int64_t> values) const {
  for (const Axis& a : binders_) {
    const std::int64_t extent = arguments[a.param].tensor()->extents[a.axis];
    std::int64_t scaled = 0;
    if (__builtin_sub_overflow(extent, a.add, &scaled) || scaled < 0 || scaled % a.mul != 0) {
      extents_disagree(a, extent, fmt::format("no value of `{}` gives that", symbols_[a.symbol]), values);
    }
    values[a.symbol] = scaled / a.mul;
  }
  for (const Axis& a : checks_) {
    const std::int64_t extent = arguments[a.param].tensor()->extents[a.axis];
    const std::optional<std::int64_t> wanted = a.dim.eval(values);
    if (!wanted) extents_disagree(a, extent, fmt::format("`{}` does not fit 64 bits", a.text), values);
    if (*wanted != extent)
      extents_disagree(a, extent, a.dim.uses().empty() ? fmt::format("must have {}", *wanted) : fmt::format("`{}` is {}", a.text, *wanted), values);
  }
}

void LaunchPlan::check_where(std::span<const std::int64_t> values) const {
  for (const Where& w : where_) {
    const std::optional<std::int64_t> lhs = w.lhs.eval(values);
    bool ok = false;
    for (const SymProgram& r : w.rhs) {
      const std::optional<std::int64_t> value = r.eval(values);
      ok |= lhs && value && holds(w.op, *lhs, *value);
    }
    if (!ok) {
      std::vector<std::string> rhs;
      for (const SymProgram& r : w.rhs) {
        const std::optional<std::int64_t> value = r.eval(values);
        rhs.push_back(value ? std::to_string(*value) : "too large");
      }
      refuse(Code::E0705, none,
             fmt::format("`{}` does not hold: {} {} {}", w.text, lhs ? std::to_string(*lhs) : "too large", w.rhs.size() == 1 ? text(w.op) : "in",
                         w.rhs.size() == 1 ? rhs[0] : fmt::format("{{{}}}", fmt::join(rhs, ", "))));
    }
  }
}

namespace {

/// `x op y` as `y op x`.
ir::OpKind turned(ir::OpKind k) {
  using enum ir::OpKind;
  return k == Lt ? Gt : k == Le ? Ge : k == Gt ? Lt : Le;
}

std::string_view symbol(ir::OpKind k) {
  using enum ir::OpKind;
  return k == Lt ? "<" : k == Le ? "<=" : k == Gt ? ">" : ">=";
}

std::optional<double> number_of(const ir::Value* v) {
  if (!v->def || v->def->kind != ir::OpKind::Const) return std::nullopt;
  const DType t = ir::tile(v->type).dtype;
  if (is_float(t)) return v->def->float_attr(ir::Attr::Value);
  return static_cast<double>(v->def->int_attr(ir::Attr::Value));
}

}  // namespace

void LaunchPlan::plan_scalar_checks(const ir::Kernel& kernel) {
  std::vector<std::size_t> arguments;  // body argument -> parameter
  for (std::size_t p = 0; p < params_.size(); ++p) {
    if (params_[p].present) arguments.push_back(p);
  }
  const auto add = [&](const ir::Value* x, ir::OpKind op, const ir::Value* y) {
    const std::optional<double> bound = number_of(y);
    if (x->def || x->block != &kernel.body || x->index >= arguments.size() || !bound) return false;
    const std::size_t p = arguments[x->index];
    if (params_[p].is_view || is_bool(params_[p].dtype)) return false;
    scalar_checks_.push_back({p, op, *bound, fmt::format("{} {} {}", params_[p].name, symbol(op), *bound)});
    return true;
  };
  for (const auto& op : kernel.body.ops) {
    if (op->kind != ir::OpKind::Assert) continue;
    std::vector<const ir::Value*> work{op->operands[0]};
    while (!work.empty()) {
      const ir::Op* c = work.back()->def;
      work.pop_back();
      if (!c) continue;
      using enum ir::OpKind;
      if (c->kind == And) work.insert(work.end(), c->operands.begin(), c->operands.end());
      if (c->kind != Lt && c->kind != Le && c->kind != Gt && c->kind != Ge) continue;
      add(c->operands[0], c->kind, c->operands[1]) || add(c->operands[1], turned(c->kind), c->operands[0]);
    }
  }
}

void LaunchPlan::check_scalars(std::span<const std::uint64_t> frame) const {
  for (const ScalarCheck& c : scalar_checks_) {
    const DType t = params_[c.param].dtype;
    const std::uint64_t bits = frame[layout_.params[c.param].base];
    const double x = is_float(t) ? decode_float(t, bits) : is_signed(t) ? static_cast<double>(decode_int(t, bits)) : static_cast<double>(bits);
    using enum ir::OpKind;
    const bool ok = c.op == Lt ? x < c.bound : c.op == Le ? x <= c.bound : c.op == Gt ? x > c.bound : x >= c.bound;
    if (!ok) refuse(Code::E0705, c.param, fmt::format("`{}` is asserted, but `{}` is {}", c.text, params_[c.param].name, x));
  }
}

void LaunchPlan::check_aliases(std::span<const Argument> arguments) const {
  for (std::size_t w : views_) {
    if (!written(params_[w])) continue;
    const Tensor& a = *arguments[w].tensor();
    for (std::size_t r : views_) {
      if (r == w || (r < w && written(params_[r]))) continue;  // each pair once
      const Tensor& b = *arguments[r].tensor();
      if (!overlap(box(a), box(b))) continue;
      const auto allowed = std::find_if(in_place_.begin(), in_place_.end(), [&](const auto& pair) {
        return (pair.first == w && pair.second == r) || (pair.first == r && pair.second == w);
      });
      if (allowed != in_place_.end() && same_memory(a, b)) continue;
      Diagnostic d;
      d.code = Code::E0707;
      d.span = params_[w].span;
      d.message = fmt::format("`{}` is written and shares memory with `{}`", params_[w].name, params_[r].name);
      d.labels.push_back({params_[r].span, fmt::format("`{}` declared here", params_[r].name)});
      if (allowed != in_place_.end()) d.help = "the kernel works in place only if both views are exactly the same";
      throw to_error(d, *sources_);
    }
  }
}

Launch LaunchPlan::bind(std::span<const Argument> arguments, const Context& context) const {
  if (arguments.size() != params_.size()) {
    refuse(Code::E0701, none,
           fmt::format("kernel `{}` has {} parameter{}, but {} {} given", name_, params_.size(), params_.size() == 1 ? "" : "s", arguments.size(),
                       arguments.size() == 1 ? "is" : "are"));
  }
  Launch out;
  out.frame.assign_zero(layout_.words);
  InlineVector<std::int64_t, 32> values(symbols_.size());
  for (std::size_t i = 0; i < params_.size(); ++i) {
    const Param& p = params_[i];
    if (!p.is_view) {
      out.frame[layout_.params[i].base] = check_scalar(i, arguments[i]);
    } else if (p.present) {
      check_view(i, arguments[i], context);
    } else {
      TESSERA_ASSERT(arguments[i].is_absent(), "a view is given to a form of the kernel without it");
    }
  }
  bind_symbols(arguments, values);
  check_where(values);
  check_aliases(arguments);
  for (std::size_t i : views_) {
    const Tensor& t = *arguments[i].tensor();
    const FrameSlot& slot = layout_.params[i];
    out.frame[slot.base] = reinterpret_cast<std::uintptr_t>(t.data);
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(t.rank); ++axis) {
      out.frame[slot.extents + axis] = static_cast<std::uint64_t>(t.extents[axis]);
      // Code may rely on a contiguous last axis even where its stride is never used.
      const bool last = axis + 1 == static_cast<std::size_t>(t.rank);
      out.frame[slot.strides + axis] = last && t.extents[axis] < 2 ? 1 : static_cast<std::uint64_t>(t.strides[axis]);
    }
  }
  for (std::size_t s = 0; s < symbols_.size(); ++s) out.frame[layout_.symbols[s]] = static_cast<std::uint64_t>(values[s]);
  check_scalars({out.frame.data(), out.frame.size()});
  out.instances = 1;
  for (const SymProgram& g : grid_) {
    const std::optional<std::int64_t> count = g.eval(values);
    if (!count || __builtin_mul_overflow(out.instances, std::max<std::int64_t>(0, *count), &out.instances)) {
      refuse(Code::E0705, none, "the grid has more than 2^63 instances");
    }
    out.grid.push_back(std::max<std::int64_t>(0, *count));
  }
  return out;
}

}  // namespace tessera
