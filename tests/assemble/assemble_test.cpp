// Every shipped kernel through NVIDIA's assembler, for every architecture: ptxas takes the code, and what hot.txt names keeps all of its values in
// registers. Without ptxas there is nothing to ask.
//
// Each architecture assembles the hot kernels and a third of the others; with TESSERA_ASSEMBLE=all in the environment it assembles all of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "codegen/nvptx/ptx.h"
#include "codegen/nvptx/tools.h"
#include "codegen/passes/pipeline.h"
#include "frontend/frontend.h"
#include "runtime/target.h"
#include "runtime/winners.h"

namespace tessera::test {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// A file that users are given, loaded; and the kernels in it.
struct Shipped {
  std::string file;
  LoadResult program;
  std::string winners;  ///< tuned constants beside it
};

std::vector<Shipped> shipped() {
  std::vector<std::string> paths;
  const fs::path root = TESSERA_SOURCE_DIR;
  for (const char* folder : {"kernels", "examples/ladder", "examples/variants", "tests/foreign"}) {
    for (const auto& e : fs::recursive_directory_iterator(root / folder)) {
      if (e.path().extension() == ".tile") paths.push_back(fs::relative(e.path(), root));
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Shipped> out;
  for (const std::string& p : paths) {
    const std::string path = (root / p).string();
    out.push_back({p, load_program(path, slurp(path), import_beside(path)), slurp(fs::path(path).replace_extension(".winners"))});
    EXPECT_TRUE(out.back().program.program) << p;
  }
  return out;
}

/// Lines of hot.txt: FILE KERNEL, and for an architecture on which it does not hold yet how many bytes it may spill, so that they do not grow.
std::map<std::string, std::map<std::string, std::int64_t>> hot() {
  std::istringstream lines(slurp(fs::path(TESSERA_SOURCE_DIR) / "tests/assemble/hot.txt"));
  std::map<std::string, std::map<std::string, std::int64_t>> out;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string file, kernel;
    words >> file >> kernel;
    auto& spills = out[file + " " + kernel];
    for (std::string word; words >> word;) spills[word.substr(0, word.find(':'))] = std::stoll(word.substr(word.find(':') + 1));
  }
  return out;
}

/// What stands for the constants that a kernel leaves to its caller: half precision, heads of `head` elements, pages of 16.
Constants representative(const KernelInfo& k, const GpuTarget& target, std::int64_t head) {
  Constants out;
  for (const ConstantInfo& c : k.constants) {
    if (c.has_default) continue;
    if (c.kind == "int" && (c.name == "D" || c.name == "E"))
      out[c.name] = head;
    else if (c.kind == "int" && c.name == "PAGE")
      out[c.name] = std::int64_t{16};
    else if (c.kind == "float" || c.kind == "half" || c.kind == "dtype")
      out[c.name] = target.sm == 75 ? DType::F16 : DType::BF16;
    else
      ADD_FAILURE() << k.name << ": say here what stands for " << c.kind << " " << c.name;
  }
  return out;
}

/// The form that a plain call has: without optional inputs, with optional outputs.
std::vector<std::string> left_out(const KernelInfo& k) {
  std::vector<std::string> out;
  for (const ParameterInfo& p : k.parameters) {
    if (p.type.ends_with("?") && !p.type.starts_with("out ")) out.push_back(p.name);
  }
  return out;
}

/// The kernel as PTX: with the tuned constants, else with the first candidate that fits the architecture, heads of 64 elements where those of 128 do
/// not fit. Why not, where none does.
struct Assembled {
  std::optional<GpuObject> object;
  std::string constants, refusal;
};
Assembled ptx_of(const Shipped& file, const KernelInfo& k, const GpuTarget& target) {
  const Program& program = *file.program.program;
  Diagnostics problems;
  std::vector<Constants> candidates;
  for (const std::int64_t head : {128, 64}) {
    const Constants fixed = representative(k, target, head);
    candidates.push_back(choose_tuned(program, k.name, target.name(), fixed, parse_winners(file.winners, "winners"), {}, problems).constants);
    for (Constants& c : tune_candidates(program, k.name, fixed, problems)) {
      c.insert(fixed.begin(), fixed.end());
      candidates.push_back(std::move(c));
    }
  }
  Assembled out;
  for (const Constants& all : candidates) {
    Diagnostics diagnostics;
    const auto kernel = instantiate(program, k.name, all, left_out(k), diagnostics);
    if (kernel && run_target_free_passes(*kernel, diagnostics, {.gpu = true})) {
      GpuOptions options;
      options.schedule = schedule_for(program, k.name, schedule_family(Target::Cuda, target));
      GpuIr ir = emit_gpu(*kernel, target, options, diagnostics);
      if (ir.module) {
        for (const auto& [n, v] : all) out.constants += fmt::format(" {}={}", n, str(v));
        out.object = make_ptx(std::move(ir), target);
        return out;
      }
    }
    out.refusal = render(diagnostics, *file.program.sources);
  }
  return out;
}

/// Whether it is a kernel only with a function or a struct of the caller's; its instances are kernels of their own.
bool is_skeleton(const KernelInfo& k) {
  return std::any_of(k.constants.begin(), k.constants.end(),
                     [](const ConstantInfo& c) { return !c.has_default && (c.kind == "fn" || c.kind == "struct"); });
}

class Assemble : public ::testing::TestWithParam<GpuTarget> {};

TEST_P(Assemble, EveryShippedKernel) {
  if (nvptx::find_tool("ptxas").empty()) GTEST_SKIP() << "no ptxas on PATH, in CUDA_HOME or in /usr/local/cuda";
  const GpuTarget target = GetParam();
  const char* how_much = std::getenv("TESSERA_ASSEMBLE");
  const bool all = how_much && std::string(how_much) == "all";
  auto must_not_spill = hot();
  int number = target.sm, assembled = 0;
  for (const Shipped& file : shipped()) {
    if (!file.program.program) continue;
    for (const KernelInfo& k : kernels(*file.program.program)) {
      if (is_skeleton(k)) continue;
      const std::string name = file.file + " " + k.name;
      const auto marked = must_not_spill.extract(name);
      const bool is_hot = !marked.empty();
      if (!is_hot && !all && number++ % 3 != 0) continue;
      SCOPED_TRACE(name + " for " + target.name());
      const Assembled a = ptx_of(file, k, target);
      EXPECT_TRUE(a.object) << a.refusal;
      if (!a.object) continue;
      const PtxasReport r = run_ptxas(*a.object);
      EXPECT_TRUE(r.ok) << r.log;
      ++assembled;
      const std::int64_t local = std::max({r.spill_store_bytes, r.spill_load_bytes, r.stack_bytes});
      const std::int64_t known = is_hot && marked.mapped().contains(target.name()) ? marked.mapped().at(target.name()) : 0;
      const std::string text = fmt::format("{}{}: {} registers, {} bytes spilled, {} read back, stack of {}", name, a.constants, r.registers,
                                           r.spill_store_bytes, r.spill_load_bytes, r.stack_bytes);
      EXPECT_TRUE(!is_hot || local <= known) << text;
      if (local > 0) std::cout << text << "\n";
      for (const std::string& w : r.warnings) ADD_FAILURE() << text << ": " << w;
    }
  }
  EXPECT_TRUE(must_not_spill.empty()) << "hot.txt names what is not shipped: " << must_not_spill.begin()->first;
  std::cout << fmt::format("{}: {} kernels assembled\n", target.name(), assembled);
}

INSTANTIATE_TEST_SUITE_P(Ptxas, Assemble, ::testing::ValuesIn(all_gpu_targets()), [](const auto& i) { return i.param.name(); });

}  // namespace
}  // namespace tessera::test
