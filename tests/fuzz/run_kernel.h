// A generated kernel in the interpreter, as the front end made it, and compiled for the CPU and elsewhere after the passes: equal bits.
#pragma once

#include <fmt/format.h>

#include <deque>
#include <functional>
#include <numeric>
#include <optional>
#include <string>

#include "codegen/passes/pipeline.h"
#include "frontend/frontend.h"
#include "tests/cpu/differential.h"
#include "tests/fuzz/kernel_generator.h"

namespace tessera::fuzz {

struct KernelRun {
  bool ran = false;                    ///< false: refused by the front end, a pass or the compiler
  std::vector<std::string> elsewhere;  ///< the names of those of KernelFuzzer::elsewhere that ran it too
  std::string problem;                 ///< the disagreement; empty: none
  std::string refusal;
  std::string text;  ///< the kernel
};

/// What else runs kernels. Returns the tensors after the launch; nothing, with the reason, where it refuses the kernel. What goes wrong beside wrong
/// results is added to `problem`.
struct Elsewhere {
  using Tensors = std::map<std::string, test::Buffer>;
  std::string name;
  std::function<std::optional<Tensors>(const std::string& text, const ir::Kernel& after_passes, const Tensors& tensors,
                                       const std::map<std::string, double>& scalars, std::string& problem)>
      run;
};

class KernelFuzzer {
 public:
  std::vector<Elsewhere> elsewhere;

  /// `levels`: LLVM's, each is compared.
  KernelRun run(Choices& c, const std::vector<int>& levels) {
    KernelGenerator generator(c);
    const std::string text = generator.kernel();
    const std::int64_t m = generator.extent(), n = generator.extent();
    const double s = static_cast<double>(generator.scalar()), count = static_cast<double>(generator.scalar());
    return run(text, m, n, s, count, levels);
  }

  KernelRun run(const std::string& text, std::int64_t m, std::int64_t n, double s, double count, const std::vector<int>& levels) {
    KernelRun out;
    out.text = text;
    LoadResult loaded = load_program("fuzz.tile", text, {});
    Diagnostics diagnostics = loaded.diagnostics;
    std::unique_ptr<ir::Kernel> reference, compiled;
    if (loaded.program) reference = instantiate(*loaded.program, "k", {}, {}, diagnostics);
    if (reference) compiled = instantiate(*loaded.program, "k", {}, {}, diagnostics);
    if (!compiled || !run_target_free_passes(*compiled, diagnostics, {.gpu = true})) {
      out.refusal = render(diagnostics, *loaded.sources);
      return out;
    }
    prepare(*reference, m, n);
    scalars_ = {{"s", s}, {"n", count}};
    std::optional<std::map<std::string, test::Buffer>> expected, after_passes;
    try {
      expected = run_interpreter(*reference);
      after_passes = run_interpreter(*compiled);
    } catch (const InterpretError& e) {
      (expected ? out.problem : out.refusal) = e.what();
      return out;
    }
    for (const auto& [name, b] : *expected) compare("after the passes: " + name, b, after_passes->at(name), out.problem);
    for (const int level : levels) {
      const auto got = run_compiled(*compiled, level, out);
      if (!got) return out;
      for (const auto& [name, b] : *expected) compare(fmt::format("codegen level {}: {}", level, name), b, got->at(name), out.problem);
    }
    for (const Elsewhere& e : elsewhere) {
      const auto got = e.run(text, *compiled, tensors_, scalars_, out.problem);
      if (!got) continue;
      out.elsewhere.push_back(e.name);
      for (const auto& [name, b] : *expected) compare(fmt::format("{}: {}", e.name, name), b, got->at(name), out.problem);
    }
    out.ran = true;
    if (!out.problem.empty()) out.problem = fmt::format("M={} N={} s={} n={}\n{}", m, n, s, count, out.problem);
    return out;
  }

 private:
  std::map<std::string, test::Buffer> run_interpreter(const ir::Kernel& kernel) {
    std::map<std::string, test::Buffer> result = tensors_;
    test::Launch launch(kernel);
    for (auto& [name, b] : result) launch.view(name, b);
    bind_scalars(kernel, launch);
    InterpretOptions options;
    options.max_steps = 2'000'000;
    interpret(kernel, launch.frame(), options);
    return result;
  }

  void bind_scalars(const ir::Kernel& kernel, test::Launch& launch) const {
    for (const ir::Param& p : kernel.params)
      if (!p.is_view) launch.scalar(p.name, scalars_.at(p.name));
  }

  void prepare(const ir::Kernel& kernel, std::int64_t m, std::int64_t n) {
    tensors_.clear();
    unsigned seed = 1;
    for (const ir::Param& p : kernel.params) {
      if (!p.is_view) continue;
      ir::Dims dims;
      for (const Sym& d : p.dims) dims.push_back(d.is_constant() ? d.constant() : d == Sym::symbol("M") ? m : n);
      test::Buffer b(p.dtype, dims);
      if (p.name == "pm") {
        std::vector<std::int64_t> order(static_cast<std::size_t>(b.size()));
        std::iota(order.begin(), order.end(), 0);
        std::shuffle(order.begin(), order.end(), std::mt19937(7));
        for (std::size_t i = 0; i < order.size(); ++i) b.set_int(static_cast<std::int64_t>(i), order[i]);
      } else if (p.name == "ids") {
        b.fill_integers(seed, static_cast<int>(m) + 2);
      } else {
        b.fill_integers(seed, 5);
      }
      ++seed;
      tensors_.insert_or_assign(p.name, std::move(b));
    }
  }

  std::optional<std::map<std::string, test::Buffer>> run_compiled(const ir::Kernel& kernel, int level, KernelRun& out) {
    Diagnostics diagnostics;
    CpuOptions options;
    options.codegen_level = level;
    const CpuObject object = compile_cpu(kernel, CpuTarget::host(), options, diagnostics);
    if (diagnostics.any()) {
      out.refusal = diagnostics.list()[0].message;
      return std::nullopt;
    }
    const CpuKernel code = test::loader().load(object);
    std::deque<test::Guarded> memory;
    std::map<std::string, test::Guarded*> places;
    test::Launch launch(kernel);
    for (auto& [name, b] : tensors_) {
      test::Guarded& g = memory.emplace_back((static_cast<std::size_t>(b.size()) * static_cast<std::size_t>(bits(b.dtype)) + 7) / 8);
      std::memcpy(g.data(), b.bytes.data(), g.size());
      launch.view(name, g.data(), b.dims, test::row_major(b.dims));
      places[name] = &g;
    }
    bind_scalars(kernel, launch);
    test::Guarded arena((code.arena_bytes + 63) / 64 * 64);
    std::memset(arena.data(), 0xff, arena.size());
    std::memset(arena.data(), 0, sizeof(CpuReport));
    const auto counts = grid_counts(kernel, frame_layout(kernel), launch.frame());
    std::int64_t instances = 1;
    for (const std::int64_t c : counts) instances *= c;
    code.range_entry(launch.frame().data(), 0, instances, counts.data(), arena.data());
    std::map<std::string, test::Buffer> result = tensors_;
    for (auto& [name, b] : result) std::memcpy(b.bytes.data(), places.at(name)->data(), places.at(name)->size());
    return result;
  }

  /// -0 equals +0, and any NaN any other.
  static void compare(const std::string& name, const test::Buffer& expected, const test::Buffer& got, std::string& problem) {
    int shown = 0;
    for (std::int64_t i = 0; i < expected.size(); ++i) {
      const double a = expected.get(i), b = got.get(i);
      if (is_float(expected.dtype) ? a == b || (std::isnan(a) && std::isnan(b)) : expected.raw(i) == got.raw(i)) continue;
      if (shown++ < 5) problem += fmt::format("{}[{}]: interpreter {}, compiled {}\n", name, i, a, b);
    }
    if (shown > 5) problem += fmt::format("{}: {} of {} elements differ\n", name, shown, expected.size());
  }

  std::map<std::string, test::Buffer> tensors_;
  std::map<std::string, double> scalars_;
};

}  // namespace tessera::fuzz
