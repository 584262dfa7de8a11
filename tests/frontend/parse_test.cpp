#include "frontend/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/frontend/parse_support.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using testing::Parsed;

/// The dump of `e` as the value of a `let`.
std::string expression(const std::string& e) {
  Parsed p("fn f() { let x = " + e + "; }");
  if (p.diagnostics.any()) return p.errors();
  std::string out = dump(p.file);
  std::string head = "fn f -> ()\n  let x = ";
  return out.substr(head.size(), out.size() - head.size() - 1);
}

std::string statements(const std::string& s) {
  Parsed p("fn f() {" + s + "}");
  if (p.diagnostics.any()) return p.errors();
  return dump(p.file).substr(std::string("fn f -> ()\n").size());
}

std::string items(const std::string& s) {
  Parsed p(s);
  return p.diagnostics.any() ? p.errors() : dump(p.file);
}

TEST(Parse, Precedence) {
  // Each level binds tighter than the one before, and bit operators tighter than comparisons.
  EXPECT_EQ(expression("a || b && c == d | e ^ f & g << h + i * j"), "(a || (b && (c == (d | (e ^ (f & (g << (h + (i * j)))))))))");
  EXPECT_EQ(expression("a * b + c >> d & e ^ f | g < h && i || j"), "(((((((((a * b) + c) >> d) & e) ^ f) | g) < h) && i) || j)");
  EXPECT_EQ(expression("u & mask == want"), "((u & mask) == want)");
  EXPECT_EQ(expression("a + 1 .. b || c"), "(range (a + 1) (b || c))");
}

TEST(Parse, ChainsAreFlatAndLeftAssociative) {
  EXPECT_EQ(expression("a - b + c - d"), "(a - b + c - d)");
  EXPECT_EQ(expression("a * b / c % d @ e"), "(a * b / c % d @ e)");
  EXPECT_EQ(expression("a - (b - c)"), "(a - (b - c))");
  EXPECT_EQ(expression("(a - b) - c"), "((a - b) - c)");
  EXPECT_EQ(expression("(a < b) == c"), "((a < b) == c)");
}

TEST(Parse, SingleOperandsStayThemselves) {
  EXPECT_EQ(expression("a"), "a");
  EXPECT_EQ(expression("(((a)))"), "a");
}

TEST(Parse, Unary) {
  EXPECT_EQ(expression("-1"), "(- 1)");
  EXPECT_EQ(expression("- - !~a"), "(- (- (! (~ a))))");
  EXPECT_EQ(expression("-a.b * -c"), "((- (postfix a .b)) * (- c))");
  EXPECT_EQ(expression("-inf"), "(- inf)");
}

TEST(Parse, Postfix) {
  EXPECT_EQ(expression("f(x, BN: 64)[b, :, 0 .. n].T"), "(postfix f (x, BN: 64) [b, :, (range 0 n)] .T)");
  EXPECT_EQ(expression("f()"), "(postfix f ())");
  EXPECT_EQ(expression("(a.b).c"), "(postfix (postfix a .b) .c)");
  EXPECT_EQ(expression("(a + b)[0]"), "(postfix (a + b) [0])");
  EXPECT_EQ(expression("f32[M, 1]"), "(postfix f32 [M, 1])");
}

TEST(Parse, Lambdas) {
  EXPECT_EQ(expression("|x| x + 1"), "(lambda |x| (x + 1))");
  EXPECT_EQ(expression("f(|a, b| a | b, |c| c)"), "(postfix f ((lambda |a, b| (a | b)), (lambda |c| c)))");
  EXPECT_EQ(expression("|j| { let u = j; return u; }"), "(lambda |j|\n    let u = j\n    return u\n  )");
}

TEST(Parse, Numbers) {
  EXPECT_EQ(expression("0x7F800000"), "2139095040");
  EXPECT_EQ(expression("18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(expression("0xFFFFFFFFFFFFFFFF"), "18446744073709551615");
  EXPECT_EQ(expression("1.5"), "(real 1.5)");
  EXPECT_EQ(expression("1e-6"), "(real 1e-06)");
  EXPECT_EQ(expression("1.0e-20"), "(real 1e-20)");
  EXPECT_EQ(expression("2.0"), "(real 2)");
  EXPECT_EQ(expression("1..3"), "(range 1 3)");
  EXPECT_EQ(expression("1 .. 3"), "(range 1 3)");
}

TEST(Parse, Statements) {
  EXPECT_EQ(statements("let (a, b) = top: f(x); var y: f32[2] = 0.0; let z = t: g();"),
            "  let a, b = top: (postfix f (x))\n  var y: f32[2] = (real 0)\n  let z = t: (postfix g ())\n");
  EXPECT_EQ(statements("a = 1; a[i] += 2; a -= 3; a *= 4; a /= 5; f(a);"),
            "  assign a = 1\n  assign (postfix a [i]) += 2\n  assign a -= 3\n  assign a *= 4\n  assign a /= 5\n  do (postfix f (a))\n");
  EXPECT_EQ(statements("l: for i in 0 .. 3 { break; } for const k in K {} while a { }"),
            "  for l: i in (range 0 3)\n    break\n  for const k in K\n  while a\n");
  EXPECT_EQ(statements("if a { return; } else if b { } else { x = 1; }"), "  if a\n    return\n  else\n    if b\n    else\n      assign x = 1\n");
  EXPECT_EQ(statements("assert a; assert b, \"no \\\"b\\\"\"; claim unique(t) \"why\"; claim c;"),
            "  assert a\n  assert b \"no \\\"b\\\"\"\n  claim (postfix unique (t)) \"why\"\n  claim c\n");
  EXPECT_EQ(statements("return a, b;"), "  return a, b\n");
}

TEST(Parse, Items) {
  EXPECT_EQ(items("import std.random as rnd; import a;"), "import std.random as rnd\nimport a\n");
  EXPECT_EQ(items("const A = 1; const B: f32 = 2.0; type Lse = f32;"), "const A = 1\nconst B: f32 = (real 2)\ntype Lse = f32\n");
  EXPECT_EQ(items("struct S[M: int] { a: f32[M, 1], f: fn[N: int](f32[M, N], At[M, N]) -> f32[M, N] = |s, at| s } struct None { }"),
            "struct S[M: int]\n  a: f32[M, 1]\n  f: fn[N: int](f32[M, N], At[M, N]) -> (f32[M, N]) = (lambda |s, at| s)\nstruct None\n");
  EXPECT_EQ(
      items("fn f[A: int, B: bool, C: dtype, D: half, E: float, F: inttype, G: struct = None, S: dim, v: fn(X) -> att.V = nothing]"
            "(q: view T[S] strided, r: range[S] = whole(S), g: fn(f32) -> (f32, f32)) -> (f32[A], Lse) { }"),
      "fn f[A: int, B: bool, C: dtype, D: half, E: float, F: inttype, G: struct = None, S: dim, v: fn(X) -> (att.V) = nothing] -> (f32[A], Lse)\n"
      "  param q: view T[S] strided\n  param r: range[S] = (postfix whole (S))\n  param g: fn(f32) -> (f32, f32)\n");
}

TEST(Parse, Kernels) {
  EXPECT_EQ(items("kernel k[T: half](a: view T[N], b: out view T[N] ?, c: inout view T[N], d: scatter view T[N], e: add view T[N],"
                  " p: peer[W] inout view T[N], s: f32)\nwhere N % 8 == 0, T in {f16, bf16}, W in 2 .. 9\nover (i in tiles(N, 8), b in B) strict "
                  "resident { }"),
            "kernel k[T: half] strict resident\n  param a: view T[N]\n  param b: out view T[N] ?\n  param c: inout view T[N]\n"
            "  param d: scatter view T[N]\n  param e: add view T[N]\n  param p: peer[W] inout view T[N]\n  param s: f32\n"
            "  where ((N % 8) == 0)\n  where T in {f16, bf16}\n  where W in (range 2 9)\n  over i in (postfix tiles (N, 8))\n  over b in B\n");
  EXPECT_EQ(items("kernel a = att.fwd[X: Gemma, variant: gemma];"), "kernel a = att.fwd[X: Gemma, variant: gemma]\n");
}

TEST(Parse, TuneAndSchedule) {
  EXPECT_EQ(items("tune k { BM in {64, 128}; stages in 3..6; where BM % 8 == 0, BM in {1}; key T, bucket(N); invariant B; }"),
            "tune k\n  BM in {64, 128}\n  stages in (range 3 6)\n  where ((BM % 8) == 0)\n  where BM in {1}\n  key T\n  key (postfix bucket (N))\n"
            "  invariant B\n");
  EXPECT_EQ(items("tune a.k like b.k; schedule k like att.fwd;"), "tune a.k like b.k\nschedule k like att.fwd\n");
  EXPECT_EQ(items("schedule a.k on sm90 { roles producer: 1, consumer: BM / 64; ring p.kt: 2, vt: 2 transposed; divide ak 0: group; swizzle 8;"
                  " pingpong s, st.acc; persistent row_major; fibers; }"),
            "schedule a.k on sm90\n  roles (producer: 1) (consumer: (BM / 64))\n  ring (p.kt: 2) (vt: 2 transposed)\n  divide (ak #0: group)\n"
            "  swizzle ( #8)\n  pingpong (s) (st.acc)\n  persistent (row_major)\n  fibers\n");
}

TEST(Parse, ContextualWordsStayNames) {
  for (const char* word : {"key", "on", "like", "swizzle", "invariant", "strict", "deterministic", "resident", "add", "peer", "strided", "range",
                           "as", "int", "half", "dim"}) {
    Parsed p(std::string("fn ") + word + "[" + word + ": int](" + word + ": f32) { let " + word + " = " + word + "." + word + "(" + word + ": " +
             word + "); " + word + " += " + word + "[0]; }\ntune k { " + word + " in {1}; }\n");
    EXPECT_FALSE(p.diagnostics.any()) << p.errors();
  }
  // Where the word has a meaning too, what follows decides.
  EXPECT_EQ(items("fn f(a: add, b: add view i32[N], c: range[S], d: range) {}"),
            "fn f -> ()\n  param a: add\n  param b: add view i32[N]\n  param c: range[S]\n  param d: range\n");
  EXPECT_EQ(items("tune k { key in {1}; key key; }"), "tune k\n  key in {1}\n  key key\n");
}

TEST(Parse, Spans) {
  std::string text = "fn f() {\n  let x = (a + b) * c.d;\n}";
  Parsed p(text);
  const auto& fn = std::get<ast::Fn>(p.file.items.at(0).node);
  const ast::Stmt& stmt = fn.body.stmts.at(0);
  EXPECT_EQ(p.sources.text(stmt.span), "let x = (a + b) * c.d;");
  const auto& let = std::get<ast::Let>(stmt.node);
  EXPECT_EQ(p.sources.text(let.names.at(0).span), "x");
  EXPECT_EQ(p.sources.text(let.value->span), "(a + b) * c.d");
  const auto& chain = std::get<ast::Chain>(let.value->node);
  EXPECT_EQ(p.sources.text(chain.first->span), "(a + b)");
  EXPECT_EQ(p.sources.text(chain.rest.at(0).op_span), "*");
  EXPECT_EQ(p.sources.text(chain.rest.at(0).rhs->span), "c.d");
  EXPECT_EQ(p.sources.text(std::get<ast::Postfix>(chain.rest.at(0).rhs->node).suffixes.at(0).span), ".d");
  EXPECT_EQ(p.sources.text(p.file.items.at(0).span), text);
  EXPECT_EQ(p.sources.text(fn.body.span), text.substr(text.find('{')));
}

TEST(Parse, CommentsAreRecorded) {
  Parsed p("// one\nfn f() {  // two\r\n  // three \xE2\x8A\x97\n}\n  //");
  std::vector<std::pair<std::string, bool>> comments;
  for (const ast::Comment& c : p.file.comments) comments.emplace_back(p.sources.text(c.span), c.own_line);
  EXPECT_THAT(comments, ::testing::ElementsAre(std::pair("// one", true), std::pair("// two", false), std::pair("// three \xE2\x8A\x97", true),
                                               std::pair("//", true)));
  EXPECT_FALSE(p.diagnostics.any());
}

TEST(Parse, EmptyFiles) {
  for (const char* text : {"", "\n \t\r\n", "// only a comment", "\xEF\xBB\xBF"}) {
    Parsed p(text);
    EXPECT_FALSE(p.diagnostics.any()) << p.errors();
    EXPECT_TRUE(p.file.items.empty());
  }
}

TEST(Parse, Programs) {
  ASSERT_FALSE(testing::program_files().empty());
  for (const auto& path : testing::program_files()) {
    Parsed p(testing::read(path));
    EXPECT_FALSE(p.diagnostics.any()) << path << "\n" << p.errors();
    EXPECT_FALSE(p.file.items.empty()) << path;
  }
}

// --- errors

struct Wrong {
  const char* text;
  Code code;
  std::uint32_t line, column;
  const char* message;
};

void expect_errors(const std::string& text, const std::vector<Wrong>& expected) {
  Parsed p(text);
  EXPECT_EQ(p.diagnostics.list().size(), expected.size()) << p.errors();
  for (std::size_t i = 0; i < std::min(expected.size(), p.diagnostics.list().size()); ++i) {
    const Diagnostic& d = p.diagnostics.list()[i];
    Position at = p.sources.begin(d.span);
    EXPECT_EQ(info(d.code).name, std::string(info(expected[i].code).name)) << p.errors();
    EXPECT_EQ(at.line, expected[i].line) << p.errors();
    EXPECT_EQ(at.column, expected[i].column) << p.errors();
    EXPECT_THAT(d.message, HasSubstr(expected[i].message));
  }
}

TEST(ParseErrors, OneOfEach) {
  const Wrong cases[] = {
      {"fn f() { let x = ; }", Code::E0101, 1, 18, "expected an expression, found `;`"},
      {"fn f() { let x = a b; }", Code::E0101, 1, 20, "expected `;`, found `b`"},
      {"fn f() {\n  x = f(1,\n    );\n}", Code::E0101, 3, 5, "expected an expression, found `)`"},
      {"fn f() { x = f(1 2); }", Code::E0101, 1, 18, "expected `,` or `)`, found `2`"},
      {"fn f() { x = (1; }", Code::E0101, 1, 16, "expected `)`, found `;`"},
      {"fn f() { x = a[]; }", Code::E0101, 1, 16, "expected an expression or `:`, found `]`"},
      {"fn f() { let = 1; }", Code::E0101, 1, 14, "expected a name, found `=`"},
      {"fn f() { let x 1; }", Code::E0101, 1, 16, "expected `=`, found `1`"},
      {"fn f() { for i of x { } }", Code::E0101, 1, 16, "expected `in`, found `of`"},
      {"fn f() { if a b = 1; }", Code::E0101, 1, 15, "expected `{`, found `b`"},
      {"fn f() { l: while a { } }", Code::E0101, 1, 13, "expected `for`, found `while`"},
      {"fn f() { ) }", Code::E0101, 1, 10, "expected a statement, found `)`"},
      {"fn f() { const x = 1; }", Code::E0101, 1, 10, "expected a statement, found `const`"},
      {"fn f() {\n x = 1;", Code::E0101, 2, 8, "expected `}`, found end of file"},
      {"fn f(x) {}", Code::E0101, 1, 7, "expected `:`, found `)`"},
      {"fn f(x: ) {}", Code::E0101, 1, 9, "expected a type, found `)`"},
      {"fn f(x: fn()) {}", Code::E0101, 1, 13, "expected `->`, found `)`"},
      {"fn f[N: f32]() {}", Code::E0101, 1, 9, "expected a kind (int, bool, dtype"},
      {"struct S { a: f32 b: f32 }", Code::E0101, 1, 19, "expected `,` or `}`, found `b`"},
      {"kernel k() { }", Code::E0101, 1, 12, "expected `over`, found `{`"},
      {"kernel k() over (i in N) fast { }", Code::E0101, 1, 26, "expected `{`, found `fast`"},
      {"tune k { BM is 3; }", Code::E0101, 1, 10, "expected `name in ..`, `where`, `key` or `invariant`, found `BM`"},
      {"schedule k for sm90 { }", Code::E0101, 1, 12, "expected `on`, found `for`"},
      {"fn f() { x = \"a\\qb\"; }", Code::E0101, 1, 16, "unknown escape"},
      {"let x = 1;", Code::E0101, 1, 1, "expected `import`, `const`"},
      {"fn f() { x = 1 $ 2; }", Code::E0104, 1, 16, "invalid character `$`"},
      {"fn f() { x = 99999999999999999999; }", Code::E0105, 1, 14, "does not fit 64 bits"},
      {"fn f() { x = 0x10000000000000000; }", Code::E0105, 1, 14, "does not fit 64 bits"},
      {"fn f() { x = 12ab; }", Code::E0105, 1, 14, "malformed number `12ab`"},
      {"fn f() { x = 0x; }", Code::E0105, 1, 14, "malformed number `0x`"},
      {"fn f() { x = 1.; }", Code::E0105, 1, 14, "malformed number `1.`"},
      {"fn f() { x = 1e+; }", Code::E0105, 1, 14, "malformed number `1e+`"},
      {"fn f() { x = 1e999; }", Code::E0105, 1, 14, "outside the range"},
      {"fn f() { x = \"abc; }\n}", Code::E0106, 1, 14, "unterminated string"},
      {"fn f() { x = a < b <= c; }", Code::E0107, 1, 20, "chained"},
      {"fn f() { x = a == b == c && d; }", Code::E0107, 1, 21, "chained"},
      {"fn f() { let for = 1; }", Code::E0108, 1, 14, "`for` is a reserved word"},
      {"fn kernel() { }", Code::E0108, 1, 4, "`kernel` is a reserved word"},
      {"fn f(view: f32) { }", Code::E0108, 1, 6, "`view` is a reserved word"},
      {"fn f() { x = a.in; }", Code::E0108, 1, 16, "`in` is a reserved word"},
  };
  for (const Wrong& w : cases) {
    SCOPED_TRACE(w.text);
    Parsed p(w.text);
    ASSERT_TRUE(p.diagnostics.any());
    const Diagnostic& d = p.diagnostics.list()[0];
    EXPECT_EQ(info(d.code).name, std::string(info(w.code).name)) << p.errors();
    EXPECT_EQ(p.sources.begin(d.span).line, w.line) << p.errors();
    EXPECT_EQ(p.sources.begin(d.span).column, w.column) << p.errors();
    EXPECT_THAT(d.message, HasSubstr(w.message));
  }
}

TEST(ParseErrors, ResumesAtTheNextStatement) {
  std::string text =
      "fn f() {\n"
      "  let a = ;\n"
      "  for i in 0 .. 3 {\n"
      "    b = (1;\n"
      "    c = 2;\n"
      "  }\n"
      "  let d = |x| { y z; return x; };\n"
      "  e = 3;\n"
      "}\n"
      "fn g() { }\n";
  expect_errors(text, {{"", Code::E0101, 2, 11, "an expression"}, {"", Code::E0101, 4, 11, "`)`"}, {"", Code::E0101, 7, 19, "`;`"}});
  // What is sound stays in the tree.
  EXPECT_EQ(dump(Parsed(text).file),
            "fn f -> ()\n  for i in (range 0 3)\n    assign c = 2\n  let d = (lambda |x|\n    return x\n  )\n  assign e = 3\nfn g -> ()\n");
}

TEST(ParseErrors, ResumesAtTheNextItem) {
  expect_errors("fn f( { }\nkernel k(x f32) over (i in N) { }\nstruct { }\nfn h() { }\n",
                {{"", Code::E0101, 1, 7, "a name"}, {"", Code::E0101, 2, 12, "`:`"}, {"", Code::E0101, 3, 8, "a name"}});
  EXPECT_EQ(dump(Parsed("fn f( { }\nfn h() { }\n").file), "fn h -> ()\n");
  EXPECT_EQ(dump(Parsed("fn f() -> { x = 1; } fn h() { }").file), "fn h -> ()\n");
}

TEST(ParseErrors, ResumesInTuneAndSchedule) {
  std::string text = "tune k { BM in {64, ; BN in {8}; key ; }\nschedule k on sm90 { ring kt: ; unroll i: 2; }\nfn f() { }\n";
  expect_errors(text,
                {{"", Code::E0101, 1, 21, "an expression"}, {"", Code::E0101, 1, 38, "an expression"}, {"", Code::E0101, 2, 31, "an expression"}});
}

TEST(ParseErrors, MissingBraceShowsAtTheNextItem) {
  Parsed p("fn f() {\n  if a {\n    x = 1;\n}\n\nfn g() { }\n");
  ASSERT_EQ(p.diagnostics.list().size(), 1u) << p.errors();
  const Diagnostic& d = p.diagnostics.list()[0];
  EXPECT_EQ(p.sources.begin(d.span).line, 6u);
  ASSERT_EQ(d.labels.size(), 1u);
  EXPECT_EQ(p.sources.begin(d.labels[0].span).line, 1u);
  EXPECT_EQ(dump(p.file), "fn g -> ()\n");
}

TEST(ParseErrors, InSourceOrder) {
  expect_errors("fn f() { x = ; y = 1 $; z = 1 < 2 < 3; w = \"\n; }",
                {{"", Code::E0101, 1, 14, ""}, {"", Code::E0104, 1, 22, ""}, {"", Code::E0107, 1, 35, ""}, {"", Code::E0106, 1, 44, ""}});
}

TEST(ParseErrors, AreBounded) {
  Parsed p("fn f() {" + testing::repeat("x = ;\n", 10000) + "}");
  EXPECT_LE(p.diagnostics.list().size(), Diagnostics::limit);
  EXPECT_TRUE(p.diagnostics.any());
}

}  // namespace
}  // namespace tessera
