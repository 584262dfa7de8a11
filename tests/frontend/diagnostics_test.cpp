// Every diagnostic of the language, planted: tests/diagnostics/E0201.txt and so on, one file a code. A file is a list of sections:
//
//   === statements                  statements, planted in a kernel, in a fn of an imported file, and in a lambda (the names they may use
//                                   are those of `planted` below)
//   === plain | module | lambda     a whole file
//   === file NAME                   a file that the section before it imports as NAME
//
// After the word may follow options: `; lower K BM=64 T=f16 x=absent` instantiates kernel K (an error that only shows then), `; trail f, g`
// names the inlined calls that the error must list, innermost first (`..`: any), `; padded` makes the file larger than 1 MiB.
// «..» marks the place that the error must point at, ‹..› the secondary places, if any are marked.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "frontend/frontend.h"
#include "tests/frontend/planted.h"

namespace tessera {
namespace {

using testing::Outcome;
using testing::Planted;
using testing::planted_cases;
using testing::run;

const std::vector<Planted>& all_cases() {
  static const std::vector<Planted> cases = planted_cases(TESSERA_SOURCE_DIR "/tests/diagnostics");
  return cases;
}

std::string place(const SourceMap& sources, Span s) {
  if (!s.known()) return "nowhere";
  Position b = sources.begin(s), e = sources.end(s);
  return fmt::format("{}:{}:{}-{}:{}", sources.file(s.file).name, b.line, b.column, e.line, e.column);
}

/// Lower case, no full stop, names in backticks, at most one line; the same for help and labels.
void expect_readable(const Diagnostic& d, const SourceMap& sources) {
  std::vector<std::string> texts{d.message};
  if (!d.help.empty()) texts.push_back(d.help);
  for (const Label& l : d.labels) texts.push_back(l.text);
  for (const std::string& t : texts) {
    SCOPED_TRACE(t);
    ASSERT_FALSE(t.empty());
    EXPECT_FALSE(std::isupper(static_cast<unsigned char>(t[0])));
    EXPECT_NE(t.back(), '.');
    EXPECT_NE(t.back(), ' ');
    EXPECT_EQ(t.find('\n'), std::string::npos);
    for (std::size_t i = 0; i + 1 < t.size(); ++i)
      EXPECT_FALSE((t[i] == '#' || t[i] == '?') && std::isdigit(static_cast<unsigned char>(t[i + 1]))) << "a name that the compiler made";
    EXPECT_EQ(std::count(t.begin(), t.end(), '`') % 2, 0) << "backticks come in pairs";
  }
  EXPECT_LE(d.message.size(), 200u);
  // A name of the program stands in backticks: the word that is marked, if it is a word, is never bare in the message.
  std::string word(sources.text(d.span));
  bool is_name = !word.empty() && word.size() > 1 &&
                 std::all_of(word.begin(), word.end(), [](char ch) { return std::isalnum(static_cast<unsigned char>(ch)) || ch == '_'; }) &&
                 std::isalpha(static_cast<unsigned char>(word[0]));
  if (is_name && !dtype_from_name(word))
    for (std::size_t at = d.message.find(word); at != std::string::npos; at = d.message.find(word, at + word.size())) {
      auto part = [&](std::size_t i) {
        return i < d.message.size() && (std::isalnum(static_cast<unsigned char>(d.message[i])) || d.message[i] == '_');
      };
      if ((at > 0 && part(at - 1)) || part(at + word.size())) continue;
      EXPECT_EQ(std::count(d.message.begin(), d.message.begin() + static_cast<std::ptrdiff_t>(at), '`') % 2, 1) << d.message << ": " << word;
    }
}

class Diagnostic_ : public ::testing::TestWithParam<std::size_t> {};

TEST_P(Diagnostic_, IsReportedOnceAtItsPlaceAndReads) {
  const Planted& c = all_cases()[GetParam()];
  SCOPED_TRACE(c.name);
  Outcome out = run(c);
  std::string shown = render(out.diagnostics, *out.sources);
  ASSERT_EQ(out.diagnostics.count(), 1u) << shown;
  const Diagnostic& d = out.diagnostics.list()[0];
  EXPECT_EQ(std::string(info(d.code).name), c.code) << shown;
  expect_readable(d, *out.sources);
  std::vector<std::string> labels;
  for (const Label& l : d.labels) labels.push_back(place(*out.sources, l.span));
  EXPECT_EQ(place(*out.sources, d.span), c.caret) << shown;
  if (!c.labels.empty()) {
    std::sort(labels.begin(), labels.end());
    EXPECT_EQ(labels, c.labels) << shown;
  }
  if (c.trail == std::vector<std::string>{".."}) {
    EXPECT_FALSE(d.trail.empty()) << shown;
    return;
  }
  ASSERT_EQ(d.trail.size(), c.trail.size()) << shown;
  for (std::size_t i = 0; i < c.trail.size(); ++i) {
    EXPECT_EQ(d.trail[i].text, "in the call of " + c.trail[i]) << shown;
    EXPECT_TRUE(d.trail[i].span.known()) << shown;
  }
}

INSTANTIATE_TEST_SUITE_P(Planted, Diagnostic_, ::testing::Range<std::size_t>(0, all_cases().size()),
                         [](const auto& i) { return all_cases()[i.param].name; });

/// Codes that cannot stand in an imported fn or in a lambda, since they are about files, kernels' interfaces or launches of the compiler.
const std::set<std::string> kPlainOnly = {"E0103", "E0501", "E0509", "E0510", "E0511", "E0512", "E0513", "E0514", "E0516", "E0517", "E0518", "E0519"};
/// Items stand in files, not in lambdas.
const std::set<std::string> kNotInLambda = {"E0403", "E0404"};
/// Codes that passes report on the instantiated kernel; tests/passes has them.
const std::set<std::string> kByPasses = {"E0502", "E0503", "E0606"};

TEST(Diagnostics, EveryCodeOfTheLanguageIsPlantedWhereItCanOccur) {
  std::map<std::string, std::set<std::string>> found;
  for (const Planted& c : all_cases()) found[c.code].insert(c.context);
  for (Code code : all_codes()) {
    std::string name = info(code).name;
    if (name >= "E07" || kByPasses.count(name)) continue;
    EXPECT_TRUE(found[name].count("plain")) << name;
    if (kPlainOnly.count(name)) continue;
    EXPECT_TRUE(found[name].count("module")) << name;
    EXPECT_EQ(found[name].count("lambda"), kNotInLambda.count(name) ? 0u : 1u) << name;
  }
  for (const auto& [name, contexts] : found) EXPECT_TRUE(code_from_name(name)) << name << " is no code";
}

/// `tessera explain`: whole sentences, and not the title again.
TEST(Diagnostics, ExplanationsAreSentences) {
  for (Code code : all_codes()) {
    const CodeInfo& i = info(code);
    SCOPED_TRACE(i.name);
    std::string title = i.title, text = i.explanation;
    EXPECT_FALSE(std::isupper(static_cast<unsigned char>(title[0])));
    EXPECT_NE(title.back(), '.');
    EXPECT_TRUE(std::isupper(static_cast<unsigned char>(text[0])) || text[0] == '`');
    EXPECT_EQ(text.back(), '.');
    EXPECT_GE(text.size(), 60u) << "say what it means and what to do";
    EXPECT_EQ(std::count(text.begin(), text.end(), '`') % 2, 0);
  }
}

}  // namespace
}  // namespace tessera
