// The bench program: figures of this machine's CPU beside rivals, as one table.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <map>

#include "tests/bench/cells.h"

int main(int argc, char** argv) {
  using namespace tessera::bench;
  const std::vector<std::pair<std::string, Group>> groups = {
      {"gemm", gemm_cells},     {"attention", attention_cells}, {"rivals", attention_rival_cells}, {"rows", row_cells},
      {"decode", decode_cells}, {"foreign", foreign_cells},     {"compile", compile_cells},        {"emitter", emitter_cells}};
  CLI::App app("Benches of Tessera's CPU back end", "bench_cpu");
  Setting setting;
  std::vector<std::string> wanted;
  std::string json_file;
  bool accept = false;
  std::string names;
  for (const auto& [name, group] : groups) names += (names.empty() ? "" : ", ") + name;
  app.add_option("groups", wanted, "groups of cells, default all: " + names);
  app.add_option("--threads", setting.threads, "threads of ours and of the rivals")->check(CLI::Range(1, 1024));
  app.add_option("--rounds", setting.rounds, "timed rounds; the best one counts")->check(CLI::Range(1, 1000));
  app.add_option("--python", setting.python, "interpreter with onnxruntime or torch");
  app.add_option("--json", json_file, "also write the cells as JSON to this file");
  app.add_flag("--accept", accept, "print KEY, tab, FIGURE lines for the acceptance driver instead of the table");
  CLI11_PARSE(app, argc, argv);
  for (const std::string& name : wanted)
    if (std::none_of(groups.begin(), groups.end(), [&](const auto& g) { return g.first == name; })) {
      fmt::print(stderr, "bench_cpu: no group {}; there are {}\n", name, names);
      return 2;
    }

  setting.peak = measure_peak();
  const std::string machine = machine_name();
  fmt::print(stderr, "{}\npeak of one thread: f32 {}, bf16 {}; {} thread(s), best of {} rounds\n", machine, gflops(setting.peak.f32, 1),
             gflops(setting.peak.bf16, 1), setting.threads, setting.rounds);
  std::vector<Cell> cells;
  for (const auto& [name, group] : groups) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    fmt::print(stderr, "{} ..\n", name);
    for (Cell& cell : group(setting)) cells.push_back(std::move(cell));
  }
  if (!json_file.empty()) std::ofstream(json_file) << json(cells, machine);
  fmt::print("{}", accept ? accept_lines(cells) : table(cells, read_bounds(TESSERA_SOURCE_DIR)));
  return 0;
}
