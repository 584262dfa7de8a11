// What a bench run found: one table for people, lines for the acceptance driver, JSON for everybody else.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tessera::bench {

/// One cell. `figure` is what a bound speaks of: a ratio, a share of peak, milliseconds.
struct Cell {
  std::string key;    ///< "gemm_f32_openblas"
  std::string title;  ///< "GEMM 1024^3 f32"
  std::string ours;   ///< "105.2 GFLOP/s"
  std::string rival;  ///< "OpenBLAS 98.0 GFLOP/s"; "" if it is compared with nothing
  std::optional<double> figure;
  std::string reason;    ///< why there is no figure
  bool skipped = false;  ///< the reason is this machine's, not ours: a rival that is not installed, an instruction it lacks
};

Cell measured(std::string key, std::string title, std::string ours, std::string rival, double figure);
Cell skipped(std::string key, std::string title, std::string reason);
/// Ours did not run, or computed something else.
Cell failed(std::string key, std::string title, std::string reason);

/// Bounds of the acceptance tables by key and level: `bounds["gemm_f32_openblas"]["must"] == ">= 1.0"`.
using Bounds = std::map<std::string, std::map<std::string, std::string>>;
/// Reads every tests/accept/*.rows below `source_dir`.
Bounds read_bounds(const std::string& source_dir);
bool holds(double figure, const std::string& bound);

std::string table(const std::vector<Cell>& cells, const Bounds& bounds);
std::string json(const std::vector<Cell>& cells, const std::string& machine);
/// KEY, tab, figure or `skip REASON`; what failed has its reason where the figure would stand, which holds no bound.
std::string accept_lines(const std::vector<Cell>& cells);

}  // namespace tessera::bench
