#include "dsl/diagnostic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace tessera {
namespace {

using ::testing::HasSubstr;

class Rendering : public ::testing::Test {
 protected:
  FileId add(std::string text, std::string name = "a.tile") { return sources_.add(std::move(name), std::move(text)); }
  /// The span of the n-th occurrence of `what`.
  Span of(FileId f, std::string_view what, int n = 0) {
    std::size_t at = sources_.file(f).text.find(what);
    for (; n > 0; --n) at = sources_.file(f).text.find(what, at + 1);
    EXPECT_NE(at, std::string::npos) << what;
    return {f, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at + what.size())};
  }
  static Diagnostic error(Span span, std::string message = "wrong") {
    Diagnostic d;
    d.code = Code::E0203;
    d.span = span;
    d.message = std::move(message);
    return d;
  }

  SourceMap sources_;
};

TEST_F(Rendering, CaretLabelsTrailAndHelp) {
  FileId f =
      add("kernel fwd(\n"
          "    q: view T[B, H, Sq, D], k: view T[B, G, Sk, D],\n"
          ") {\n"
          "        let s = q[b, h, kj, :] @ kt.T;\n");
  Diagnostic d = error(of(f, "kj"), "range `kj` runs over axis `Sk`, but `q` has axis `Sq` here");
  d.labels = {{of(f, "Sk"), "`Sk` bound here"}, {of(f, "Sq"), "`Sq` bound here"}};
  d.trail = {{of(f, "fwd"), ""}, {of(f, "let"), "in the call of `score`"}};
  d.help = "index with `qi`";
  EXPECT_EQ(render(d, sources_),
            "a.tile:4:25: error[E0203]: range `kj` runs over axis `Sk`, but `q` has axis `Sq` here\n"
            "    4 |         let s = q[b, h, kj, :] @ kt.T;\n"
            "      |                         ^^\n"
            "    2 |     q: view T[B, H, Sq, D], k: view T[B, G, Sk, D],\n"
            "      |                     -- `Sq` bound here      -- `Sk` bound here\n"
            "   in call at a.tile:1:8\n"
            "   in the call of `score` at a.tile:4:9\n"
            "   help: index with `qi`\n");
}

TEST_F(Rendering, LabelsThatDoNotFitGetRowsOfTheirOwn) {
  FileId f = add("f(aa, bb, cc);\n");
  Diagnostic d = error(of(f, "f"));
  d.labels = {{of(f, "aa"), "first"}, {of(f, "bb"), "second"}, {of(f, "cc"), "third"}};
  EXPECT_EQ(render(d, sources_),
            "a.tile:1:1: error[E0203]: wrong\n"
            "    1 | f(aa, bb, cc);\n"
            "      | ^\n"
            "      |   -- first\n"
            "      |       -- second\n"
            "      |           -- third\n");
}

TEST_F(Rendering, TabsAndWideCharactersKeepCaretsAligned) {
  FileId f = add("\tx\t= \xC3\xA9\xC3\xA9 + bad;\n");
  EXPECT_EQ(render(error(of(f, "bad")), sources_),
            "a.tile:1:13: error[E0203]: wrong\n"
            "    1 |     x   = \xC3\xA9\xC3\xA9 + bad;\n"
            "      |                ^^^\n");
}

TEST_F(Rendering, SpansOverSeveralLinesShowTheFirst) {
  FileId f = add("let x = f(\n  y,\n  z);\n");
  EXPECT_EQ(render(error(of(f, "f(\n  y,\n  z)")), sources_),
            "a.tile:1:9: error[E0203]: wrong\n"
            "    1 | let x = f(\n"
            "      |         ^^\n");
}

TEST_F(Rendering, EmptySpansAndTheEndOfTheFile) {
  FileId f = add("ab");
  EXPECT_EQ(render(error({f, 2, 2}), sources_), "a.tile:1:3: error[E0203]: wrong\n    1 | ab\n      |   ^\n");
  EXPECT_EQ(render(error({f, 90, 95}), sources_), "a.tile:1:3: error[E0203]: wrong\n    1 | ab\n      |   ^\n");
  FileId empty = add("", "empty.tile");
  EXPECT_EQ(render(error({empty, 0, 0}), sources_), "empty.tile:1:1: error[E0203]: wrong\n    1 | \n      | ^\n");
}

TEST_F(Rendering, NowhereHasNoSource) {
  Diagnostic d = error({});
  d.labels = {{{}, "made by the compiler"}};
  d.trail = {{{}, ""}};
  EXPECT_EQ(render(d, sources_), "error[E0203]: wrong\n   note: made by the compiler\n   in call at an unknown place\n");
}

TEST_F(Rendering, OtherFilesAreNamed) {
  FileId f = add("let x = y;\n"), g = add("\n\nfn y() {}\n", "lib.tile");
  Diagnostic d = error(of(f, "y"));
  d.labels = {{of(g, "y"), "defined here"}};
  EXPECT_EQ(render(d, sources_),
            "a.tile:1:9: error[E0203]: wrong\n"
            "    1 | let x = y;\n"
            "      |         ^\n"
            "  --> lib.tile:3\n"
            "    3 | fn y() {}\n"
            "      |    - defined here\n");
}

TEST_F(Rendering, LongLinesAreCutAroundTheCaret) {
  FileId f = add(std::string(3000, 'a') + " bad " + std::string(3000, 'b') + "\n");
  std::string text = render(error(of(f, "bad")), sources_);
  EXPECT_LT(text.size(), 700u);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1].find("bad"), lines[2].find("^^^"));
}

TEST_F(Rendering, ControlCharactersDoNotReachTheTerminal) {
  FileId f = add("let \x1B[31m x = \x01 1;\r\n");
  std::string text = render(error(of(f, "x")), sources_);
  for (char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << static_cast<int>(c);
}

TEST_F(Rendering, AListSaysHowMuchItLeavesOut) {
  FileId f = add(std::string(100, 'x') + "\n");
  Diagnostics ds;
  EXPECT_FALSE(ds.any());
  for (std::uint32_t i = 0; i < 23; ++i) ds.add(error({f, i, i + 1}));
  EXPECT_EQ(ds.list().size(), 20u);
  EXPECT_EQ(ds.suppressed(), 3u);
  EXPECT_EQ(ds.count(), 23u);
  EXPECT_THAT(render(ds, sources_), HasSubstr("3 more errors not shown\n"));
}

TEST_F(Rendering, TheSameErrorIsKeptOnce) {
  FileId f = add("x\n");
  Diagnostics ds;
  ds.add(error({f, 0, 1}));
  ds.add(error({f, 0, 1}));
  EXPECT_EQ(ds.count(), 1u);
  ds.add(error({f, 0, 1}, "also wrong"));
  EXPECT_EQ(ds.count(), 2u);
}

TEST_F(Rendering, JsonHasTheSameFacts) {
  FileId f = add("let s = q;\n", "dir/\"a\".tile");
  Diagnostics ds;
  Diagnostic d = error(of(f, "q"), "tab\tquote\" back\\ bad\xFF newline\n \xC3\xA9");
  d.labels = {{of(f, "s"), "here"}};
  d.trail = {{{}, "t"}};
  d.help = "help";
  ds.add(d);
  ds.add(error({}));
  EXPECT_EQ(
      render_json(ds, sources_),
      "[\n"
      R"({"code":"E0203","title":"range over another axis","file":"dir/\"a\".tile","line":1,"column":9,"end_line":1,"end_column":10,)"
      R"("message":"tab\u0009quote\" back\\ bad\ufffd newline\n )"
      "\xC3\xA9"
      R"(","labels":[{"file":"dir/\"a\".tile","line":1,"column":5,"end_line":1,"end_column":6,"text":"here"}],"trail":[{"text":"t"}],"help":"help"},)"
      "\n"
      R"({"code":"E0203","title":"range over another axis","message":"wrong","labels":[],"trail":[],"help":""})"
      "\n]\n");
  EXPECT_EQ(render_json(Diagnostics(), sources_), "[\n]\n");
}

TEST(Diagnostic, CodesAreUniqueAndExplained) {
  std::set<std::string> names;
  for (Code c : all_codes()) {
    const CodeInfo& i = info(c);
    EXPECT_TRUE(names.insert(i.name).second) << i.name;
    EXPECT_EQ(code_from_name(i.name), c);
    EXPECT_EQ(std::string(i.name).size(), 5u);
    EXPECT_STRNE(i.title, "");
    EXPECT_EQ(std::string(i.explanation).back(), '.') << i.name;
  }
  EXPECT_EQ(code_from_name("E9999"), std::nullopt);
  EXPECT_EQ(code_from_name(""), std::nullopt);
}

TEST(Diagnostic, DidYouMean) {
  std::vector<std::string> names = {"attention", "softmax", "Sq", "tiles", "score"};
  EXPECT_EQ(did_you_mean("atention", names), "attention");
  EXPECT_EQ(did_you_mean("sofmtax", names), "softmax") << "a swap is one slip";
  EXPECT_EQ(did_you_mean("Score", names), "score");
  EXPECT_EQ(did_you_mean("tile", names), "tiles");
  EXPECT_EQ(did_you_mean("sq", names), "Sq");
  EXPECT_EQ(did_you_mean("Sk", names), "") << "half of a short name is no slip";
  EXPECT_EQ(did_you_mean("gemm", names), "");
  EXPECT_EQ(did_you_mean("", names), "");
  EXPECT_EQ(did_you_mean("x", {}), "");
  EXPECT_EQ(did_you_mean(std::string(100000, 'a'), names), "");
}

TEST(Diagnostic, InternalErrorsNameFileAndLine) {
  try {
    internal_error("broken", "/somewhere/deep/dsl/ir.cpp", 7);
    FAIL();
  } catch (const InternalError& e) {
    EXPECT_STREQ(e.what(), "internal error at dsl/ir.cpp:7: broken");
  }
  EXPECT_THROW(TESSERA_ASSERT(1 == 2, "x"), InternalError);
  EXPECT_NO_THROW(TESSERA_ASSERT(1 == 1, "x"));
}

}  // namespace
}  // namespace tessera
