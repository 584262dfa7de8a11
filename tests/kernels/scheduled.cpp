#include "tests/kernels/scheduled.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "codegen/passes/pipeline.h"
#include "runtime/target.h"
#include "tests/kernels/made_up.h"

namespace tessera::test {

std::string scheduled_text(const Call& call, const std::string& directives, const std::string& family) {
  std::ifstream in(source_root() + "/" + call.file);
  if (!in) throw std::runtime_error("cannot read " + call.file);
  std::stringstream text;
  text << in.rdbuf();
  if (!directives.empty()) text << "\nschedule " << call.kernel << " on " << family << " { " << directives << " }\n";
  return text.str();
}

std::vector<std::string> absent_views(const Program& program, const Call& call) {
  std::vector<std::string> absent;
  for (const KernelInfo& k : kernels(program)) {
    if (k.name != call.kernel) continue;
    for (const ParameterInfo& p : k.parameters) {
      if (p.type.ends_with("?") && !call.tensors.contains(p.name)) absent.push_back(p.name);
    }
  }
  return absent;
}

SimtCode emit_scheduled(const Call& call, const std::string& directives, const GpuTarget& target) {
  const std::string family = schedule_family(Target::Cuda, target);
  const std::string path = source_root() + "/" + call.file;
  const LoadResult loaded = load_program(path, scheduled_text(call, directives, family), import_beside(path));
  if (!loaded.program) throw std::runtime_error(render(loaded.diagnostics, *loaded.sources));
  Diagnostics problems;
  SimtCode out;
  out.kernel = instantiate(*loaded.program, call.kernel, call.constants, absent_views(*loaded.program, call), problems);
  if (out.kernel && run_target_free_passes(*out.kernel, problems, {.gpu = true})) {
    GpuOptions options;
    options.schedule = schedule_for(*loaded.program, call.kernel, family, call.constants);
    out.ir = emit_gpu(*out.kernel, target, options, problems);
  }
  if (!out.ir.module) throw std::runtime_error(render(problems, *loaded.sources));
  return out;
}

std::map<std::string, Buffer> run_scheduled(const Call& call, const std::string& directives, const Context& gpu, const GpuTarget& target) {
  Options options;
  options.target = target.name();
  options.context = gpu;
  const Module module = load_source(source_root() + "/" + call.file, scheduled_text(call, directives, schedule_family(Target::Cuda, target)));
  options.absent = absent_views(module, call);
  std::map<std::string, Buffer> out = call.tensors;
  launch_on_gpu(module.kernel(call.kernel, consts_of(call.constants), options), gpu, call.scalars, out);
  return out;
}

std::vector<ScheduleForm> schedule_forms() {
  const DType h = DType::F16, b = DType::BF16;
  const std::string flash = "kernels/attention/flash.tile", foreign = "tests/foreign/";
  return {
      {.name = "SoftCap",
       .file = flash,
       .kernel = "flash_soft_cap",
       .constants = {{"T", b}, {"D", 64}, {"BN", 32}},
       .h = 2,
       .sq = 200,
       .sk = 136,
       .rings = {"kt", "vt"},
       .sums = {"st.acc"},
       .stored = "o",
       .rows = {64, 128, 192, 256},
       .loops = {"kj"},
       .cpu_loops = {"kj"},
       .loaded = {"kt", "vt", "q", "k", "o"},
       .first = {"q", "p"},
       .sums_of_rows = {"st.acc", "s"},
       .axes = {"qi", "g", "b"}},
      {.name = "GroupedAlibi",
       .file = flash,
       .kernel = "flash_alibi",
       .constants = {{"T", h}, {"D", 32}, {"R", 3}, {"BN", 64}},
       .h = 1,
       .sq = 90,
       .sk = 200,
       .rings = {"kt", "vt"},
       .sums = {"st.acc"},
       .stored = "o",
       .rows = {64, 128, 192},
       .loops = {"kj"},
       .cpu_loops = {"kj"},
       .loaded = {"kt", "v", "o"},
       .first = {"q", "p"},
       .sums_of_rows = {"st.acc"},
       .axes = {"qi", "g", "b"}},
      {.name = "GemmEpilogue",
       .file = foreign + "gemm_epilogue.tile",
       .kernel = "gemm_epilogue",
       .constants = {{"T", b}, {"BN", 64}, {"BK", 64}},
       .m = 300,
       .n = 200,
       .k = 328,
       .rings = {"at", "bt"},
       .sums = {},
       .shared = {{"i", {"bt"}}, {"j", {"at"}}},
       .stored = "c",
       .rows = {64, 128, 192, 256},
       .loops = {"k"},
       .loaded = {"at", "bt", "c", "r", "gain"},
       .first = {"at"},
       .sums_of_rows = {"acc"},
       .axes = {"j", "i"},
       .any_groups = true},
      {.name = "TwoSoftmaxes",
       .file = foreign + "two_softmaxes.tile",
       .kernel = "two_softmaxes",
       .constants = {{"T", b}, {"D", 32}, {"E", 64}, {"BN", 32}},
       .h = 2,
       .sq = 150,
       .sk = 136,
       .rings = {"k0", "k1", "vt"},
       .sums = {"a0", "a1"},
       .shared = {{"i", {"k0", "k1", "vt"}}},
       .stored = "o",
       .rows = {64, 128, 192},
       .most_rows = 64,
       .loops = {"j"},
       .cpu_loops = {"j"},
       .loaded = {"k0", "vt", "q0", "o"},
       .first = {"q0", "p1"},
       .sums_of_rows = {"a0", "s1"},
       .axes = {"i", "h", "b"}},
      {.name = "ThreeProducts",
       .file = foreign + "three_products.tile",
       .kernel = "three_products",
       .constants = {{"T", h}, {"D", 32}, {"BN", 32}},
       .h = 2,
       .sq = 150,
       .sk = 136,
       .rings = {"kt", "gt", "vt"},
       .sums = {"acc"},
       .shared = {{"i", {"kt", "gt", "vt"}}},
       .stored = "o",
       .rows = {64, 128, 192},
       .loops = {"j"},
       .cpu_loops = {"j"},
       .loaded = {"kt", "gt", "qt", "o"},
       .first = {"qt"},
       .sums_of_rows = {"acc", "s"},
       .axes = {"i", "h", "b"}},
      {.name = "NoProduct",
       .file = "examples/ladder/01_copy.tile",
       .kernel = "copy",
       .constants = {{"T", h}, {"BM", 8}, {"BN", 32}},
       .m = 60,
       .n = 200,
       .rings = {},
       .sums = {},
       .rows = {},
       .loaded = {"x", "y"},
       .axes = {"j", "i"}},
  };
}

Call call_of(const ScheduleForm& f, const Constants& constants) {
  return made_up(f.file, f.kernel, constants, {.b = f.b, .h = f.h, .sq = f.sq, .sk = f.sk, .m = f.m, .n = f.n, .k = f.k}, false);
}

namespace {

template <class T>
const T& one_of(const std::vector<T>& list, std::mt19937& random) {
  return list[random() % list.size()];
}

/// Registers of those that ask and of those that compute, in eights, that `groups` of 128 threads and one more have.
std::string registers(std::int64_t groups, std::mt19937& random) {
  const std::int64_t all = (groups + 1) * (65536 / ((groups + 1) * 128) / 8 * 8), asking = 24 + 8 * static_cast<std::int64_t>(random() % 3);
  const std::int64_t most = std::min<std::int64_t>(240, (all - asking) / groups / 8 * 8);
  return fmt::format("regs producer: {}, consumer: {}; ", asking, most - 8 * static_cast<std::int64_t>(random() % 2));
}

/// Directives that every architecture knows.
std::string any_gpu(const ScheduleForm& f, std::mt19937& random) {
  std::string out;
  const auto coin = [&] { return random() % 2 == 0; };
  if (coin()) out += fmt::format("swizzle {}; ", 1 + random() % 5);
  for (const std::string& l : f.loops) {
    if (coin()) out += fmt::format("unroll {}: {}; ", l, 1 + random() % 4);
  }
  for (const std::string& l : f.loaded) {
    if (random() % 3 == 0) out += fmt::format("cache {}: {}; ", l, coin() ? "evict_first" : "evict_last");
  }
  return out;
}

}  // namespace

DrawnSchedule draw_schedule(const ScheduleForm& f, std::mt19937& random) {
  DrawnSchedule out{"", f.constants};
  const auto add = [&](const std::string& text) { out.directives += text; };
  const auto coin = [&] { return random() % 2 == 0; };
  std::int64_t rows = 0;
  bool rings = true;
  if (!f.rows.empty()) out.constants["BM"] = rows = one_of(f.rows, random);
  for (const std::string& r : f.rings) {
    if (!coin()) continue;
    const auto slots = 1 + random() % 5;
    rings = rings && slots > 1;
    add(fmt::format("ring {}: {}; ", r, slots));
  }
  for (const std::string& s : f.sums) {
    if (coin()) add(fmt::format("skew {}: {}; ", s, random() % 2));
  }
  if (rows > 0) {
    std::vector<std::int64_t> groups;
    for (const std::int64_t g : {1, 2, 3}) {
      if (rows / g <= f.most_rows && (rows / 64 % g == 0 || (g == 2 && f.any_groups))) groups.push_back(g);
    }
    const std::int64_t g = one_of(groups, random);
    const bool asks = random() % 4 != 0;
    add(fmt::format("roles producer: {}, consumer: {}; ", asks ? 1 : 0, g));
    if (asks && g > 1 && coin()) add(registers(g, random));
    // Where a warpgroup asks for tiles, CTAs may share them.
    const bool cluster = asks && g > 1 && rings && !f.shared.empty() && coin();
    if (cluster) {
      const auto& [axis, tiles] = one_of(f.shared, random);
      add(fmt::format("cluster {}: {}; ", axis, 1 + random() % 2));
      if (coin()) add(fmt::format("multicast {}; ", one_of(tiles, random)));
    }
    if (asks && coin()) add(fmt::format("persistent {}; ", one_of<std::string>({"off", "static", "dynamic"}, random)));
    if (coin()) add("persistent row_major; ");
    if (!f.stored.empty() && coin()) add(fmt::format("store {}: {}; ", f.stored, coin() ? "direct" : "tma"));
    // Operands elsewhere may leave no loop whose tiles a warpgroup asks for.
    for (const std::string& v : f.first) {
      if (!cluster && random() % 3 == 0) add(fmt::format("home {}: {}; ", v, coin() ? "regs" : "smem"));
    }
    for (const std::string& v : f.sums_of_rows) {
      if (rows / 64 % g == 0 && random() % 3 == 0) add(fmt::format("divide {} {}: group; ", v, g == 1 && coin() ? 1 : 0));
    }
    if (coin()) add(fmt::format("pingpong {}: {}; ", f.sums.empty() ? "acc" : f.sums[0], random() % 2));
  }
  out.directives += any_gpu(f, random);
  return out;
}

DrawnSchedule draw_older_schedule(const ScheduleForm& f, std::mt19937& random) {
  DrawnSchedule out{"", f.constants};
  if (!f.rows.empty()) out.constants["BM"] = f.rows[0];
  for (const std::string& r : f.rings) {
    if (random() % 2 == 0) out.directives += fmt::format("ring {}: {}; ", r, 1 + random() % 4);
  }
  out.directives += any_gpu(f, random);
  return out;
}

std::string draw_cpu_schedule(const ScheduleForm& f, std::mt19937& random) {
  std::string out;
  for (const std::string& l : f.cpu_loops) out += fmt::format("unroll {}: {}; ", l, 1 + random() % 6);
  if (random() % 2 == 0) out += "vector 16; ";
  if (random() % 2 == 0) out += fmt::format("parallel {}; ", fmt::join(f.axes, ", "));
  return out;
}

}  // namespace tessera::test
