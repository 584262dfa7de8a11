// Kernels in Tile IR, as the front end makes them, whose products warpgroups compute; and what differs from them in one point.
#pragma once

#include <fmt/format.h>

#include <regex>
#include <string>

namespace tessera::test {

struct GemmForm {
  std::int64_t bm = 128, bn = 128, bk = 64;
  std::string dtype = "bf16", b_dtype = "";                        ///< of b: that of a
  bool transposed = true;                                          ///< b is [N, K], else [K, N]
  std::string a_view = "view {T}[M, K]", a_axes = "%a, %mi, %kk";  ///< how a is declared and loaded
  std::string more_params, more_symbols;
  std::string head;                ///< ops before the loop
  std::string body, sum = "%sum";  ///< ops at the end of the loop, and what it yields
  std::string k_end = "%K";        ///< where the range of k ends
  std::string trips_end = "%K";    ///< where the loop ends
  std::int64_t repeats = 0;        ///< > 0: a loop around the loop
  std::string flags;               ///< of the kernel
  std::string dot = "";            ///< attributes of the product
  std::int64_t merged = 0;         ///< > 0: rows of a are two axes, the inner one of so many
};

/// c [M, N] in f32 = a [M, K] b, or `repeats` times that.
inline std::string gemm_text(const GemmForm& f) {
  const std::string t = f.dtype, u = f.b_dtype.empty() ? t : f.b_dtype;
  const std::string k_loop =
      fmt::format(R"(
    %kk = range %k, %c0, {k_end} {{size = {bk}}} : range<{bk}>
    %at = load {a_axes} : {T}[{bm}, {bk}]
    %bt = load %b, {b_axes} : {U}[{b_tile}]
    %in = inside %kk : bool[{bk}]
    %inrow = reshape %in : bool[1, {bk}]
    %incol = reshape %in : bool[{bk}, 1]
    %ag = select %inrow, %at, %zero : {T}[{bm}, {bk}]
    {turn}
    %bg = select %incol, {b}, %bzero : {U}[{bk}, {bn}]
    %o = dot %ag, %bg {dot} : f32[{bm}, {bn}]
    %sum = add %p, %o : f32[{bm}, {bn}]
    {body}
    yield {sum}
)",
                  fmt::arg("k_end", f.k_end), fmt::arg("bk", f.bk), fmt::arg("bm", f.bm), fmt::arg("bn", f.bn), fmt::arg("T", t), fmt::arg("U", u),
                  fmt::arg("dot", f.dot), fmt::arg("a_axes", f.a_axes), fmt::arg("b_axes", f.transposed ? "%nj, %kk" : "%kk, %nj"),
                  fmt::arg("b_tile", f.transposed ? fmt::format("{}, {}", f.bn, f.bk) : fmt::format("{}, {}", f.bk, f.bn)),
                  fmt::arg("turn", f.transposed ? fmt::format("%btt = permute %bt {{perm = [1, 0]}} : {}[{}, {}]", u, f.bk, f.bn) : ""),
                  fmt::arg("b", f.transposed ? "%btt" : "%bt"), fmt::arg("body", f.body), fmt::arg("sum", f.sum));
  const std::string tile = fmt::format("f32[{}, {}]", f.bm, f.bn);
  const std::string loop = fmt::format("for %c0, {}, %bk, {{}} : {} (%k: idx, %p: {}) {{{{{}}}}}", f.trips_end, tile, tile,
                                       std::regex_replace(std::regex_replace(k_loop, std::regex("\\{"), "{{"), std::regex("\\}"), "}}"));
  std::string loops = "%acc = " + fmt::format(fmt::runtime(loop), "%acc0");
  if (f.repeats > 0) {
    loops = fmt::format(
        "%rep = const {{value = {}}} : idx\n  %one = const {{value = 1}} : idx\n"
        "  %acc = for %c0, %rep, %one, %acc0 : {} (%r: idx, %before: {}) {{\n    %after = {}\n    yield %after\n  }}",
        f.repeats, tile, tile, fmt::format(fmt::runtime(loop), "%before"));
  }
  return fmt::format(R"(kernel gemm(
  %a: {a_view},
  %b: view {U}[{b_dims}],
  %c: out view f32[M, N]{more}
)
symbols(M, K, N{symbols})
grid(%i < ceil(M, {bm}), %j < ceil(N, {bn}))
{flags}
{{
  %c0 = const {{value = 0}} : idx
  %bm = const {{value = {bm}}} : idx
  %bn = const {{value = {bn}}} : idx
  %bk = const {{value = {bk}}} : idx
  %M = sym {{name = "M"}} : idx
  %K = sym {{name = "K"}} : idx
  %N = sym {{name = "N"}} : idx
  %zero = const {{value = 0.0}} : {T}
  %bzero = const {{value = 0.0}} : {U}
  %i0 = mul %i, %bm : idx
  %j0 = mul %j, %bn : idx
  %mi = range %i0, %c0, %M {{size = {bm}}} : range<{bm}>
  %nj = range %j0, %c0, %N {{size = {bn}}} : range<{bn}>
  %acc0 = const {{value = 0.0}} : f32[{bm}, {bn}]
  {head}
  {loops}
  store %c, %acc, %mi, %nj
  yield
}}
)",
                     fmt::arg("a_view", std::regex_replace(f.a_view, std::regex("\\{T\\}"), t)), fmt::arg("T", t), fmt::arg("U", u),
                     fmt::arg("b_dims", f.transposed ? "N, K" : "K, N"), fmt::arg("more", f.more_params.empty() ? "" : ",\n  " + f.more_params),
                     fmt::arg("bm", f.bm), fmt::arg("bn", f.bn), fmt::arg("bk", f.bk), fmt::arg("flags", f.flags), fmt::arg("head", f.head),
                     fmt::arg("symbols", f.more_symbols), fmt::arg("loops", loops));
}

/// The rows of a are two axes merged into one.
inline GemmForm merged_rows(std::int64_t group) {
  GemmForm f;
  f.bn = 256;
  f.merged = group;
  f.a_view = fmt::format("view {{T}}[P, {}, K]", group);
  f.more_symbols = fmt::format(", P)\nwhere(M == {}*P", group);
  f.head = "%am = view.merge %a {axis = 0, last = 1} : view<bf16, 2, in>";
  f.a_axes = "%am, %mi, %kk";
  return f;
}

struct AttentionForm {
  std::int64_t bm = 64, bn = 64, d = 64;
  std::string keys_end = "%Sk";  ///< where the loop over the keys ends
  std::string more_params;
  std::string flags;
  std::int64_t repeats = 0;  ///< > 0: a loop around the loop, which changes nothing: all keys count so many times
};

/// o [B, Sq, H, d] in f32: softmax(scale q k^T) v for k and v of B x Sk x H x d.
inline std::string attention_text(const AttentionForm& f) {
  std::string text = fmt::format(R"(kernel attention(
  %q: view bf16[B, Sq, H, {d}],
  %k: view bf16[B, Sk, H, {d}],
  %v: view bf16[B, Sk, H, {d}],
  %o: out view f32[B, Sq, H, {d}],
  %scale: f32{more}
)
symbols(B, Sq, H, Sk)
grid(%i < ceil(Sq, {bm}), %h < H, %b < B)
{flags}
{{
  %c0 = const {{value = 0}} : idx
  %bm = const {{value = {bm}}} : idx
  %bn = const {{value = {bn}}} : idx
  %cd = const {{value = {d}}} : idx
  %Sq = sym {{name = "Sq"}} : idx
  %Sk = sym {{name = "Sk"}} : idx
  %ninf = const {{value = -inf}} : f32
  %zero = const {{value = 0.0}} : f32
  %hzero = const {{value = 0.0}} : bf16
  %qb = view.index %q, %b {{axis = 0}} : view<bf16, 3, in>
  %qh = view.index %qb, %h {{axis = 1}} : view<bf16, 2, in>
  %kb = view.index %k, %b {{axis = 0}} : view<bf16, 3, in>
  %kh = view.index %kb, %h {{axis = 1}} : view<bf16, 2, in>
  %vb = view.index %v, %b {{axis = 0}} : view<bf16, 3, in>
  %vh = view.index %vb, %h {{axis = 1}} : view<bf16, 2, in>
  %dd = range %c0, %c0, %cd {{size = {d}, full}} : range<{d}>
  %i0 = mul %i, %bm : idx
  %qi = range %i0, %c0, %Sq {{size = {bm}}} : range<{bm}>
  %qt = load %qh, %qi, %dd : bf16[{bm}, {d}]
  %m0 = const {{value = -inf}} : f32[{bm}, 1]
  %l0 = const {{value = 0.0}} : f32[{bm}, 1]
  %acc0 = const {{value = 0.0}} : f32[{bm}, {d}]
  %m, %l, %acc = for %c0, {keys_end}, %bn, %m0, %l0, %acc0 : f32[{bm}, 1], f32[{bm}, 1], f32[{bm}, {d}] (%j: idx, %mp: f32[{bm}, 1], %lp: f32[{bm}, 1], %op: f32[{bm}, {d}]) {{
    %kj = range %j, %c0, %Sk {{size = {bn}}} : range<{bn}>
    %in = inside %kj : bool[{bn}]
    %inrow = reshape %in : bool[1, {bn}]
    %incol = reshape %in : bool[{bn}, 1]
    %kt = load %kh, %kj, %dd : bf16[{bn}, {d}]
    %ktt = permute %kt {{perm = [1, 0]}} : bf16[{d}, {bn}]
    %qk = dot %qt, %ktt : f32[{bm}, {bn}]
    %s = mul %qk, %scale : f32[{bm}, {bn}]
    %sm = select %inrow, %s, %ninf : f32[{bm}, {bn}]
    %smax = reduce %sm {{axis = 1, kind = max}} : f32[{bm}, 1]
    %mn = max %mp, %smax : f32[{bm}, 1]
    %none = eq %mn, %ninf : bool[{bm}, 1]
    %z = select %none, %zero, %mn : f32[{bm}, 1]
    %sz = sub %s, %z : f32[{bm}, {bn}]
    %pe = exp %sz : f32[{bm}, {bn}]
    %mz = sub %mp, %z : f32[{bm}, 1]
    %al = exp %mz : f32[{bm}, 1]
    %pl = select %inrow, %pe, %zero : f32[{bm}, {bn}]
    %psum = reduce %pl {{axis = 1, kind = sum}} : f32[{bm}, 1]
    %la = mul %lp, %al : f32[{bm}, 1]
    %ln = add %la, %psum : f32[{bm}, 1]
    %vt = load %vh, %kj, %dd : bf16[{bn}, {d}]
    %ph = cast %pe : bf16[{bm}, {bn}]
    %pg = select %inrow, %ph, %hzero : bf16[{bm}, {bn}]
    %vg = select %incol, %vt, %hzero : bf16[{bn}, {d}]
    %oa = mul %op, %al : f32[{bm}, {d}]
    %pv = dot %pg, %vg : f32[{bm}, {d}]
    %on = add %oa, %pv : f32[{bm}, {d}]
    yield %mn, %ln, %on
  }}
  %empty = eq %l, %zero : bool[{bm}, 1]
  %inv0 = rcp %l : f32[{bm}, 1]
  %inv = select %empty, %zero, %inv0 : f32[{bm}, 1]
  %of = mul %acc, %inv : f32[{bm}, {d}]
  %ob = view.index %o, %b {{axis = 0}} : view<f32, 3, out>
  %oh = view.index %ob, %h {{axis = 1}} : view<f32, 2, out>
  store %oh, %of, %qi, %dd
  yield
}}
)",
                                 fmt::arg("bm", f.bm), fmt::arg("bn", f.bn), fmt::arg("d", f.d), fmt::arg("flags", f.flags),
                                 fmt::arg("keys_end", f.keys_end), fmt::arg("more", f.more_params.empty() ? "" : ",\n  " + f.more_params));
  if (f.repeats > 0) {
    const std::string first = "  %m, %l, %acc = for", carried = fmt::format("f32[{0}, 1], f32[{0}, 1], f32[{0}, {1}]", f.bm, f.d);
    const std::size_t from = text.find(first), to = text.find("  %empty =");
    std::string loop = "  %m2, %l2, %acc2 = for" + text.substr(from + first.size(), to - from - first.size());
    loop.replace(loop.find("%m0, %l0, %acc0"), 15, "%m1, %l1, %acc1");
    text.replace(
        from, to - from,
        fmt::format("  %rep = const {{value = {}}} : idx\n  %one = const {{value = 1}} : idx\n  %m, %l, %acc = for %c0, %rep, %one, %m0, %l0, "
                    "%acc0 : {} (%r: idx, %m1: f32[{}, 1], %l1: f32[{}, 1], %acc1: f32[{}, {}]) {{\n{}  yield %m2, %l2, %acc2\n  }}\n",
                    f.repeats, carried, f.bm, f.bm, f.bm, f.d, loop));
  }
  return text;
}

}  // namespace tessera::test
