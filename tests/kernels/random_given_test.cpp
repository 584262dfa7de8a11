// Kernels that users are given at constants, sizes and optional views drawn at random, on the CPU and on simulated GPUs: no
// hazards, and the interpreter's results.
// TESSERA_GIVEN=n draws n for each target, TESSERA_GIVEN_SEED=s others than those of a usual run.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <random>

#include "tests/kernels/harness_cpu.h"
#include "tests/kernels/harness_simt.h"
#include "tests/kernels/made_up.h"
#include "tests/kernels/scheduled.h"

namespace tessera::test {
namespace {

int asked(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::atoi(text) : otherwise;
}

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}
  std::int64_t of(std::initializer_list<std::int64_t> values) { return *(values.begin() + static_cast<std::ptrdiff_t>(below(values.size()))); }
  std::size_t below(std::size_t n) { return random_() % n; }
  bool often() { return below(4) != 0; }

 private:
  std::mt19937 random_;
};

/// One of the candidates of its `tune` block, with head dims and element types that it leaves open.
Constants constants_of(const Given& k, Draw& draw) {
  Constants out = k.constants;
  for (auto& [n, c] : out) {
    if (n == "D" || n == "E") c = draw.of({32, 64, 64, 128});
    if (std::holds_alternative<DType>(c)) c = draw.below(2) == 0 ? DType::F16 : DType::BF16;
  }
  const LoadResult loaded = load_file(k.file);
  Diagnostics problems;
  std::vector<Constants> tuned = tune_candidates(*loaded.program, k.kernel, out, problems);
  if (!tuned.empty()) {
    for (auto& [n, c] : tuned[draw.below(tuned.size())]) out[n] = c;
  }
  return out;
}

/// A launch of one of the kernels.
struct Drawn {
  Call call;
  std::map<std::string, Buffer> want;  ///< the interpreter's results
  std::string what;
};

/// Empty where the kernel refuses these constants or sizes.
std::optional<Drawn> drawn(const std::vector<Given>& all, Draw& draw) {
  const Given& k = all[draw.below(all.size())];
  const Size size{.b = draw.of({1, 1, 2}),
                  .h = draw.of({1, 2}),
                  .sq = draw.of({1, 5, 64, 67, 128, 130, 200}),
                  .sk = draw.of({1, 9, 64, 100, 128, 139, 257}),
                  .m = draw.of({1, 5, 64, 67, 130}),
                  .n = draw.of({40, 64, 130, 257, 520}),
                  .k = draw.of({24, 64, 77, 160})};
  const Constants constants = constants_of(k, draw);
  const bool with_optional = draw.below(2) == 0;
  Drawn out;
  out.what = fmt::format("{} {} at {} x {} queries, {} keys, {} x {} x {}{}:", k.file, k.kernel, size.b, size.sq, size.sk, size.m, size.n, size.k,
                         with_optional ? ", with optional inputs" : "");
  for (const auto& [n, c] : constants) out.what += fmt::format(" {}={}", n, str(c));
  try {
    out.call = made_up(k.file, k.kernel, constants, size, with_optional);
    // A kernel need not give all that it can.
    const LoadResult loaded = load_file(k.file);
    for (const KernelInfo& info : kernels(*loaded.program)) {
      for (const ParameterInfo& p : info.parameters) {
        if (info.name != k.kernel || !p.type.ends_with("?") || !p.type.starts_with("out ") || draw.below(2) == 0) continue;
        out.call.tensors.erase(p.name);
        out.what += " without " + p.name;
      }
    }
    out.want = run(out.call, On::Interp);
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
  return out;
}

std::vector<Given> kernels_to_draw() {
  std::vector<Given> all = given_kernels({"kernels", "tests/programs", "tests/foreign", "examples/variants"});
  // Rows of a vocabulary take minutes; of weights of 8 bits, rounded otherwise, a neighbour is a sixteenth away.
  std::erase_if(all, [](const Given& k) { return k.file.starts_with("kernels/sampling") || k.file.ends_with("/fp8.tile"); });
  return all;
}

/// Draws and launches as many as are asked for. `launch` gives false for what its target refuses.
void run_drawn(unsigned seed, const std::function<bool(const Drawn&, Draw&, int number)>& launch) {
  const std::vector<Given> all = kernels_to_draw();
  const int wanted = asked("TESSERA_GIVEN", 12);
  Draw draw(static_cast<unsigned>(asked("TESSERA_GIVEN_SEED", 0)) * 1000 + seed);
  int ran = 0;
  for (int i = 0; i < wanted; ++i) {
    const std::optional<Drawn> d = drawn(all, draw);
    if (!d) continue;
    SCOPED_TRACE(d->what);
    ran += launch(*d, draw, i);
    if (::testing::Test::HasFatalFailure()) return;
  }
  std::cout << fmt::format("{} of {} ran\n", ran, wanted);
  EXPECT_GE(2 * ran, wanted) << "more than half is refused";
}

class SimtRandomGiven : public ::testing::TestWithParam<const char*> {};

TEST_P(SimtRandomGiven, RunCleanAndRight) {
  const GpuTarget target = *gpu_target_from_name(GetParam());
  run_drawn(static_cast<unsigned>(target.sm), [&](const Drawn& d, Draw& draw, int number) {
    const std::size_t shift = draw.often() ? 0 : 1;
    const SimtOptions options{.seed = static_cast<std::uint64_t>(number) + 1, .maps = draw.often()};
    SCOPED_TRACE(fmt::format("{}{}", shift ? "shifted" : "", options.maps ? "" : " no maps"));
    SimtCode code;
    try {
      code = emit_scheduled(d.call, "", target);
    } catch (const std::runtime_error&) {
      return false;
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
      return false;
    }
    const SimtKernel kernel(std::move(code.ir));
    std::map<std::string, Buffer> tensors = d.call.tensors;
    const SimtResult r = simulate(kernel, *code.kernel, d.call, tensors, options, shift);
    for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
    expect_close(tensors, d.want);
    return true;
  });
}

INSTANTIATE_TEST_SUITE_P(On, SimtRandomGiven, ::testing::Values("sm_80", "sm_90a"), [](const auto& i) { return i.param; });

TEST(RandomGiven, RunRightOnTheCpu) {
  if (compiled_target() != "cpu") GTEST_SKIP() << "the tests run on " << compiled_target();
  run_drawn(1, [&](const Drawn& d, Draw&, int) {
    std::map<std::string, Buffer> got;
    try {
      got = run(d.call, On::Cpu);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), Error::Kind::User) << e.what();
      return false;
    }
    expect_close(got, d.want);
    return true;
  });
}

}  // namespace
}  // namespace tessera::test
