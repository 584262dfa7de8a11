// Which constants of a kernel's `tune` block are the fastest on this machine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tessera/module.h"

namespace tessera {

/// A choice of values for a kernel's tuned constants, and what became of it.
struct TunedCandidate {
  std::vector<std::pair<std::string, std::string>> constants;  ///< the tuned ones, as text
  std::string text;                                            ///< "BM=64 BN=128"
  double estimate_s = 0;                                       ///< of a roofline model, which only orders and prunes; 0: none
  double median_s = 0;                                         ///< of a launch; 0: not measured
  double fastest_s = 0;                                        ///< the shortest launch that was timed now
  double spread = 0;                                           ///< distance of the quartiles, as a share of the median
  int launches = 0;                                            ///< that were timed now
  bool known = false;                                          ///< a time of an earlier run was kept; launches == 0: and was enough
  bool final = false;                                          ///< timed for long and its results compared: it may win
  std::string dropped;                                         ///< why it cannot win; empty: it was slower, or not measured
};

struct TuneProgress {
  std::size_t done = 0, all = 0;  ///< measurements
  std::string text;               ///< what is done next
  double seconds_left = 0;        ///< about
};

struct TuneOptions {
  double seconds = 0;       ///< how long the last few are timed, all together; 0: 0.5 on a GPU, 0.8 on a CPU, which others disturb more
  bool cold = true;         ///< on a GPU: its L2 cache is emptied before each launch
  bool again = false;       ///< measure all, also those whose time an earlier run has kept
  bool exhaustive = false;  ///< leave none out, and time each for `seconds`
  int threads = 0;          ///< that compile at the same time; 0: as many as the process may run on
  /// Launch symbols, for keys of winners and the estimate; what arguments say comes first.
  std::map<std::string, std::int64_t> sizes = {};
  /// Asked between measurements; true: end with what is known.
  std::function<bool()> stop = {};
  std::function<void(const TuneProgress&)> progress = {};
  /// An objection to the results of a kernel, beyond the comparison with the first candidate's; "" for none. Called for the last few.
  std::function<std::string(const AnyKernel&)> check = {};
  /// Named in the keys of kept timings: what the data are, where times depend on them.
  std::string data = {};
};

struct TuneResult {
  std::vector<TunedCandidate> candidates;  ///< in the order of the estimate
  int winner = -1;                         ///< of the candidates; -1: none can win, or stopped before
  bool stopped = false;
  bool throttled = false;     ///< all became slower while they were timed, beyond their spread
  std::string line;           ///< for a winners file: "softmax@.. cpu:znver4 T=f32 bucket(N)=4096 : BM=1 BN=4096"
  double spent_s = 0;         ///< by this call
  double compile_wall_s = 0;  ///< of it, for compiling
  double compile_s = 0;       ///< processor time of the compilations, all threads together
};

/// Times the candidates of the kernel's `tune` block that `constants` leave open, on these arguments: one a parameter, in the order of the
/// declaration. Candidates are ordered by an estimate, the hopeless ones left out; the others are compiled in parallel and timed briefly in turns,
/// the faster half for longer, and so on; the last few must give the results of the first of them. What the kernel reads and writes is set back
/// before each launch, and at the end; outputs then hold the winner's results. Timings are kept in the folder of `cache`, and what is known is not
/// measured again. `options`: target, context and `absent` as for Module::kernel. Throws Error: as Module::kernel and launches do; E0802 if there is
/// nothing to choose, or if the target's times mean nothing. Thread safety: any thread; other work on the machine disturbs the times.
TESSERA_API TuneResult tune(const Module& module, std::string_view kernel, const Consts& constants, const Context& context,
                            std::span<const Argument> arguments, const TuneOptions& how = {}, const Options& options = {},
                            const Cache& cache = Cache::standard());

}  // namespace tessera
