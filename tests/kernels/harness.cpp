#include "tests/kernels/harness.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>

#include "dsl/interpret.h"
#include "dsl/verify.h"
#include "tests/kernels/harness_cpu.h"

namespace tessera::test {

namespace {

struct Loaded {
  LoadResult program;
  std::string text;  ///< diagnostics; empty if it loaded
};

Loaded load_file(const std::string& file) {
  const std::string path = source_root() + "/" + file;
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::stringstream text;
  text << in.rdbuf();
  Loaded out{load_program(path, text.str(), import_beside(path)), ""};
  if (!out.program.program) out.text = render(out.program.diagnostics, *out.program.sources);
  return out;
}

/// Optional views of the kernel that the call does not give.
std::vector<std::string> absent_views(const Program& program, const Call& call) {
  std::vector<std::string> out;
  for (const KernelInfo& k : kernels(program)) {
    if (k.name != call.kernel) continue;
    for (const ParameterInfo& p : k.parameters) {
      if (p.type.ends_with("?") && !call.tensors.contains(p.name)) out.push_back(p.name);
    }
  }
  return out;
}

struct Lowered {
  std::unique_ptr<ir::Kernel> kernel;
  std::string text;
};

Lowered lower_or_explain(const Call& call) {
  const Loaded file = load_file(call.file);
  if (!file.text.empty()) return {nullptr, file.text};
  Diagnostics problems;
  auto kernel = instantiate(*file.program.program, call.kernel, call.constants, absent_views(*file.program.program, call), problems);
  if (!kernel) return {nullptr, render(problems, *file.program.sources)};
  std::string broken;
  for (const auto& rule : ir::verify(*kernel)) broken += fmt::format("{}\n", rule);
  if (!broken.empty()) throw std::runtime_error(call.file + " " + call.kernel + " does not verify: " + broken);
  return {std::move(kernel), ""};
}

}  // namespace

std::string source_root() {
  const char* root = std::getenv("TESSERA_TEST_ROOT");
  return root && *root ? root : TESSERA_SOURCE_DIR;
}

const char* name(On on) {
  switch (on) {
    case On::Interp: return "interp";
    case On::Exact: return "interp:exact";
    case On::Cpu: {
      const char* elsewhere = std::getenv("TESSERA_TEST_TARGET");
      return elsewhere && *elsewhere ? elsewhere : "cpu";
    }
  }
  return "";
}

std::unique_ptr<ir::Kernel> lower(const Call& call) {
  Lowered out = lower_or_explain(call);
  if (!out.kernel) throw std::runtime_error(out.text);
  return std::move(out.kernel);
}

std::string refusal(const Call& call) { return lower_or_explain(call).text; }

std::map<std::string, std::int64_t> solve_symbols(const ir::Kernel& kernel, const Call& call) {
  std::map<std::string, std::int64_t> known = call.symbols;
  for (const ir::Param& p : kernel.params) {
    const auto b = call.tensors.find(p.name);
    if (!p.is_view || b == call.tensors.end()) continue;
    for (std::size_t a = 0; a < p.dims.size(); ++a) {
      const std::vector<std::string> names = p.dims[a].symbols();
      if (names.size() != 1 || known.contains(names[0])) continue;
      const auto times = p.dims[a].coefficient(names[0]);
      const auto rest = p.dims[a].eval([](const std::string&) { return 0; });
      if (times && rest) known[names[0]] = (b->second.dims.at(a) - *rest) / *times;
    }
  }
  return known;
}

std::map<std::string, Buffer> run(const Call& call, On on) {
  std::map<std::string, Buffer> tensors = call.tensors;
  if (on == On::Cpu) {
    run_cpu(call, tensors);
    return tensors;
  }
  const auto kernel = lower(call);
  Launch launch(*kernel);
  for (auto& [n, b] : tensors) launch.view(n, b);
  for (const auto& [n, v] : call.scalars) launch.scalar(n, v);
  for (const auto& [n, v] : solve_symbols(*kernel, call)) launch.symbol(n, v);
  InterpretOptions options;
  options.exact = on == On::Exact;
  interpret(*kernel, launch.frame(), options);
  return tensors;
}

Buffer unwritten(DType t, ir::Dims dims) {
  Buffer b(t, std::move(dims));
  for (std::int64_t i = 0; i < b.size(); ++i) {
    if (is_float(t))
      b.set(i, std::numeric_limits<double>::quiet_NaN());
    else
      b.set_int(i, t == DType::Bool ? 1 : -77);
  }
  return b;
}

std::vector<double> values(const Buffer& b) {
  std::vector<double> out(static_cast<std::size_t>(b.size()));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = b.get(static_cast<std::int64_t>(i));
  return out;
}

double roundoff(DType t) {
  if (!is_float(t)) return 0;
  const double above = decode_float(t, encode_float(t, 1.0) + 1);
  return (above - 1.0) / 2;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want, double abs, double rel, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_TRUE(got[i] == want[i] || std::fabs(got[i] - want[i]) <= abs + rel * std::fabs(want[i]))
        << what << " at " << i << ": got " << got[i] << ", want " << want[i];
  }
}

void expect_same(const Buffer& got, const Buffer& want, const std::string& what) {
  ASSERT_EQ(got.dims, want.dims) << what;
  for (std::int64_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got.raw(i), want.raw(i)) << what << " at " << i << ": got " << got.get(i) << ", want " << want.get(i);
  }
}

}  // namespace tessera::test
