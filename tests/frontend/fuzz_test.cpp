// Random programs with fixed seeds; tests/fuzz/fuzz_check.cpp runs the same generator without end.
#include <gtest/gtest.h>

#include "tests/fuzz/check_program.h"
#include "tests/fuzz/program_generator.h"
#include "tests/fuzz/token_swap.h"

namespace tessera {
namespace {

TEST(Fuzz, GeneratedPrograms) {
  int loaded = 0, lowered = 0;
  constexpr int texts = 8000;
  for (int seed = 0; seed < texts; ++seed) {
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
  EXPECT_GT(loaded, texts / 20);
  EXPECT_GT(lowered, texts / 40);
}

TEST(Fuzz, SwappedWordsOfRealPrograms) {
  std::vector<std::string> corpus = fuzz::real_programs(TESSERA_SOURCE_DIR);
  ASSERT_GT(corpus.size(), 10u);
  int loaded = 0;
  constexpr int texts = 4000;
  for (int seed = 0; seed < texts; ++seed) {
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
  EXPECT_GT(loaded, texts / 20);
}

}  // namespace
}  // namespace tessera
