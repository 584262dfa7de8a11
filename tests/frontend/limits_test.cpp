#include "frontend/limits.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tests/frontend/parse_support.h"

namespace tessera {
namespace {

using testing::Parsed;
using testing::repeat;

bool has(const Parsed& p, Code code) {
  for (const Diagnostic& d : p.diagnostics.list())
    if (d.code == code) return true;
  return false;
}

TEST(Limits, FileSize) {
  std::string text = "fn f() { }\n";
  text.resize(limits::file_bytes, ' ');
  EXPECT_FALSE(Parsed(text).diagnostics.any());
  Parsed p(text + " ");
  ASSERT_EQ(p.diagnostics.list().size(), 1u);
  EXPECT_TRUE(has(p, Code::E0103));
  EXPECT_TRUE(p.file.items.empty());
}

/// Nestings of depth n, one inside the block of a function (which counts as one).
struct Nesting {
  const char* name;
  std::function<std::string(int)> text;
};

const Nesting nestings[] = {
    {"parentheses", [](int n) { return "x = " + repeat("(", n) + "1" + repeat(")", n) + ";"; }},
    {"calls", [](int n) { return "x = " + repeat("f(", n) + "1" + repeat(")", n) + ";"; }},
    {"indices", [](int n) { return "x = " + repeat("f[", n) + "1" + repeat("]", n) + ";"; }},
    {"blocks", [](int n) { return repeat("while a {", n) + repeat("}", n); }},
    {"unary", [](int n) { return "x = " + repeat("-!~", n / 3) + repeat("-", n % 3) + "1;"; }},
    {"unary and parentheses", [](int n) { return "x = " + repeat("-(", n / 2) + repeat("-", n % 2) + "1" + repeat(")", n / 2) + ";"; }},
    {"lambdas", [](int n) { return "x = " + repeat("|a| ", n) + "1;"; }},
    {"else if", [](int n) { return "if a {}" + repeat(" else if a {}", n - 1) + ";"; }},
    {"fn types", [](int n) { return "let x: " + repeat("fn() -> ", n) + "f32 = 1;"; }},
};

TEST(Limits, DepthIsExact) {
  for (const Nesting& nesting : nestings) {
    SCOPED_TRACE(nesting.name);
    int most = static_cast<int>(limits::depth) - 1;
    EXPECT_FALSE(has(Parsed("fn f() { " + nesting.text(most) + " }"), Code::E0102));
    Parsed p("fn f() { " + nesting.text(most + 1) + " }");
    EXPECT_TRUE(has(p, Code::E0102));
    EXPECT_TRUE(p.file.items.empty());
  }
}

TEST(Limits, DepthCountsOnlyWhatIsOpen) {
  Parsed p("fn f() {\n" + repeat("x = -1 * -2 * (3 + !(4));\nif a { x = |b| b; } else if c { } else { }\nlet g: fn() -> f32 = |b| b;\n", 300) + "}");
  EXPECT_FALSE(p.diagnostics.any()) << p.errors();
}

TEST(Limits, DepthErrorPointsAtTheWordThatGoesTooDeep) {
  Parsed p("fn f() {\nx = " + repeat("(", 500) + ";}");
  ASSERT_TRUE(has(p, Code::E0102));
  Position at = p.sources.begin(p.diagnostics.list()[0].span);
  EXPECT_EQ(at.line, 2u);
  EXPECT_EQ(at.column, 5u + limits::depth - 1);
}

TEST(Limits, ManyBrackets) {
  for (const char* bracket : {"(", "[", "{", "-", "|a|", "if a {} else ", "fn() -> ", "f(", ")", "}", "]"})
    EXPECT_TRUE(Parsed(repeat(bracket, 300000 / static_cast<int>(std::string(bracket).size()))).diagnostics.any());
}

// The following would not end in a lifetime if a prefix were parsed twice at each level.
TEST(Limits, NestedAlternativesAreLinear) {
  for (int depth : {40, 120}) {
    std::string forms[] = {
        repeat("(", depth) + "1" + repeat(")", depth),
        repeat("f(n: ", depth) + "1" + repeat(")", depth),
        repeat("f(|a| ", depth / 2) + "1" + repeat(")", depth / 2),
        repeat("a[f(", depth / 2) + ":" + repeat(")]", depth / 2),
    };
    for (const std::string& form : forms) {
      Parsed("fn f() { x = " + form + "; }");
      Parsed("fn f() { x = " + form + " }");
      Parsed("fn f() { " + form + " += " + form + "; return " + form + ", " + form + "; }");
    }
    Parsed("fn f(x: " + repeat("fn(fn[n: int](", depth / 2) + repeat(") -> a) -> b", depth / 2) + ") {}");
  }
}

TEST(Limits, LongFilesAreLinear) {
  const std::string bodies[] = {
      "fn f() {\n" + repeat("    let s = select(ok, q[b, h, :] @ k[b, :].T * scale + (c - d), -inf);\n", 13000) + "}",
      "fn f() { x = " + repeat("1+", 500000) + "1; }",
      "fn f() { x = a" + repeat(".b", 500000) + "; }",
      "fn f() { x = f(" + repeat("a,", 500000) + "a); }",
      "fn f() { x = a" + repeat("[0]", 300000) + "; }",
      repeat("const a = 1;", 80000),
      "struct S { a: b" + repeat(", a: b", 140000) + "}",
  };
  for (const std::string& body : bodies) {
    Parsed p(body);
    EXPECT_FALSE(p.diagnostics.any()) << body.substr(0, 80) << p.errors();
  }
  Parsed p(bodies[0]);
  EXPECT_GT(dump(p.file).size(), 1000000u);
  EXPECT_GT(p.formatted().size(), 900000u);
  Parsed(repeat("let = ;", 140000));
  Parsed("fn f() {" + repeat("let = ;", 140000));
  Parsed(repeat("// c\n", 200000));
  Parsed(repeat("\"", 1000000));
  Parsed(repeat("$", 1000000));
}

TEST(Limits, EveryByte) {
  for (int byte = 0; byte < 256; ++byte) {
    std::string c(1, static_cast<char>(byte));
    Parsed alone(c);
    Parsed outside("fn f() { x = 1 " + c + " 2; }\n");
    bool allowed_outside =
        byte == '\n' || byte == '\t' || byte == '\r' || (byte >= 0x20 && byte < 0x7F && std::string("#$'\\`").find(c[0]) == std::string::npos);
    EXPECT_EQ(has(outside, Code::E0104), !allowed_outside) << byte;
    bool comment = Parsed("// " + c + "\nfn f() { }\n").diagnostics.any();
    bool string = Parsed("fn f() { x = \"" + c + "\"; }\n").diagnostics.any();
    EXPECT_FALSE(byte != '\n' && comment) << byte;
    EXPECT_EQ(string, byte == '\n' || byte == '"' || byte == '\\') << byte;
  }
}

TEST(Limits, RandomBytes) {
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int n = static_cast<int>(random() % 400); n > 0; --n) text += static_cast<char>(random());
    Parsed p(text);
    EXPECT_FALSE(render(p.diagnostics, p.sources).empty() && p.diagnostics.any());
  }
}

TEST(Limits, BrokenPrograms) {
  std::string text = testing::read(TESSERA_SOURCE_DIR "/tests/programs/attention.tile");
  ASSERT_FALSE(text.empty());
  for (std::size_t n = 0; n < text.size(); n += 13) {
    Parsed truncated(text.substr(0, n));
    Parsed without(text.substr(0, n) + text.substr(n + 1));
    Parsed bracketed(text.substr(0, n) + "}(" + text.substr(n));
    render(bracketed.diagnostics, bracketed.sources);
  }
}

}  // namespace
}  // namespace tessera
