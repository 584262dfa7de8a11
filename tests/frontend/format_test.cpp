#include "frontend/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontend/tokens.h"
#include "tests/frontend/parse_support.h"

namespace tessera {
namespace {

using testing::Parsed;
using testing::repeat;

std::vector<std::string> comments(const Parsed& p) {
  std::vector<std::string> out;
  for (const ast::Comment& c : p.file.comments) out.emplace_back(p.sources.text(c.span));
  return out;
}

/// Formats, and checks the promises that hold for any text.
std::string formatted(const std::string& text) {
  Parsed first(text);
  EXPECT_FALSE(first.diagnostics.any()) << first.errors();
  std::string out = first.formatted();
  Parsed second(out);
  EXPECT_FALSE(second.diagnostics.any()) << second.errors();
  EXPECT_EQ(second.formatted(), out) << "not idempotent on\n" << text;
  EXPECT_EQ(dump(second.file), dump(first.file)) << "meaning changed:\n" << text;
  EXPECT_THAT(comments(second), ::testing::UnorderedElementsAreArray(comments(first))) << out;
  return out;
}

TEST(Format, Spacing) {
  EXPECT_EQ(formatted("fn   f( x:f32,y :view T[ N,M ]  strided )->( f32,f32[M] ){let (a,b)=l:g(x,n:-1)[0..3,:].T*(  a+b );return a,b;}"),
            "fn f(x: f32, y: view T[N, M] strided) -> (f32, f32[M]) {\n"
            "    let (a, b) = l: g(x, n: -1)[0 .. 3, :].T * (a + b);\n"
            "    return a, b;\n"
            "}\n");
}

TEST(Format, OneLineBlocksStayOnOneLineIfTheyFit) {
  EXPECT_EQ(formatted("fn f() {return 1;}"), "fn f() { return 1; }\n");
  EXPECT_EQ(formatted("fn f() {\nif a {b=1;c=2;} else {d=1;}\n}"), "fn f() {\n    if a { b = 1; c = 2; } else { d = 1; }\n}\n");
  EXPECT_EQ(formatted("fn f() {\nif a {\nb=1;} else {d=1;}\n}"), "fn f() {\n    if a {\n        b = 1;\n    } else {\n        d = 1;\n    }\n}\n");
  std::string name(50, 'n');
  EXPECT_EQ(formatted("fn f() {\nfor i in " + name + " { x = " + name + "; y = " + name + "; }\n}"),
            "fn f() {\n    for i in " + name + " {\n        x = " + name + ";\n        y = " + name + ";\n    }\n}\n");
}

TEST(Format, SingleBlankLinesStay) {
  EXPECT_EQ(formatted("\n\nimport a;\n\n\n\nimport b;\nimport c;\nfn f() {\n\n\n    x = 1;\n\n\n    y = 1;\n    z = 1;\n\n}\n\n"),
            "import a;\n\nimport b;\nimport c;\nfn f() {\n    x = 1;\n\n    y = 1;\n    z = 1;\n}\n");
}

TEST(Format, Comments) {
  EXPECT_EQ(formatted("// top\n\n// of f\nfn f() {   // behind the brace\n// of x\n  x = 1;// behind x\n  yy = 1;   // behind y\n\n  // at the "
                      "end\n}  // behind f\n// last"),
            "// top\n\n// of f\nfn f() {  // behind the brace\n    // of x\n    x = 1;   // behind x\n    yy = 1;  // behind y\n\n    // at the end\n"
            "}  // behind f\n// last\n");
  // A comment inside a statement moves before it.
  EXPECT_EQ(formatted("fn f() {\n  x = a // why a\n    + b;\n}\n"), "fn f() {\n    // why a\n    x = a + b;\n}\n");
  EXPECT_EQ(formatted("struct S {  \n  a: f32,  // of a\n // of b\n  b: f32 // behind b\n}"),
            "struct S {\n    a: f32,  // of a\n    // of b\n    b: f32  // behind b\n}\n");
  EXPECT_EQ(formatted("fn f(a: f32,  // of a\n  b: f32) {}"), "fn f(\n    a: f32,  // of a\n    b: f32)\n{}\n");
}

TEST(Format, Kernels) {
  EXPECT_EQ(formatted("kernel k[T:half,BM:int=64](a:view T[N],b:add view f32[N]?,p:peer[W] inout view T[N])where N%8==0,T in{f16,bf16} over(i in "
                      "tiles(N,BM),b in B)strict resident{b[i]+=1;}\nkernel g=att.fwd[X:Gemma];"),
            "kernel k[T: half, BM: int = 64](a: view T[N], b: add view f32[N] ?, p: peer[W] inout view T[N])\n"
            "where N % 8 == 0, T in {f16, bf16}\n"
            "over (i in tiles(N, BM), b in B) strict resident\n"
            "{\n"
            "    b[i] += 1;\n"
            "}\n"
            "kernel g = att.fwd[X: Gemma];\n");
}

TEST(Format, LongListsWrapOneLevelIndented) {
  std::string params = "first: view f32[BATCH, HEADS, ROWS, COLUMNS]";
  EXPECT_EQ(formatted("fn f(" + params + ", second: " + params.substr(7) + ", third: " + params.substr(7) + ") -> f32 { return 1; }"),
            "fn f(\n"
            "    first: view f32[BATCH, HEADS, ROWS, COLUMNS], second: view f32[BATCH, HEADS, ROWS, COLUMNS],\n"
            "    third: view f32[BATCH, HEADS, ROWS, COLUMNS]) -> f32\n"
            "{ return 1; }\n");
  std::string sum = "x = " + repeat("some_long_name * 2 + ", 8) + "1;";
  std::string out = formatted("fn f() {\n" + sum + "\n}");
  EXPECT_THAT(out, ::testing::HasSubstr("\n        + "));
}

TEST(Format, NoLineIsLongerThanNeeded) {
  for (const auto& path : testing::program_files()) {
    std::string out = formatted(testing::read(path));
    for (std::size_t begin = 0; begin < out.size();) {
      std::size_t end = out.find('\n', begin);
      std::string line = out.substr(begin, end - begin);
      std::string code = line.substr(0, line.find("//"));
      while (!code.empty() && code.back() == ' ') code.pop_back();
      EXPECT_LE(code.size(), 120u) << path << ": " << line;
      EXPECT_TRUE(line.empty() || line.back() != ' ') << path << ": " << line;
      begin = end + 1;
    }
  }
}

TEST(Format, TuneAndSchedule) {
  EXPECT_EQ(formatted("tune k{BM in{64,128};key T;stages in 3..6;where BM>8;key N;invariant B;}\ntune k like j;"),
            "tune k { BM in {64, 128}; key T, N; stages in 3 .. 6; where BM > 8; invariant B; }\ntune k like j;\n");
  EXPECT_EQ(formatted("schedule k on sm90{\nring p.kt:2,vt:2 transposed; // deep\ndivide ak 0:group;swizzle 8;\n\nfibers;}"),
            "schedule k on sm90 {\n    ring p.kt: 2, vt: 2 transposed;  // deep\n    divide ak 0: group;\n    swizzle 8;\n\n    fibers;\n}\n");
}

TEST(Format, KeepsSpellingOfLiteralsAndParentheses) {
  EXPECT_EQ(formatted("const A = (0x7f) + 1.0e-20 + (a * b) + (\"q\\\"\\\\\\n\");"), "const A = (0x7f) + 1.0e-20 + (a * b) + (\"q\\\"\\\\\\n\");\n");
}

TEST(Format, EmptyFiles) {
  EXPECT_EQ(formatted(""), "");
  EXPECT_EQ(formatted("\n\n// a\n\n\n// b"), "// a\n\n// b\n");
}

TEST(Format, ProgramsAreInCanonicalForm) {
  ASSERT_FALSE(testing::program_files().empty());
  for (const auto& path : testing::program_files()) formatted(testing::read(path));
}

// Comments survive, and idempotence holds, wherever a comment may stand.
TEST(Format, CommentsAnywhere) {
  std::string text =
      "import a.b as c;\n\nstruct S[M: int] { a: f32[M], f: fn(f32) -> f32 = |x| x }\n"
      "fn f[M: int](x: f32[M] = 1.0, y: view T[N]) -> (f32, f32) {\n    let g = |j| { let u = h(j)[0, :]; return u; };\n"
      "    l: for const i in 0 .. 3 {\n        if a && b { c = -1; } else if d {\n            c += (1 + 2) * 3;\n        } else { break; }\n    }\n"
      "    while e { assert x, \"m\"; }\n    claim unique(b) \"w\";\n    return a, b;\n}\n"
      "kernel k[T: half](x: out view T[N] ?)\nwhere N in {1, 2}\nover (i in N) strict\n{\n    x[i] = 1;\n}\n"
      "tune k { BM in {1}; where BM > 1; key T; }\nschedule k on cpu {\n    ring a.b: 2 t, c 1: d;\n    fibers;\n}\nkernel q = k[T: f16];\n";
  SourceMap sources;
  Diagnostics diagnostics;
  Tokens tokens = tokenize(sources, sources.add("t", text), diagnostics);
  for (const Token& token : tokens.list) {
    std::string behind = text, above = text;
    formatted(behind.insert(token.begin, " // c 1\n"));
    formatted(above.insert(token.begin, "\n\n// c 1\n\n// c 2\n"));
  }
}

}  // namespace
}  // namespace tessera
