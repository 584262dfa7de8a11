// Random kernels with fixed seeds: the interpreter, the CPU, the simulated GPU and, where TESSERA_TEST_TARGET names one, a real GPU give equal bits.
// tests/fuzz/fuzz_kernels.cpp runs them on the CPU without end. TESSERA_RANDOM_KERNELS=n in the environment: so many instead of 200.
//
// tests/fuzz/finds/*.tile were found this way and must hold. tests/fuzz/known/*.tile are faults that are not repaired yet: a test fails as soon as
// one of them holds, so that it moves to the finds. The first line of a file has the extents M and N and the scalars s and n.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "tests/fuzz/run_kernel.h"
#include "tests/kernels/harness_cpu.h"
#include "tests/kernels/harness_simt.h"

namespace tessera {
namespace {

constexpr int kBlocks = 8;

int how_many() {
  const char* n = std::getenv("TESSERA_RANDOM_KERNELS");
  return n ? std::atoi(n) : 200;
}

/// Whether it lies in the kernel: instances that write what others write or read, which the interpreter runs one after the other.
bool is_of_instances(const Hazard& h) {
  return h.kind == HazardKind::DoubleWrite || (h.kind == HazardKind::Race && h.text.find("another CTA") != std::string::npos);
}

/// Whether instances learn from fetch_add how many others came before them: on a GPU they come in any order.
bool asks_for_order(const ir::Kernel& kernel) {
  bool found = false;
  ir::walk(kernel.body, [&](const ir::Op& op) { found = found || op.kind == ir::OpKind::FetchAdd; });
  return found;
}

/// The simulated GPU, of one architecture or another. `ordered` becomes whether the result follows from the kernel.
fuzz::Elsewhere simulated(const GpuTarget& target, bool& ordered) {
  return {"simulated " + target.name(), [target, &ordered](const std::string&, const ir::Kernel& kernel, const fuzz::Elsewhere::Tensors& tensors,
                                                           const std::map<std::string, double>& scalars, std::string& problem) {
            Diagnostics refused;
            GpuIr ir = emit_gpu(kernel, target, {.spans = true}, refused);
            std::optional<fuzz::Elsewhere::Tensors> out;
            if (!ir.module) return out;
            out = tensors;
            test::Call call;
            call.tensors = tensors;
            call.scalars = scalars;
            const SimtResult r = test::simulate(SimtKernel(std::move(ir)), kernel, call, *out, {});
            ordered = std::none_of(r.hazards.begin(), r.hazards.end(), is_of_instances);
            for (const Hazard& h : r.hazards) {
              if (!is_of_instances(h)) problem += fmt::format("simulated {}: {}: {}\n", target.name(), tessera::name(h.kind), h.text);
            }
            if (!ordered) out.reset();
            return out;
          }};
}

/// The GPU of this machine, through the public API.
fuzz::Elsewhere on_device(const Context& gpu, const bool& ordered) {
  return {gpu.target(), [gpu, &ordered](const std::string& text, const ir::Kernel& ir, const fuzz::Elsewhere::Tensors& tensors,
                                        const std::map<std::string, double>& scalars, std::string& problem) {
            std::optional<fuzz::Elsewhere::Tensors> out;
            if (!ordered || asks_for_order(ir)) return out;
            try {
              const AnyKernel kernel = load_source("fuzz.tile", text).kernel("k", {}, {.context = gpu});
              out = tensors;
              test::launch_on_gpu(kernel, gpu, scalars, *out);
            } catch (const Error& e) {
              // A budget of the GPU, or what it cannot do.
              if (e.code() != "E0804" && !e.code().starts_with("E06")) problem += gpu.target() + ": " + e.message() + "\n";
              out.reset();
            }
            return out;
          }};
}

class RandomKernels : public ::testing::TestWithParam<int> {};

TEST_P(RandomKernels, SameBitsAsInTheInterpreter) {
  int ran = 0, made = 0;
  std::map<std::string, int> elsewhere;
  const std::string target = test::compiled_target();
  std::optional<Context> gpu;
  if (target.starts_with("cuda")) gpu = Context::cuda(target.starts_with("cuda:") ? std::atoi(target.c_str() + 5) : 0);
  for (int seed = GetParam(); seed < how_many(); seed += kBlocks, ++made) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    fuzz::Choices choices(static_cast<std::uint64_t>(seed));
    fuzz::KernelFuzzer fuzzer;
    bool ordered = true;
    constexpr GpuTarget kTargets[] = {{75}, {80}, {90, true}};
    fuzzer.elsewhere.push_back(simulated(kTargets[made % 3], ordered));
    if (gpu) fuzzer.elsewhere.push_back(on_device(*gpu, ordered));
    try {
      const fuzz::KernelRun run = fuzzer.run(choices, {0, 2});
      EXPECT_EQ(run.problem, "") << run.text;
      ran += run.ran;
      for (const std::string& place : run.elsewhere) ++elsewhere[place.substr(0, place.find(' '))];
    } catch (const InternalError& e) {
      ADD_FAILURE() << e.what();
    }
  }
  std::cout << fmt::format("{} kernels made, {} ran", made, ran);
  for (const auto& [place, n] : elsewhere) std::cout << fmt::format(", {} {}", n, place);
  std::cout << "\n";
  EXPECT_GE(ran, made * 9 / 10);
  EXPECT_EQ(elsewhere.size(), gpu ? 2u : 1u);
  // A GPU leaves out those whose results depend on the order of instances, up to half of them.
  for (const auto& [place, n] : elsewhere) EXPECT_GE(n, ran * (place.starts_with("cuda") ? 4 : 8) / 10) << place << " refuses too many of them";
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
