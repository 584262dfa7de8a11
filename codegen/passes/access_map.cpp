#include "codegen/passes/access_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "codegen/passes/pad_model.h"
#include "codegen/passes/rewrite.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

std::string Slot::str() const { return fmt::format("[{} +{} in {}..{} of {}]", start.str(), length.str(), lo.str(), hi.str(), extent.str()); }

std::string AccessMap::anonymous(std::size_t first) const {
  std::map<std::string, Sym> names;
  for (std::size_t i = first; i < variables.size(); ++i)
    names[variables[i].symbol] = Sym::symbol(fmt::format("${}<{}>", i, variables[i].count.str()));
  auto renamed = [&](const Sym& e) {
    return e.substitute([&](const std::string& n) {
      auto it = names.find(n);
      return it == names.end() ? std::nullopt : std::optional(it->second);
    });
  };
  std::string s;
  for (const Slot& x : slots) s += Slot{renamed(x.start), renamed(x.length), renamed(x.lo), renamed(x.hi), renamed(x.extent)}.str();
  for (const std::string& x : shape) s += x + ";";
  return s;
}

Sym rewrite_atoms(const Sym& e, const std::function<std::optional<Sym>(const SymAtom&)>& with) {
  Sym sum;
  for (const auto& [m, c] : e.terms()) {
    Sym product = c;
    for (const SymAtomRef& a : m) {
      std::optional<Sym> r = with(*a);
      if (!r) r = a->op == SymOp::Symbol ? Sym::symbol(a->text) : apply(a->op, rewrite_atoms(a->args[0], with), rewrite_atoms(a->args[1], with));
      product = product * *r;
    }
    sum = sum + product;
  }
  return sum;
}

namespace {

class Mapper {
 public:
  Mapper(Affine& affine, const Kernel& kernel, std::string& reason) : affine_(affine), kernel_(kernel), reason_(reason) {}

  std::optional<AccessMap> run(const Op& op) {
    if (!variables(op) || !views(op) || !indices(op) || !mask(op)) return std::nullopt;
    for (Slot& s : map_.slots)
      for (Sym* e : {&s.start, &s.length, &s.lo, &s.hi, &s.extent})
        *e = affine_.facts().normalise(e->substitute([&](const std::string& name) {
          auto it = loop_forms_.find(name);
          return it == loop_forms_.end() ? std::nullopt : std::optional(it->second);
        }));
    for (Variable& v : map_.variables) v.count = affine_.facts().normalise(v.count);
    return std::move(map_);
  }

 private:
  bool fail(std::string why) {
    reason_ = std::move(why);
    return false;
  }

  bool variables(const Op& op) {
    const std::size_t first = kernel_.body.args.size() - kernel_.grid.size();
    for (std::size_t i = 0; i < kernel_.grid.size(); ++i)
      map_.variables.push_back({*affine_.scalar(kernel_.body.args[first + i].get()).as_symbol(), kernel_.grid[i].count});
    std::vector<const Op*> around;
    for (const Op* o = op.parent->parent; o; o = o->parent->parent) around.push_back(o);
    for (auto it = around.rbegin(); it != around.rend(); ++it) {
      const Op& loop = **it;
      if (loop.kind == OpKind::If) continue;
      if (loop.kind != OpKind::For) return fail("it is accessed in a `while` loop");
      const Sym lo = affine_.scalar(loop.operands[0]), hi = affine_.scalar(loop.operands[1]), step = affine_.scalar(loop.operands[2]);
      const std::string iv = *affine_.scalar(loop.region().args[0].get()).as_symbol();
      if (!affine_.positive(step)) return fail("the step of the loop around it is not known to be positive");
      const std::string counter = "#" + iv;
      loop_forms_[iv] = lo + step * Sym::symbol(counter);
      map_.variables.push_back({counter, ceil_div(hi - lo, step)});
    }
    return true;
  }

  bool views(const Op& op) {
    std::vector<const Op*> steps;
    map_.root = view_root(access(op).view, &steps);
    if (!map_.root) return fail("its view is made at run time");
    for (const Op* s : steps) {
      const auto axis = static_cast<int>(s->int_attr(Attr::Axis));
      switch (s->kind) {
        case OpKind::ViewIndex: {
          const Sym extent = affine_.extent(s->operands[0], axis);
          map_.slots.push_back({affine_.scalar(s->operands[1]), 1, 0, extent, extent});
          map_.shape.push_back(fmt::format("index {}", axis));
          break;
        }
        case OpKind::ViewSpan: {
          const Sym extent = affine_.extent(s->operands[0], axis);
          const Sym lo = affine_.scalar(s->operands[1]), hi = affine_.scalar(s->operands[2]);
          if (lo == Sym(0) && affine_.nonnegative(hi - extent)) break;
          map_.slots.push_back({lo, hi - lo, 0, extent, extent});
          map_.shape.push_back(fmt::format("span {}", axis));
          break;
        }
        case OpKind::ViewPermute: {
          std::string perm = "permute";
          for (std::int64_t p : s->dims_attr(Attr::Perm)) perm += fmt::format(" {}", p);
          map_.shape.push_back(perm);
          break;
        }
        case OpKind::ViewMerge: map_.shape.push_back(fmt::format("merge {} {}", axis, s->int_attr(Attr::Last))); break;
        case OpKind::ViewSplit:
          if (!affine_.facts().proves_divisible(affine_.extent(s->operands[0], axis), Sym(s->int_attr(Attr::Size))))
            return fail("an axis is split without being a known multiple of the size");
          map_.shape.push_back(fmt::format("split {} {}", axis, s->int_attr(Attr::Size)));
          break;
        case OpKind::ViewPaged: return fail("it is accessed through a page table");
        case OpKind::ViewTake: return fail("its rows are picked by numbers in memory");
        default: return fail("it is another rank's memory");
      }
    }
    return true;
  }

  bool indices(const Op& op) {
    const Access a = access(op);
    for (std::size_t i = 0; i < a.indices.size(); ++i) {
      const Value* v = a.indices[i];
      const Sym extent = affine_.extent(a.view, static_cast<int>(i));
      if (is_range(v->type)) {
        if (!v->def) return fail("its range is made at run time");
        Affine::Span r = affine_.range(v);
        map_.slots.push_back(r.full ? Slot{r.start, r.size, 0, extent, extent} : Slot{r.start, r.size, r.lo, r.hi, extent});
        continue;
      }
      auto e = affine_.element(v);
      if (!e) return fail("it is indexed by numbers that are not coordinates");
      if (is_scalar(v->type)) {
        map_.slots.push_back({*e, 1, 0, extent, extent});
        continue;
      }
      // A tile of consecutive coordinates is as good as a range.
      const Dims& dims = tile(v->type).dims;
      const Sym start = *e - Affine::position(0);
      if (dims.size() != 1 || a.indices.size() != axis_ranges(op).size() || Affine::mentions_position(start))
        return fail("it is indexed by numbers that are not coordinates");
      map_.slots.push_back({start, dims[0], 0, extent, extent});
    }
    return true;
  }

  /// The mask leaves out nothing that the index ranges do not leave out themselves.
  bool mask(const Op& op) {
    const Value* when = access(op).when;
    if (!when) return true;
    auto atoms = mask_atoms(when);
    if (!atoms) return fail("the value is masked");
    const auto ranges = axis_ranges(op);
    for (const Atom& atom : *atoms) {
      const Value* mine = ranges[static_cast<std::size_t>(atom.axis)];
      if (!mine || !mine->def || !atom.range->def) return fail("the value is masked");
      Affine::Span r = affine_.range(mine), m = affine_.range(atom.range);
      if (m.full || mine == atom.range) continue;
      const Sym shift = m.start - r.start;  // the same elements in the mask's coordinates
      const Sym first = r.full ? r.start : r.lo, last = r.full ? r.start + r.size : r.hi;
      if (!affine_.nonnegative(first + shift - m.lo) || !affine_.nonnegative(m.hi - last - shift)) return fail("the value is masked");
    }
    return true;
  }

  Affine& affine_;
  const Kernel& kernel_;
  std::string& reason_;
  AccessMap map_;
  std::map<std::string, Sym> loop_forms_;
};

}  // namespace

std::optional<AccessMap> access_map(Affine& affine, const Kernel& kernel, const Op& op, std::string& reason) {
  return Mapper(affine, kernel, reason).run(op);
}

}  // namespace tessera::ir
