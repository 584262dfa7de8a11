#include "codegen/passes/in_place.h"

#include <algorithm>
#include <set>

#include "codegen/passes/access_map.h"
#include "codegen/passes/rewrite.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

struct Accesses {
  std::vector<const Op*> loads, stores;
  bool other = false;  ///< fetch_add, wait, views that are indices of others
};

/// The ops that contain `op`, outermost first, `op` last.
std::vector<const Op*> path(const Op& op) {
  std::vector<const Op*> out;
  for (const Op* o = &op; o; o = o->parent->parent) out.push_back(o);
  std::reverse(out.begin(), out.end());
  return out;
}

class InPlace {
 public:
  explicit InPlace(Kernel& kernel) : kernel_(kernel), affine_(kernel) {
    walk(static_cast<const Block&>(kernel.body), [&](const Op& op) {
      for (std::size_t i = 0; i < op.operands.size(); ++i) {
        const Value* v = op.operands[i];
        if (!is_view(v->type)) continue;
        const Value* root = view_root(v);
        if (!root) continue;
        Accesses& u = uses_[root];
        if (op.kind == OpKind::Load && i == 0) {
          u.loads.push_back(&op);
        } else if (op.kind == OpKind::Store && i == 0) {
          u.stores.push_back(&op);
        } else if (!(has(op.kind, Trait::OnView) && i == 0)) {
          u.other = true;
        }
      }
    });
  }

  void run() {
    kernel_.in_place.clear();
    for (const auto& w : kernel_.body.args)
      for (const auto& r : kernel_.body.args) {
        const Param *wp = param_of(kernel_, w.get()), *rp = param_of(kernel_, r.get());
        if (!wp || !rp || !wp->is_view || !rp->is_view || rp->mode != Mode::In || (wp->mode != Mode::Out && wp->mode != Mode::InOut)) continue;
        if (wp->dtype != rp->dtype || wp->dims != rp->dims || wp->peers || rp->peers) continue;
        if (safe(uses_[w.get()], uses_[r.get()])) kernel_.in_place.emplace_back(wp->name, rp->name);
      }
  }

 private:
  bool safe(const Accesses& written, const Accesses& read) {
    if (written.other || read.other || written.stores.empty()) return false;
    for (const Op* s : written.stores) {
      std::string reason;
      auto map = access_map(affine_, kernel_, *s, reason);
      if (!map || s->int_attr(Attr::Add) != 0 || !injective(*map)) return false;
      for (const Op* l : read.loads)
        if (!precedes(*l, *s)) return false;
    }
    return true;
  }

  /// Every grid index and loop variable is plainly a digit of the map (`i` itself on an axis, or tiles of it as long as their distance), so that
  /// instances keep to themselves and no trip meets what an earlier one wrote.
  bool injective(const AccessMap& map) {
    auto plain = [&](const Variable& v, const Slot& s) {
      const Sym rest = s.start - s.length * Sym::symbol(v.symbol);
      return std::none_of(map.variables.begin(), map.variables.end(), [&](const Variable& x) { return rest.mentions(x.symbol); });
    };
    return std::all_of(map.variables.begin(), map.variables.end(), [&](const Variable& v) {
      return affine_.equal(v.count, 1) || std::any_of(map.slots.begin(), map.slots.end(), [&](const Slot& s) { return plain(v, s); });
    });
  }

  bool precedes(const Op& load, const Op& store) {
    const auto a = path(load), b = path(store);
    std::size_t k = 0;
    while (k < a.size() && k < b.size() && a[k] == b[k]) ++k;
    if (k == a.size() || k == b.size() || a[k]->parent != b[k]->parent || position(*a[k]) > position(*b[k])) return false;
    // Loops the two do not share run over all their trips in between: they count by their bounds, not by name.
    std::string reason;
    auto x = access_map(affine_, kernel_, load, reason), y = access_map(affine_, kernel_, store, reason);
    if (!x || !y) return false;
    std::size_t shared = kernel_.grid.size();
    for (std::size_t i = 0; i < k; ++i) shared += a[i]->kind == OpKind::For;
    return x->anonymous(shared) == y->anonymous(shared);
  }

  Kernel& kernel_;
  Affine affine_;
  std::map<const Value*, Accesses> uses_;
};

}  // namespace

void record_in_place(Kernel& kernel) { InPlace(kernel).run(); }

}  // namespace tessera::ir
