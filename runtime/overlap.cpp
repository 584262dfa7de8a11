#include "runtime/overlap.h"

#include <algorithm>
#include <array>
#include <vector>

#include "runtime/inline_vector.h"

namespace tessera {
namespace {

/// One term of an address difference: stride * d with d in [lo, hi].
struct Term {
  std::int64_t stride = 0;
  std::int64_t lo = 0;
  std::int64_t hi = 0;
};

/// Steps the search may take before it gives the cautious answer.
constexpr int step_limit = 20000;

/// Looks for d such that delta + sum(stride * d) lies in (-width_b, width_a), skipping d = 0 if `nonzero`. Terms are sorted by descending stride.
class Search {
 public:
  Search(std::vector<Term> terms, std::int64_t below, std::int64_t above, bool nonzero)
      : terms_(std::move(terms)), below_(below), above_(above), nonzero_(nonzero), rest_lo_(terms_.size() + 1), rest_hi_(terms_.size() + 1) {
    for (std::size_t i = terms_.size(); i-- > 0;) {
      rest_lo_[i] = rest_lo_[i + 1] + terms_[i].stride * terms_[i].lo;
      rest_hi_[i] = rest_hi_[i + 1] + terms_[i].stride * terms_[i].hi;
    }
  }

  bool found(std::int64_t delta, std::size_t i = 0, bool all_zero = true) {
    if (++steps_ > step_limit) return true;
    if (i == terms_.size()) return delta > below_ && delta < above_ && !(nonzero_ && all_zero);
    const Term& t = terms_[i];
    // delta + stride * d + rest must be able to reach the open interval (below, above).
    const std::int64_t least = below_ + 1 - delta - rest_hi_[i + 1];
    const std::int64_t most = above_ - 1 - delta - rest_lo_[i + 1];
    const std::int64_t lo = std::max(t.lo, floor_div(least + t.stride - 1, t.stride));
    const std::int64_t hi = std::min(t.hi, floor_div(most, t.stride));
    for (std::int64_t d = lo; d <= hi; ++d) {
      if (found(delta + t.stride * d, i + 1, all_zero && d == 0)) return true;
    }
    return false;
  }

 private:
  static std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - ((a % b != 0 && a < 0) ? 1 : 0); }

  std::vector<Term> terms_;
  std::int64_t below_, above_;
  bool nonzero_;
  std::vector<std::int64_t> rest_lo_, rest_hi_;
  int steps_ = 0;
};

bool empty(const StridedBox& b) {
  return std::any_of(b.extents.begin(), b.extents.end(), [](std::int64_t e) { return e <= 0; });
}

/// Bytes from the first to behind the last.
std::int64_t reach(const StridedBox& b) {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < b.extents.size(); ++i) last += (b.extents[i] - 1) * b.strides[i];
  return (last * b.bits + b.bits + 7) / 8;
}

}  // namespace

bool overlap(const StridedBox& a, const StridedBox& b) {
  if (empty(a) || empty(b)) return false;
  const std::int64_t delta = static_cast<std::int64_t>(a.base - b.base);
  if (delta >= reach(b) || -delta >= reach(a)) return false;
  if (a.bits < 8 || b.bits < 8) return true;  // rows of nibbles: the interval is answer enough
  std::vector<Term> terms;
  const auto add = [&](const StridedBox& box, std::int64_t sign) {
    const std::int64_t bytes = box.bits / 8;
    for (std::size_t i = 0; i < box.extents.size(); ++i) {
      if (box.extents[i] < 2 || box.strides[i] == 0) continue;
      const std::int64_t stride = box.strides[i] * bytes;
      const std::int64_t most = box.extents[i] - 1;
      const Term t{stride, sign < 0 ? -most : 0, sign < 0 ? 0 : most};
      const auto same = std::find_if(terms.begin(), terms.end(), [&](const Term& x) { return x.stride == stride; });
      if (same == terms.end()) {
        terms.push_back(t);
      } else {  // d_a - d_b of one stride is one number
        same->lo += t.lo;
        same->hi += t.hi;
      }
    }
  };
  add(a, 1);
  add(b, -1);
  std::sort(terms.begin(), terms.end(), [](const Term& x, const Term& y) { return x.stride > y.stride; });
  return Search(std::move(terms), -(a.bits / 8), b.bits / 8, false).found(delta);
}

bool overlaps_itself(const StridedBox& a) {
  if (empty(a)) return false;
  InlineVector<Term, 8> terms;
  for (std::size_t i = 0; i < a.extents.size(); ++i) {
    if (a.extents[i] < 2) continue;
    if (a.strides[i] == 0) return true;
    terms.push_back({a.strides[i], -(a.extents[i] - 1), a.extents[i] - 1});
  }
  std::sort(terms.begin(), terms.end(), [](const Term& x, const Term& y) { return x.stride > y.stride; });
  // The usual case: each stride steps over all that the smaller ones reach.
  std::int64_t inner = 0;
  bool nested = true;
  for (std::size_t i = terms.size(); i-- > 0;) {
    nested &= terms[i].stride > inner;
    inner += terms[i].stride * terms[i].hi;
  }
  if (nested) return false;
  return Search(std::vector<Term>(terms.begin(), terms.end()), -1, 1, true).found(0);
}

}  // namespace tessera
