// A batch of requests of different lengths, as dense, ragged and paged tensors of the same numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/kernels/attention_oracle.h"
#include "tests/kernels/harness.h"

namespace tessera::test {

class Requests {
 public:
  /// `lengths`: queries and keys of each request.
  Requests(std::vector<std::pair<int, int>> lengths, int kv_heads, int group, int d, DType t = DType::BF16)
      : lengths_(std::move(lengths)), g_(kv_heads), r_(group), d_(d), t_(t) {
    for (const auto& [lq, lk] : lengths_) {
      qptr_.push_back(qptr_.back() + lq);
      kptr_.push_back(kptr_.back() + lk);
    }
    q_ = Buffer(t, {qptr_.back(), heads(), d}).fill_random(1);
    k_ = Buffer(t, {kptr_.back(), g_, d}).fill_random(2);
    v_ = Buffer(t, {kptr_.back(), g_, d}).fill_random(3);
  }

  int size() const { return static_cast<int>(lengths_.size()); }
  int heads() const { return g_ * r_; }
  int d() const { return d_; }
  DType dtype() const { return t_; }
  int lq(int b) const { return lengths_[b].first; }
  int lk(int b) const { return lengths_[b].second; }
  int longest_lk() const {
    int n = 0;
    for (const auto& l : lengths_) n = std::max(n, l.second);
    return n;
  }
  double scale() const { return 1.0F / std::sqrt(static_cast<float>(d_)); }

  /// What request b computes.
  Attention problem(int b) const {
    Attention a{.lq = lq(b), .lk = lk(b), .heads = heads(), .kv_heads = g_, .d = d_, .e = d_, .scale = scale()};
    a.q = rows(q_, qptr_[b], qptr_[b + 1]);
    a.k = rows(k_, kptr_[b], kptr_[b + 1]);
    a.v = rows(v_, kptr_[b], kptr_[b + 1]);
    return a;
  }
  /// Rows of a tensor [NQ, ..] that belong to request b.
  std::vector<double> queries_of(const Buffer& x, int b) const { return rows(x, qptr_[b], qptr_[b + 1]); }

  /// Adds q, qptr, slots, o and lse of the packed skeletons.
  void packed(Call& c, int bm) const {
    std::int64_t longest = 0;
    for (const auto& l : lengths_) longest = std::max<std::int64_t>(longest, l.first);
    common(c);
    c.tensors.emplace("q", q_);
    c.tensors.emplace("qptr", ints(DType::I32, {size() + 1}, qptr_));
    c.tensors.emplace("slots", Buffer(DType::I32, {(longest * r_ + bm - 1) / bm}));
    c.tensors.emplace("o", unwritten(t_, {qptr_.back(), heads(), d_}));
    c.tensors.emplace("lse", unwritten(DType::F32, {qptr_.back(), heads()}));
  }
  void ragged(Call& c) const {
    c.tensors.emplace("k", k_);
    c.tensors.emplace("v", v_);
    c.tensors.emplace("kptr", ints(DType::I32, {size() + 1}, kptr_));
  }
  /// Adds pools in which the pages of all requests lie in random order and every row that belongs to nobody is NaN, and their tables: `pptr` and
  /// `pages`, or one row a request in `table`.
  void paged(Call& c, int page, bool dense_table) const {
    std::vector<std::int64_t> pptr{0};
    for (const auto& l : lengths_) pptr.push_back(pptr.back() + (l.second + page - 1) / page);
    std::vector<std::int64_t> order(static_cast<std::size_t>(pptr.back()) + 2);  // two pages are nobody's
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(9));
    const ir::Dims dims{static_cast<std::int64_t>(order.size()), page, g_, d_};
    Buffer kpool = unwritten(t_, dims);
    Buffer vpool = unwritten(t_, dims);
    const std::int64_t row = static_cast<std::int64_t>(g_) * d_;
    for (int b = 0; b < size(); ++b) {
      for (int j = 0; j < lk(b); ++j) {
        const std::int64_t to = (order[static_cast<std::size_t>(pptr[b] + j / page)] * page + j % page) * row;
        for (std::int64_t i = 0; i < row; ++i) {
          kpool.set_raw(to + i, k_.raw((kptr_[b] + j) * row + i));
          vpool.set_raw(to + i, v_.raw((kptr_[b] + j) * row + i));
        }
      }
    }
    c.constants["PAGE"] = std::int64_t{page};
    c.tensors.emplace("kpool", std::move(kpool));
    c.tensors.emplace("vpool", std::move(vpool));
    std::vector<std::int64_t> len;
    for (const auto& l : lengths_) len.push_back(l.second);
    c.tensors.emplace("len", ints(DType::I32, {size()}, len));
    if (dense_table) {
      const std::int64_t width = (longest_lk() + page - 1) / page;
      Buffer table = Buffer(DType::I32, {size(), width}).fill(-1);
      for (int b = 0; b < size(); ++b) {
        for (std::int64_t p = 0; p < pptr[b + 1] - pptr[b]; ++p) table.set_int(b * width + p, order[static_cast<std::size_t>(pptr[b] + p)]);
      }
      c.tensors.emplace("table", table);
    } else {
      c.tensors.emplace("pptr", ints(DType::I32, {size() + 1}, pptr));
      c.tensors.emplace("pages", ints(DType::I32, {pptr.back()}, {order.begin(), order.begin() + static_cast<std::ptrdiff_t>(pptr.back())}));
    }
  }
  /// Adds one query a request and the partial results of `shares` shares. Precondition: every request has one query.
  void decode(Call& c, int shares) const {
    common(c);
    c.tensors.emplace("q", q_);
    c.tensors.emplace("part", unwritten(DType::F32, {size(), shares, heads(), d_}));
    c.tensors.emplace("stat", unwritten(DType::F32, {size(), shares, heads()}));
  }

 private:
  void common(Call& c) const {
    c.constants["T"] = t_;
    c.constants["D"] = std::int64_t{d_};
    c.constants["R"] = std::int64_t{r_};
    c.scalars["scale"] = scale();
  }
  static std::vector<double> rows(const Buffer& x, std::int64_t lo, std::int64_t hi) {
    std::int64_t n = 1;
    for (std::size_t i = 1; i < x.dims.size(); ++i) n *= x.dims[i];
    std::vector<double> out;
    for (std::int64_t i = lo * n; i < hi * n; ++i) out.push_back(x.get(i));
    return out;
  }

  std::vector<std::pair<int, int>> lengths_;
  int g_, r_, d_;
  DType t_;
  std::vector<std::int64_t> qptr_{0}, kptr_{0};
  Buffer q_, k_, v_;
};

}  // namespace tessera::test
