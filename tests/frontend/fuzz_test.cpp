// 20,000 texts with fixed seeds, random or made of real ones; the programs of tests/fuzz go on without end.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/fuzz/check_program.h"
#include "tests/fuzz/program_generator.h"
#include "tests/fuzz/token_swap.h"

namespace tessera {
namespace {

/// A quarter of the seeds each, so that they run side by side.
class Fuzz : public ::testing::TestWithParam<int> {};
constexpr int kShares = 4;
INSTANTIATE_TEST_SUITE_P(Texts, Fuzz, ::testing::Range(0, kShares));

TEST_P(Fuzz, GeneratedPrograms) {
  int loaded = 0, lowered = 0;
  constexpr int texts = 10000;
  for (int seed = GetParam(); seed < texts; seed += kShares) {
    fuzz::Choices choices(static_cast<std::uint64_t>(seed));
    fuzz::ProgramGenerator generator(choices);
    std::string text = generator.program();
    Constants constants = generator.constants();
    std::vector<std::string> absent = generator.absent();
    try {
      fuzz::Verdict v = fuzz::check_program(text, "k", constants, absent);
      ASSERT_EQ(v.broken, "") << "seed " << seed << "\n" << text;
      loaded += v.loaded;
      lowered += v.lowered;
    } catch (const InternalError& e) {
      FAIL() << "seed " << seed << ": " << e.what() << "\n" << text;
    }
  }
  // The generator is worth its time only while it gets through to the later stages.
  EXPECT_GT(loaded, texts / kShares / 2);
  EXPECT_GT(lowered, texts / kShares / 2);
}

TEST_P(Fuzz, SwappedWordsOfRealPrograms) {
  std::vector<std::string> corpus = fuzz::real_programs(TESSERA_SOURCE_DIR);
  ASSERT_GT(corpus.size(), 10u);
  int loaded = 0;
  constexpr int texts = 5000;
  for (int seed = GetParam(); seed < texts; seed += kShares) {
    fuzz::Choices choices(static_cast<std::uint64_t>(seed));
    std::string text = fuzz::swap_words(corpus, choices);
    try {
      fuzz::Verdict v = fuzz::check_every_kernel(text, choices);
      ASSERT_EQ(v.broken, "") << "seed " << seed << "\n" << text;
      loaded += v.loaded;
    } catch (const InternalError& e) {
      FAIL() << "seed " << seed << ": " << e.what() << "\n" << text;
    }
  }
  EXPECT_GT(loaded, texts / kShares / 20);
}

TEST_P(Fuzz, DamagedPrograms) {
  std::vector<std::string> corpus = fuzz::real_programs(TESSERA_SOURCE_DIR);
  for (int seed = GetParam(); seed < 5000; seed += kShares) {
    fuzz::Choices choices(static_cast<std::uint64_t>(seed));
    std::string text = fuzz::damage(corpus, choices);
    try {
      fuzz::Verdict v = fuzz::check_every_kernel(text, choices);
      ASSERT_EQ(v.broken, "") << "seed " << seed << "\n" << text;
    } catch (const InternalError& e) {
      FAIL() << "seed " << seed << ": " << e.what() << "\n" << text;
    }
  }
}

/// Programs that once broke a promise.
TEST(FuzzFinds, Hold) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TESSERA_SOURCE_DIR "/tests/fuzz/finds")) {
    SCOPED_TRACE(entry.path().filename());
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    fuzz::Choices choices(1);
    EXPECT_EQ(fuzz::check_every_kernel(text, choices).broken, "");
    ++count;
  }
  EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace tessera
