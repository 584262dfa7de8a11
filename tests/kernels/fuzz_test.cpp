// Random kernels with fixed seeds: the interpreter and the compiled code give equal bits. tests/fuzz/fuzz_kernels.cpp runs them without end.
//
// tests/fuzz/finds/*.tile were found this way and must hold. tests/fuzz/known/*.tile are faults that are not repaired yet: a test fails as soon as
// one of them holds, so that it moves to the finds. The first line of a file has the extents M and N and the scalars s and n.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/fuzz/run_kernel.h"
#include "tests/kernels/harness.h"

namespace tessera {
namespace {

constexpr int kBlocks = 8, kKernels = 200;

class RandomKernels : public ::testing::TestWithParam<int> {};

TEST_P(RandomKernels, SameBitsAsInTheInterpreter) {
  int ran = 0, made = 0;
  for (int seed = GetParam(); seed < kKernels; seed += kBlocks, ++made) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    fuzz::Choices choices(static_cast<std::uint64_t>(seed));
    fuzz::KernelFuzzer fuzzer;
    try {
      const fuzz::KernelRun run = fuzzer.run(choices, {0, 2});
      EXPECT_EQ(run.problem, "") << run.text;
      ran += run.ran;
    } catch (const InternalError& e) {
      ADD_FAILURE() << e.what();
    }
  }
  EXPECT_GT(ran, made * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(Fuzz, RandomKernels, ::testing::Range(0, kBlocks));

std::vector<std::filesystem::path> cases(const char* folder) {
  std::vector<std::filesystem::path> out;
  const std::filesystem::path place = std::filesystem::path(test::source_root()) / "tests/fuzz" / folder;
  if (!std::filesystem::exists(place)) return out;
  for (const auto& entry : std::filesystem::directory_iterator(place))
    if (entry.path().extension() == ".tile") out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

fuzz::KernelRun run_case(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::stringstream first(text);
  std::string word;
  std::int64_t m = 0, n = 0;
  double s = 0, count = 0;
  for (const char* expected : {"//", "M", "N", "s", "n:"})
    if (!(first >> word) || word != expected) throw std::runtime_error(path.string() + ": the first line reads `// M N s n: ..`");
  first >> m >> n >> s >> count;
  return fuzz::KernelFuzzer().run(text, m, n, s, count, {0, 2});
}

TEST(RandomKernelFinds, Hold) {
  for (const auto& path : cases("finds")) {
    SCOPED_TRACE(path.filename());
    const fuzz::KernelRun run = run_case(path);
    EXPECT_TRUE(run.ran) << run.refusal;
    EXPECT_EQ(run.problem, "");
  }
}

/// In a process of its own, since what is known may crash.
TEST(RandomKernelFinds, KnownFaultsAreStillThere) {
  for (const auto& path : cases("known"))
    EXPECT_EXIT(
        {
          const fuzz::KernelRun run = run_case(path);
          std::_Exit(run.ran && run.problem.empty() ? 0 : 1);
        },
        [](int status) { return status != 0; }, "")
        << path.filename() << " holds now: move it to tests/fuzz/finds";
}

}  // namespace
}  // namespace tessera
