// Kernels of .tile files under schedules that are written behind them.
#pragma once

#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "frontend/frontend.h"
#include "tests/kernels/harness_cpu.h"
#include "tests/kernels/harness_simt.h"

namespace tessera::test {

inline constexpr GpuTarget kHopper{90, true}, kAmpere{80};

/// Optional views of the call's kernel for which the call has no tensor.
std::vector<std::string> absent_views(const Program& program, const Call& call);

/// The text of the call's file and `schedule KERNEL on FAMILY { DIRECTIVES }`; no directives: the file alone.
std::string scheduled_text(const Call& call, const std::string& directives, const std::string& family = "sm90");
/// The code of that for a GPU. Throws std::runtime_error with the diagnostics as a user sees them.
SimtCode emit_scheduled(const Call& call, const std::string& directives, const GpuTarget& target = kHopper);
/// The call's tensors after a launch of that code on a GPU.
std::map<std::string, Buffer> run_scheduled(const Call& call, const std::string& directives, const Context& gpu, const GpuTarget& target = kHopper);

/// What may be drawn for a kernel: schedules that it can be made by.
struct ScheduleForm {
  std::string name, file, kernel;
  Constants constants;
  std::int64_t b = 1, h = 1, sq = 64, sk = 64, m = 64, n = 64, k = 64;  ///< as in made_up.h
  std::vector<std::string> rings;                                       ///< loads within loops
  std::vector<std::string> sums;                                        ///< of products that may run behind
  /// Grid axes along which neighbouring instances have tiles in common, and these.
  std::vector<std::pair<std::string, std::vector<std::string>>> shared = {};
  std::string stored;                     ///< a view that bulk copies may store
  std::vector<std::int64_t> rows;         ///< values of BM, which leave every element's order of sums alone
  std::int64_t most_rows = 128;           ///< of a warpgroup, whose registers hold their sums
  std::vector<std::string> loops;         ///< variables of loops, on GPUs
  std::vector<std::string> cpu_loops;     ///< those that are loops on the CPU too
  std::vector<std::string> loaded;        ///< tiles and views whose loads and stores may have a place in the cache's order of eviction
  std::vector<std::string> first;         ///< first operands of products, which may lie in registers
  std::vector<std::string> sums_of_rows;  ///< results whose rows warpgroups divide
  std::vector<std::string> axes;          ///< of the grid
  bool any_groups = false;                ///< columns of products may be shared too, so that 2 warpgroups take any tile
};
inline void PrintTo(const ScheduleForm& f, std::ostream* out) { *out << f.name; }
std::vector<ScheduleForm> schedule_forms();

struct DrawnSchedule {
  std::string directives;
  Constants constants;
};
DrawnSchedule draw_schedule(const ScheduleForm& form, std::mt19937& random);
/// The same of the directives that architectures before Hopper know.
DrawnSchedule draw_older_schedule(const ScheduleForm& form, std::mt19937& random);
/// The same of the CPU's directives.
std::string draw_cpu_schedule(const ScheduleForm& form, std::mt19937& random);

/// Of a form at its size, with random tensors.
Call call_of(const ScheduleForm& form, const Constants& constants);

}  // namespace tessera::test
