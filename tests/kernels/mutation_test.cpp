// Mutants of generated code on the simulated GPU: each fault must show, as a hazard or in the result. What survives is printed: it is equivalent at
// these shapes (equivalent_mutants.txt says why), or the simulator is blind to it.
//
// Each kernel gives a seeded sample: a few mutants, or as many as TESSERA_MUTANTS in the environment says; TESSERA_MUTANT names those to run instead,
// as `drop mbar_wait #*`. Of the whole, at least nine tenths must be caught, and nineteen twentieths of those that are not argued equivalent.
#include <fmt/format.h>
#include <fnmatch.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <numeric>
#include <random>

#include "tests/kernels/harness_simt.h"
#include "tests/kernels/made_up.h"
#include "tests/kernels/mutants.h"
#include "tests/kernels/scheduled.h"

namespace tessera::test {
namespace {

struct Subject {
  const char* name;
  const char* file;
  const char* kernel;
  GpuTarget target;
  Constants constants;
  std::vector<Size> sizes;  ///< vectors divide all rows of one, none of another
  bool with_optional = false;
  bool empty_row = false;  ///< the first row of x is -inf
  std::string schedule;    ///< directives beside those of the file, of kernels for Hopper
};

std::vector<Subject> subjects() {
  const DType h = DType::F16, b = DType::BF16, f = DType::F32;
  return {
      {"gemm",
       "kernels/gemm/gemm.tile",
       "gemm",
       {80},
       {{"T", b}, {"O", f}, {"BM", 64}, {"BN", 64}, {"BK", 32}},
       {{.m = 127, .n = 120, .k = 152}, {.m = 127, .n = 127, .k = 95}}},
      {"gemm_nt_sm_75",
       "kernels/gemm/gemm.tile",
       "gemm_nt",
       {75},
       {{"T", h}, {"O", f}, {"BM", 32}, {"BN", 64}, {"BK", 32}},
       {{.m = 63, .n = 120, .k = 152}, {.m = 63, .n = 127, .k = 95}, {.m = 64, .n = 64, .k = 64}}},
      {"gemm_f32",
       "kernels/gemm/gemm.tile",
       "gemm_nt",
       {80},
       {{"T", f}, {"BM", 32}, {"BN", 32}, {"BK", 16}},
       {{.m = 63, .n = 60, .k = 44}, {.m = 63, .n = 63, .k = 47}}},
      {"flash_causal",
       "kernels/attention/flash.tile",
       "flash_causal",
       {80},
       {{"T", h}, {"D", 32}, {"BM", 32}, {"BN", 32}},
       {{.b = 2, .h = 2, .sq = 63, .sk = 95}, {.sq = 95, .sk = 63}}},
      {"flash_sm_75",
       "kernels/attention/flash.tile",
       "flash",
       {75},
       {{"T", h}, {"D", 32}, {"BM", 32}, {"BN", 32}},
       {{.b = 2, .h = 2, .sq = 63, .sk = 95}, {.sq = 32, .sk = 64}, {.sq = 5, .sk = 0}}},
      {"gemm_sm_90a",
       "kernels/gemm/gemm.tile",
       "gemm_nt",
       {90, true},
       {{"T", b}, {"O", f}, {"BM", 64}, {"BN", 64}, {"BK", 32}},
       {{.m = 127, .n = 120, .k = 344}, {.m = 63, .n = 63, .k = 319}, {.m = 64, .n = 64, .k = 320}},
       false,
       false,
       "ring at: 2, bt: 2;"},
      {"flash_sm_90a",
       "kernels/attention/flash.tile",
       "flash",
       {90, true},
       {{"T", h}, {"D", 32}, {"BM", 64}, {"BN", 32}},
       {{.b = 2, .h = 2, .sq = 63, .sk = 223}, {.sq = 130, .sk = 128}},
       false,
       false,
       "ring kt: 2, vt: 2;"},
      {"gemm_roles_sm_90a",
       "kernels/gemm/gemm.tile",
       "gemm",
       {90, true},
       {{"T", b}, {"O", f}, {"BM", 128}, {"BN", 64}, {"BK", 64}},
       {{.m = 250, .n = 136, .k = 504}, {.m = 140, .n = 63, .k = 383}, {.m = 512, .n = 128, .k = 64}},
       false,
       false,
       "roles consumer: 2; ring at: 2, bt: 2;"},
      {"flash_causal_roles_sm_90a",
       "kernels/attention/flash.tile",
       "flash_causal",
       {90, true},
       {{"T", h}, {"D", 32}, {"BM", 128}, {"BN", 32}},
       {{.b = 2, .h = 2, .sq = 200, .sk = 255}, {.b = 2, .h = 3, .sq = 230, .sk = 160}, {.b = 2, .h = 2, .sq = 330, .sk = 40}},
       false,
       false,
       "ring kt: 2, vt: 2;"},
      {"flash_alibi_groups_sm_90a",
       "kernels/attention/flash.tile",
       "flash_alibi",
       {90, true},
       {{"T", b}, {"D", 40}, {"R", 3}, {"BM", 128}, {"BN", 32}},
       {{.b = 2, .h = 2, .sq = 67, .sk = 159}, {.b = 3, .h = 2, .sq = 70, .sk = 32}},
       false,
       false,
       "persistent static; ring kt: 3, vt: 3;"},
      {"two_softmaxes_sm_90a",
       "tests/foreign/two_softmaxes.tile",
       "two_softmaxes",
       {90, true},
       {{"T", b}, {"D", 32}, {"E", 64}, {"BM", 128}, {"BN", 32}},
       {{.b = 2, .h = 2, .sq = 150, .sk = 191}, {.b = 2, .h = 3, .sq = 128, .sk = 64}},
       false,
       false,
       "ring k0: 2;"},
      {"three_products_sm_90a",
       "tests/foreign/three_products.tile",
       "three_products",
       {90, true},
       {{"T", h}, {"D", 32}, {"BM", 64}, {"BN", 32}},
       {{.b = 2, .h = 2, .sq = 100, .sk = 191}, {.b = 1, .h = 1, .sq = 64, .sk = 128}},
       false,
       false,
       "ring kt: 2;"},
      {"sigmoid_weights_sm_90a",
       "tests/foreign/sigmoid_weights.tile",
       "sigmoid_weights",
       {90, true},
       {{"T", h}, {"D", 64}, {"BM", 128}, {"BN", 32}},
       {{.b = 2, .h = 2, .sq = 150, .sk = 191}, {.b = 2, .h = 3, .sq = 140, .sk = 160}},
       false,
       false,
       "skew acc: 0; ring kt: 2;"},
      {"gemm_epilogue_sm_90a",
       "tests/foreign/gemm_epilogue.tile",
       "gemm_epilogue",
       {90, true},
       {{"T", b}, {"BM", 128}, {"BN", 64}, {"BK", 32}},
       {{.m = 250, .n = 136, .k = 248}, {.m = 140, .n = 63, .k = 191}, {.m = 512, .n = 128, .k = 32}},
       false,
       false,
       "roles consumer: 2; persistent static; swizzle 2; ring at: 2;"},
      {"gemm_cluster_sm_90a",
       "kernels/gemm/gemm.tile",
       "gemm",
       {90, true},
       {{"T", b}, {"O", f}, {"BM", 128}, {"BN", 64}, {"BK", 64}},
       {{.m = 300, .n = 136, .k = 504}, {.m = 140, .n = 63, .k = 383}},
       false,
       false,
       "roles consumer: 2; cluster i: 2; ring at: 2, bt: 2;"},
      {"decode",
       "kernels/attention/decode.tile",
       "decode",
       {80},
       {{"T", b}, {"D", 32}, {"R", 16}, {"BM", 16}, {"BN", 32}},
       {{.b = 2, .h = 2, .sk = 127}, {.sk = 37}, {.h = 3, .sk = 64}}},
      {"rms_norm",
       "kernels/norm/rms_norm.tile",
       "rms_norm",
       {80},
       {{"T", b}, {"BM", 4}, {"BN", 256}},
       {{.m = 7, .n = 504}, {.m = 7, .n = 511}},
       true},
      {"softmax",
       "kernels/norm/softmax.tile",
       "softmax",
       {75},
       {{"T", f}, {"BM", 1}, {"BN", 256}},
       {{.m = 3, .n = 508}, {.m = 2, .n = 511}},
       true,
       true},
      {"layer_norm",
       "kernels/norm/layer_norm.tile",
       "layer_norm",
       {80},
       {{"T", h}, {"BM", 4}, {"BN", 256}},
       {{.m = 7, .n = 504}, {.m = 7, .n = 511}}},
      {"other_axis",
       "tests/foreign/other_axis.tile",
       "other_axis",
       {80},
       {{"T", f}, {"BM", 16}, {"BN", 64}},
       {{.m = 47, .n = 124}, {.m = 47, .n = 127}}},
  };
}

/// Lines of equivalent_mutants.txt: what comes before the colon, with * for anything.
std::vector<std::string> equivalent() {
  std::ifstream in(source_root() + "/tests/kernels/equivalent_mutants.txt");
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') out.push_back(line.substr(0, line.find(": ")));
  }
  return out;
}

bool matches(const std::vector<std::string>& patterns, const std::string& text) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return ::fnmatch(p.c_str(), text.c_str(), 0) == 0; });
}

/// A few of every kind, in turn, each kind shuffled by the seed.
std::vector<Mutant> sample(std::vector<Mutant> all, std::size_t most, unsigned seed) {
  std::mt19937 random(seed);
  std::shuffle(all.begin(), all.end(), random);
  std::map<Mutant::Kind, std::vector<Mutant>> kinds;
  for (Mutant& m : all) kinds[m.kind].push_back(std::move(m));
  std::vector<Mutant> out;
  for (std::size_t round = 0; out.size() < std::min(most, all.size()); ++round) {
    for (auto& [kind, list] : kinds) {
      if (round < list.size() && out.size() < most) out.push_back(std::move(list[round]));
    }
  }
  return out;
}

enum class Fate : int { Survived, Hazard, WrongResult, Broken };

/// One launch of a subject, and what the clean code makes of it.
struct CleanRun {
  Call call;
  std::map<std::string, Buffer> want;
  bool maps = true;        ///< bulk copies can read its tensors
  std::int64_t steps = 0;  ///< more than a mutant needs that ends
};

bool same(const std::map<std::string, Buffer>& a, const std::map<std::string, Buffer>& b) {
  return std::all_of(a.begin(), a.end(), [&](const auto& t) { return t.second.bytes == b.at(t.first).bytes; });
}

/// In a process of its own, since a mutant may touch the host's memory, or never end.
Fate fate(SimtCode& code, const Mutant* m, const std::vector<CleanRun>& runs, std::uint64_t seed) {
  const pid_t child = ::fork();
  if (child == 0) {
    // Of the processor's time, since machines that are busy take longer.
    const rlimit limit{60, 60};
    ::setrlimit(RLIMIT_CPU, &limit);
    Fate f = Fate::Survived;
    try {
      if (m) apply(*code.ir.module, *m);
      const SimtKernel kernel(std::move(code.ir));
      for (const CleanRun& run : runs) {
        std::map<std::string, Buffer> got = run.call.tensors;
        const SimtResult r = simulate(kernel, *code.kernel, run.call, got, {.seed = seed, .maps = run.maps, .max_steps = run.steps});
        f = !r.clean() || !r.finished ? Fate::Hazard : same(got, run.want) ? Fate::Survived : Fate::WrongResult;
        if (f != Fate::Survived) break;
      }
    } catch (...) {
      f = Fate::Broken;
    }
    ::_exit(static_cast<int>(f));
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) throw std::runtime_error("cannot run a mutant in a process of its own");
  return WIFEXITED(status) ? static_cast<Fate>(WEXITSTATUS(status)) : Fate::Broken;
}

SimtCode emit(const Subject& s, const Call& call) { return s.schedule.empty() ? emit_simt(call, s.target) : emit_scheduled(call, s.schedule); }

/// The clean launches, and for every basic block that can say so whether any of them ran it.
std::vector<CleanRun> clean_runs(const Subject& s, std::map<std::string, bool>& ran) {
  std::vector<CleanRun> out;
  for (const Size& size : s.sizes) {
    for (const bool maps : {true, false}) {
      if (!maps && !s.target.specific) continue;
      CleanRun run{made_up(s.file, s.kernel, s.constants, size, s.with_optional), {}, maps, 0};
      if (s.empty_row) {
        Buffer& x = run.call.tensors.at("x");
        for (std::int64_t i = 0; i < x.dims[1]; ++i) x.set(i, -std::numeric_limits<double>::infinity());
      }
      SimtCode code = emit(s, run.call);
      const SimtKernel kernel(std::move(code.ir));
      run.want = run.call.tensors;
      const SimtResult r = simulate(kernel, *code.kernel, run.call, run.want, {.maps = maps});
      EXPECT_TRUE(r.clean()) << s.name;
      for (std::size_t i = 0; i < kernel.sites().size(); ++i) ran[kernel.sites()[i].block] |= r.executed[i] > 0;
      run.steps = 100'000 + 4 * std::accumulate(r.executed.begin(), r.executed.end(), std::int64_t{0});
      out.push_back(std::move(run));
    }
  }
  return out;
}

/// Mutants of a subject where nobody asks for more.
constexpr std::size_t kInCi = 20;

class SimtMutation : public ::testing::TestWithParam<Subject> {};

TEST_P(SimtMutation, FaultsShow) {
  const Subject& s = GetParam();
  const char* number = std::getenv("TESSERA_MUTANTS");
  std::map<std::string, bool> ran;
  const std::vector<CleanRun> runs = clean_runs(s, ran);
  SimtCode code = emit(s, runs.front().call);
  const std::vector<Mutant> all = mutants(*code.ir.module);
  std::vector<Mutant> chosen = sample(all, number ? static_cast<std::size_t>(std::atoi(number)) : kInCi, 1);
  if (const char* one = std::getenv("TESSERA_MUTANT")) {
    chosen = all;
    std::erase_if(chosen, [&](const Mutant& m) { return ::fnmatch(one, m.text().c_str(), 0) != 0; });
  }
  const std::vector<std::string> argued = equivalent();
  int caught = 0, broken = 0, survived = 0, without_effect = 0, unexecuted = 0;
  std::uint64_t seed = 0;
  ASSERT_EQ(fate(code, nullptr, runs, seed), Fate::Survived) << "what is not changed must pass";
  for (const Mutant& m : chosen) {
    if (const auto r = ran.find(m.block); r != ran.end() && !r->second) {
      ++unexecuted;
      continue;
    }
    const Fate f = fate(code, &m, runs, ++seed);
    if (f != Fate::Survived) {
      ++caught;
      broken += f == Fate::Broken;
      continue;
    }
    const std::string text = fmt::format("{} {}", s.name, m.text());
    const bool is_argued = matches(argued, text);
    ++(is_argued ? without_effect : survived);
    std::cout << fmt::format("  survives{}: {} in block {}\n", is_argued ? ", argued" : "", text, m.block);
  }
  std::cout << fmt::format("{} on {}: {} caught ({} by the end of their process), {} survived, {} equivalent, {} unexecuted, of {} mutants\n", s.name,
                           s.target.name(), caught, broken, survived, without_effect, unexecuted, all.size());
  EXPECT_LE(broken * 10, caught) << "the simulator itself comes to grief";
  EXPECT_GE(caught * 4, (caught + survived) * 3) << "too few are caught";
}

INSTANTIATE_TEST_SUITE_P(Of, SimtMutation, ::testing::ValuesIn(subjects()), [](const auto& i) { return i.param.name; });

}  // namespace
}  // namespace tessera::test
