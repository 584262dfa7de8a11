// Masks of many elements as bits of words: where the elements of a thread are compared with the same bounds, how many of them lie below a bound gives
// all comparisons at once. Bits are tested where they are needed; a comparison an element would be made ahead of a product's wait and be kept in
// registers, since there are few predicates.
#include <algorithm>

#include "codegen/gpu/element.h"

namespace tessera::gpu {

using cpu::Emitter;
using LV = llvm::Value;

namespace {

constexpr std::size_t kFewest = 8, kWord = 32;

LV* i32_of(Emitter& e, std::int64_t x) { return e.b.getInt32(static_cast<std::uint32_t>(x)); }

/// The same function of the same values, as far as `steps` go.
bool same(const LV* a, const LV* b, int& steps) {
  if (a == b) return true;
  if (!a || !b || --steps < 0) return false;
  const auto *x = llvm::dyn_cast<llvm::Instruction>(a), *y = llvm::dyn_cast<llvm::Instruction>(b);
  if (!x || !y || llvm::isa<llvm::PHINode>(x) || x->mayReadOrWriteMemory() || !x->isSameOperationAs(y)) return false;
  for (unsigned i = 0; i < x->getNumOperands(); ++i) {
    if (!same(x->getOperand(i), y->getOperand(i), steps)) return false;
  }
  return true;
}
bool same(const LV* a, const LV* b) {
  int steps = 200;
  return same(a, b, steps);
}

/// Runs of `run` neighbours, `pitch` apart.
struct Pattern {
  std::int64_t run = 1, pitch = 1;
};

std::optional<Pattern> pattern_of(const std::vector<std::int64_t>& c) {
  Pattern p;
  const auto n = static_cast<std::int64_t>(c.size());
  while (p.run < n && c[static_cast<std::size_t>(p.run)] == c[0] + p.run) ++p.run;
  p.pitch = p.run < n ? c[static_cast<std::size_t>(p.run)] - c[0] : p.run;
  for (std::int64_t i = 0; i < n; ++i) {
    if (c[static_cast<std::size_t>(i)] != c[0] + i / p.run * p.pitch + i % p.run) return std::nullopt;
  }
  return p;
}

/// A word whose first bits are set: as many as there are values below `bound`.
LV* below(Emitter& e, const std::vector<std::int64_t>& c, const Pattern& p, LV* bound) {
  const auto held = [&](llvm::Intrinsic::ID id, LV* x, LV* y) { return e.b.CreateBinaryIntrinsic(id, x, y); };
  LV* y = e.b.CreateSub(bound, i32_of(e, c[0]));
  y = held(llvm::Intrinsic::smin, held(llvm::Intrinsic::smax, y, i32_of(e, 0)), i32_of(e, c.back() - c[0] + 1));
  LV* rest = held(llvm::Intrinsic::umin, e.b.CreateURem(y, i32_of(e, p.pitch)), i32_of(e, p.run));
  LV* count = e.b.CreateAdd(e.b.CreateMul(e.b.CreateUDiv(y, i32_of(e, p.pitch)), i32_of(e, p.run)), rest);
  LV* bits = e.b.CreateSub(e.b.CreateShl(i32_of(e, 1), e.b.CreateAnd(count, i32_of(e, kWord - 1))), i32_of(e, 1));
  return e.b.CreateSelect(e.b.CreateICmpEQ(count, i32_of(e, kWord)), i32_of(e, -1), bits);
}

}  // namespace

std::vector<LV*> masks_in_words(Emitter& e, Elements& x) {
  std::vector<LV*> words;
  std::vector<bool> done(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (done[i] || (!x[i].from && !x[i].to)) continue;
    LV *const from = x[i].from, *const to = x[i].to;
    std::map<std::int64_t, std::vector<std::size_t>> group;  // by what is compared
    for (std::size_t j = i; j < x.size(); ++j) {
      if (done[j] || !same(from, x[j].from) || !same(to, x[j].to)) continue;
      done[j] = true;
      group[x[j].fixed].push_back(j);
    }
    for (auto at = group.begin(); at != group.end();) {
      std::vector<std::int64_t> c;
      const auto first = at;
      for (; at != group.end() && c.size() < kWord; ++at) c.push_back(at->first);
      const std::optional<Pattern> pattern = pattern_of(c);
      if (c.size() < kFewest || !pattern) continue;
      LV* word = to ? below(e, c, *pattern, to) : i32_of(e, -1);
      if (from) word = e.b.CreateAnd(word, e.b.CreateNot(below(e, c, *pattern, from)));
      words.push_back(word);
      std::size_t bit = 0;
      for (auto value = first; value != at; ++value, ++bit) {
        LV* set = e.b.CreateICmpNE(e.b.CreateAnd(word, i32_of(e, std::int64_t{1} << bit)), i32_of(e, 0));
        for (const std::size_t j : value->second) x[j] = {set};
      }
    }
  }
  return words;
}

}  // namespace tessera::gpu
