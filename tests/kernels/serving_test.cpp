// Ragged and paged prefill, split decode and its merge, and the example variants on every skeleton, against the float64 oracle a request.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/kernels/philox_oracle.h"
#include "tests/kernels/requests.h"

namespace tessera::test {
namespace {

/// A variant: the kernel's arguments, and what they mean for request b.
struct Variant {
  std::string name;
  std::function<void(Call&, const Requests&)> arguments;
  std::function<void(Attention&, int b)> define;
};

void causal(Attention& a, int) {
  a.keep = [lq = a.lq, lk = a.lk](int, int i, int j) { return j <= i + lk - lq; };
}
void no_arguments(Call&, const Requests&) {}

const Variant kPlain{"", no_arguments, [](Attention&, int) {}};
const Variant kCausal{"_causal", no_arguments, causal};

Variant window(bool has_right) {
  return {"_window",
          [=](Call& c, const Requests&) {
            c.scalars["x.left"] = 11;
            if (has_right) c.scalars["x.right"] = 0;
          },
          [](Attention& a, int) { a.keep = [at = a.lk - a.lq](int, int i, int j) { return i + at - 11 <= j && j <= i + at; }; }};
}

Variant soft_cap() {
  return {"_soft_cap", [](Call& c, const Requests&) { c.scalars["x.cap"] = 0.75; },
          [](Attention& a, int b) {
            causal(a, b);
            a.score = [](double s, int, int, int) { return 0.75 * std::tanh(s / 0.75); };
          }};
}

Variant alibi(const std::string& field) {
  return {"_alibi",
          [=](Call& c, const Requests& r) {
            Buffer slopes(DType::F32, {r.heads()});
            for (std::int64_t h = 0; h < slopes.size(); ++h) slopes.set(h, std::exp2(-1.0 - static_cast<double>(h)));
            c.tensors.emplace(field, slopes);
          },
          [](Attention& a, int b) {
            causal(a, b);
            a.score = [at = a.lk - a.lq](double s, int h, int i, int j) { return s - std::exp2(-1.0 - h) * (i + at - j); };
          }};
}

Variant documents() {
  const auto document = [](int b, int p) { return (p + 5 * b) / 13; };
  return {"document",
          [=](Call& c, const Requests& r) {
            Buffer doc(DType::I32, {r.size(), r.longest_lk()});
            for (int b = 0; b < r.size(); ++b) {
              for (int p = 0; p < r.longest_lk(); ++p) doc.set_int(b * r.longest_lk() + p, document(b, p));
            }
            c.tensors.emplace("x.doc", doc);
          },
          [=](Attention& a, int b) {
            a.keep = [=, at = a.lk - a.lq](int, int i, int j) { return i + at >= 0 && document(b, i + at) == document(b, j) && j <= i + at; };
          }};
}

Variant dropout() {
  return {"dropout",
          [](Call& c, const Requests&) {
            c.scalars["x.seed"] = 77;
            c.scalars["x.keep_p"] = 0.75;
          },
          [](Attention& a, int b) {
            a.factor = [b, at = a.lk - a.lq](int h, int i, int j) { return uniform4(77, b, h, i + at, j) < 0.75F ? 1 / 0.75 : 0.0; };
          }};
}

const std::vector<std::pair<int, int>> kLengths{{5, 40}, {0, 10}, {17, 17}, {1, 0}, {30, 12}, {3, 100}};
constexpr On kTargets[] = {On::Interp, On::Exact, On::Cpu};

void check_packed(const Call& c, const Requests& r, const Variant& v, const std::function<double(int)>& sink = {}) {
  for (const On on : kTargets) {
    const auto out = run(c, on);
    for (int b = 0; b < r.size(); ++b) {
      Attention a = r.problem(b);
      v.define(a, b);
      a.sink = sink;
      expect_attention(r.queries_of(out.at("o"), b), r.queries_of(out.at("lse"), b), a, r.dtype(), on == On::Exact,
                       fmt::format("{} {} on {}, request {}", c.file, c.kernel, name(on), b));
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

Call packed_call(const std::string& file, const std::string& kernel, const Requests& r, const Variant& v, int bm = 16, int bn = 32) {
  Call c{.file = file, .kernel = kernel, .constants = {{"BM", bm}, {"BN", bn}}};
  r.packed(c, bm);
  v.arguments(c, r);
  return c;
}

Call paged_call(const std::string& file, const std::string& kernel, const Requests& r, const Variant& v, int page, int bm = 16, int bn = 32) {
  Call c = packed_call(file, kernel, r, v, bm, bn);
  r.paged(c, page, false);
  return c;
}

/// Decodes and merges; the results have the shapes of a packed call with one query a request.
void check_decode(const std::string& file, const std::string& kernel, const Requests& r, const Variant& v, int page, int shares, int bm = 8,
                  const Buffer* sink = nullptr) {
  Call c{.file = file, .kernel = kernel, .constants = {{"BM", bm}, {"BN", 32}}};
  r.decode(c, shares);
  r.paged(c, page, true);
  v.arguments(c, r);
  for (const On on : kTargets) {
    const auto parts = run(c, on);
    Call merge{.file = "kernels/attention/decode.tile", .kernel = "merge", .constants = {{"T", r.dtype()}, {"E", r.d()}}};
    merge.tensors = {{"part", parts.at("part")},
                     {"stat", parts.at("stat")},
                     {"o", unwritten(r.dtype(), {r.size(), r.heads(), r.d()})},
                     {"lse", unwritten(DType::F32, {r.size(), r.heads()})}};
    if (sink) merge.tensors.emplace("sink", *sink);
    const auto out = run(merge, on);
    for (int b = 0; b < r.size(); ++b) {
      Attention a = r.problem(b);
      v.define(a, b);
      if (sink) a.sink = [sink](int h) { return sink->get(h); };
      // The partial results are rounded to f32 even in exact runs.
      expect_attention(r.queries_of(out.at("o"), b), r.queries_of(out.at("lse"), b), a, r.dtype(), false,
                       fmt::format("{} {} on {}, {} shares, request {}", file, kernel, name(on), shares, b));
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Serving, Philox) {  // the known answers of Random123
  EXPECT_EQ(philox({0, 0, 0, 0}, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, ~std::uint64_t{0}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Serving, Ragged) {
  const Requests r(kLengths, 2, 2, 40);
  for (const Variant& v : {kPlain, kCausal, window(true), soft_cap(), alibi("x.slopes")}) {
    Call c = packed_call("kernels/attention/ragged.tile", "ragged" + v.name, r, v);
    r.ragged(c);
    check_packed(c, r, v);
  }
}

// Rows behind a request's last belong to the next one: tiles that hold them must not let them through, NaN and infinities included.
TEST(Serving, RaggedRequestsDoNotTouch) {
  const std::vector<std::pair<int, int>> lengths{{70, 100}, {9, 60}, {130, 200}, {5, 0}, {40, 33}, {3, 64}};
  for (const int group : {1, 2}) {
    const Requests r(lengths, 1, group, 32);
    for (const Variant& v : {kPlain, kCausal}) {
      Call c = packed_call("kernels/attention/ragged.tile", "ragged" + v.name, r, v, 128, 64);
      r.ragged(c);
      check_packed(c, r, v);
      const auto clean = run(c, On::Cpu);
      for (std::size_t bad = 1; bad < lengths.size(); bad += 3) {
        Call poisoned = c;
        std::int64_t queries = 0, keys = 0;
        for (std::size_t b = 0; b < bad; ++b) {
          queries += lengths[b].first;
          keys += lengths[b].second;
        }
        const std::int64_t row = r.d(), heads = r.heads();
        const auto fill = [&](const char* name, std::int64_t first, std::int64_t count, double value) {
          for (std::int64_t i = first; i < first + count; ++i) poisoned.tensors.at(name).set(i, value);
        };
        fill("q", queries * heads * row, lengths[bad].first * heads * row, NAN);
        fill("k", keys * row, lengths[bad].second * row, NAN);
        fill("v", keys * row, lengths[bad].second * row, INFINITY);
        const auto out = run(poisoned, On::Cpu);
        for (int b = 0; b < r.size(); ++b) {
          if (static_cast<std::size_t>(b) == bad) continue;
          EXPECT_EQ(r.queries_of(out.at("o"), b), r.queries_of(clean.at("o"), b)) << c.kernel << ", request " << b << " beside " << bad;
        }
      }
    }
  }
}

TEST(Serving, RaggedPackedMask) {
  const Requests r(kLengths, 1, 2, 32);
  std::vector<std::int64_t> off{0};
  for (int b = 0; b < r.size(); ++b) off.push_back(off.back() + (r.lq(b) * r.lk(b) + 7) / 8);
  Buffer bits(DType::U8, {off.back()});
  std::mt19937 random(4);
  for (std::int64_t i = 0; i < bits.size(); ++i) bits.set_int(i, static_cast<std::int64_t>(random() % 256));
  const Variant v{"_mask_bits",
                  [&](Call& c, const Requests&) {
                    c.tensors.emplace("x.bits", bits);
                    c.tensors.emplace("x.off", ints(DType::I32, {r.size()}, {off.begin(), off.end() - 1}));
                  },
                  [&](Attention& a, int b) {
                    a.keep = [&bits, lk = a.lk, first = off[b]](int, int i, int j) {
                      const int e = i * lk + j;
                      return (bits.get_int(first + e / 8) >> e % 8 & 1) != 0;
                    };
                  }};
  Call c = packed_call("kernels/attention/ragged.tile", "ragged_mask_bits", r, v);
  r.ragged(c);
  check_packed(c, r, v);
}

TEST(Serving, PagedPrefill) {
  const Requests r(kLengths, 2, 2, 40);
  for (const int page : {1, 5, 16}) {
    for (const Variant& v : {kPlain, kCausal}) check_packed(paged_call("kernels/attention/paged.tile", "paged_prefill" + v.name, r, v, page), r, v);
  }
  for (const Variant& v : {window(true), soft_cap(), alibi("x.slopes")}) {
    check_packed(paged_call("kernels/attention/paged.tile", "paged_prefill" + v.name, r, v, 8), r, v);
  }
}

TEST(Serving, Sinks) {
  const Requests r(kLengths, 1, 3, 32);
  Buffer sink = Buffer(DType::F32, {3}).fill_random(6);
  sink.set(1, -std::numeric_limits<double>::infinity());
  const auto value = [&](int h) { return sink.get(h); };
  Call c = packed_call("kernels/attention/ragged.tile", "ragged_causal", r, kCausal);
  r.ragged(c);
  c.tensors.emplace("sink", sink);
  check_packed(c, r, kCausal, value);
  c = paged_call("kernels/attention/paged.tile", "paged_prefill_causal", r, kCausal, 4);
  c.tensors.emplace("sink", sink);
  check_packed(c, r, kCausal, value);
  check_decode("kernels/attention/decode.tile", "decode", Requests({{1, 33}, {1, 0}, {1, 90}}, 1, 3, 32), kPlain, 16, 3, 8, &sink);
}

const std::vector<std::pair<int, int>> kDecodeLengths{{1, 1}, {1, 0}, {1, 54}, {1, 97}, {1, 200}};

TEST(Serving, Decode) {
  const Requests r(kDecodeLengths, 2, 2, 64);
  for (const int shares : {1, 3, 20}) {
    for (const int page : {1, 8, 16}) check_decode("kernels/attention/decode.tile", "decode", r, kPlain, page, shares);
  }
  for (const Variant& v : {window(true), soft_cap(), alibi("x.slopes")})
    check_decode("kernels/attention/decode.tile", "decode" + v.name, r, v, 16, 4);
}

TEST(Serving, DecodeGroups) {
  for (const int group : {1, 3, 4, 7, 8})
    check_decode("kernels/attention/decode.tile", "decode", Requests(kDecodeLengths, 1, group, 32), kPlain, 16, 2);
  const std::string text = refusal([&] {
    const Requests r(kDecodeLengths, 1, 12, 32);
    Call c{.file = "kernels/attention/decode.tile", .kernel = "decode", .constants = {{"BM", 8}, {"BN", 32}}};
    r.decode(c, 1);
    r.paged(c, 16, true);
    return c;
  }());
  EXPECT_NE(text.find("E0509"), std::string::npos) << text;
  EXPECT_NE(text.find("BM >= R"), std::string::npos) << text;
}

// The result of a request does not depend on the others: the same bits alone and in a batch.
TEST(Serving, DecodeIsBatchInvariant) {
  const Requests all(kDecodeLengths, 2, 2, 32);
  const Requests alone({kDecodeLengths[0], kDecodeLengths[1], kDecodeLengths[2]}, 2, 2, 32);
  const auto decode = [](const Requests& r, On on) {
    Call c{.file = "kernels/attention/decode.tile", .kernel = "decode", .constants = {{"BM", 8}, {"BN", 32}}};
    r.decode(c, 2);
    r.paged(c, 16, true);
    return run(c, on).at("part");
  };
  for (const On on : {On::Interp, On::Cpu}) {
    const Buffer some = decode(alone, on);
    const Buffer every = decode(all, on);
    // Key tensors are filled row by row, so that the first requests have the same numbers in both.
    for (std::int64_t i = 0; i < some.size(); ++i) ASSERT_EQ(some.raw(i), every.raw(i)) << name(on) << " at " << i;
  }
}

TEST(Serving, TileSizes) {
  const Requests r(kLengths, 1, 2, 32);
  for (const auto& [bm, bn] : {std::pair{8, 16}, {64, 128}, {24, 48}}) {
    check_packed(paged_call("kernels/attention/paged.tile", "paged_prefill_causal", r, kCausal, 16, bm, bn), r, kCausal);
  }
}

// --- examples/variants: each variant on three skeletons

TEST(Serving, ExampleVariants) {
  Variant named[] = {soft_cap(), alibi("x.slope"), window(false), documents(), dropout()};
  for (Variant& v : named) {
    const std::string file = "examples/variants/" + (v.name[0] == '_' ? v.name.substr(1) : v.name) + ".tile";
    const Requests r(kLengths, 1, 2, 32);
    check_packed(paged_call(file, "prefill", r, v, 16), r, v);
    check_decode(file, "decode", Requests(kDecodeLengths, 1, 2, 32), v, 16, 3);

    const Requests one({{21, 43}}, 1, 2, 32);  // one request is a dense batch of one
    Call c = packed_call(file, "dense", one, v);
    one.ragged(c);
    for (const char* n : {"qptr", "kptr", "slots"}) c.tensors.erase(n);
    for (const char* n : {"q", "k", "v", "o", "lse"}) c.tensors.at(n).dims.insert(c.tensors.at(n).dims.begin(), 1);
    for (const On on : kTargets) {
      const auto out = run(c, on);
      Attention a = one.problem(0);
      v.define(a, 0);
      expect_attention(values(out.at("o")), values(out.at("lse")), a, one.dtype(), on == On::Exact, file + " dense on " + name(on));
    }
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace tessera::test
