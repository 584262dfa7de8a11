// Attention in float64, as plain loops, for one request.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dsl/dtype.h"

namespace tessera::test {

/// q [lq, heads, d], k [lk, kv_heads, d], v [lk, kv_heads, e]; query head h reads key head h / (heads / kv_heads).
struct Attention {
  int lq = 0, lk = 0, heads = 1, kv_heads = 1, d = 0, e = 0;
  double scale = 1;
  std::vector<double> q, k, v;
  // The variant; null functions change nothing.
  std::function<double(double s, int h, int i, int j)> score;
  std::function<bool(int h, int i, int j)> keep;
  std::function<double(int h, int i, int j)> factor;  ///< of the weights, for the product with v only
  std::function<double(int h)> sink;                  ///< the score of one more key of value 0

  /// Position of query i among the keys: the last query stands at the last key.
  int at(int i) const { return i + lk - lq; }
};

struct AttentionResult {
  std::vector<double> o;    ///< [lq, heads, e]; 0 in a row that sees no key
  std::vector<double> lse;  ///< [lq, heads], natural logarithm; -inf in a row that sees no key
};

/// s = scale q k^T, o = softmax(s) v. With `low`, every step is rounded to that dtype, as an unfused implementation in that precision would:
/// scale * q, the scores, the weights, the output.
AttentionResult attend(const Attention& a, std::optional<DType> low = {});

/// FlashAttention's acceptance rule (tests/test_flash_attn.py): the largest error is at most twice that of the low-precision reference, plus 1e-5.
/// For `exact` results: one rounding of the output. Rows that see no key must be exactly 0 and -inf. An empty `lse` is not compared.
void expect_attention(const std::vector<double>& o, const std::vector<double>& lse, const Attention& a, DType t, bool exact, const std::string& what);

}  // namespace tessera::test
