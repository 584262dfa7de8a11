// Which of several candidates is the fastest, with few measurements: successive halving in interleaved rounds. Knows nothing of kernels.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace tessera::tuning {

/// One candidate during a search.
struct Entrant {
  std::size_t id = 0;
  double estimate = 0;        ///< 0: unknown
  double median = 0;          ///< 0: not measured
  double spread = 0;          ///< distance of the quartiles over the median
  double fastest = 0;         ///< launch, of all that were made now; 0: not measured now
  std::vector<double> times;  ///< of the last round it took part in
  int launches = 0;           ///< that were timed
  bool known = false;         ///< the time of an earlier run spared its first measurement
  bool final = false;         ///< it was in the last round, now or in the earlier run
  std::string dropped;        ///< why it cannot win
};

/// What the search asks of its candidates.
class Field {
 public:
  virtual ~Field() = default;
  /// Seconds of single launches: at least `least`, more until `seconds` have passed. `hopeless`: no need to go on once a launch takes longer. None,
  /// with `dropped`, if it turns out that the candidate cannot run.
  virtual std::vector<double> time(Entrant& e, double seconds, int least, double hopeless) = 0;
  /// Whether its results are right; else `dropped` says why not.
  virtual bool check(Entrant& e) = 0;
  /// After each measurement. True: stop with what is known.
  virtual bool stop() = 0;
  virtual void told(const Entrant& e, std::size_t done, std::size_t all) = 0;
};

struct SearchOptions {
  double seconds = 0.2;     ///< of the last round, all together
  bool exhaustive = false;  ///< one round in which each is timed for `seconds`
  std::size_t finalists = 3;
  int passes = 5;  ///< of the last round, each over all finalists in turn
  /// What ranks in the last round: the median launch, where candidates heat the machine, each in its way, and its clock is a part of what they are;
  /// else the fastest, since whatever else disturbs a launch only makes it longer.
  bool by_median = false;
};

struct SearchResult {
  int winner = -1;  ///< index into the entrants; -1: none can win, or stopped
  bool stopped = false;
  bool throttled = false;
};

/// Entrants come in the order of their estimates, those with `dropped` take no part, nor are those measured that are `known`, as far as their times
/// are good enough. Rounds before the last give each a sixtieth of `seconds`, then twice as much, and let half go on, and whoever is within its
/// spread of them. The last round goes over its few in turns, several times; how a candidate compares with the others within each pass decides, since
/// the clock of a machine drifts. A pass in which all are slower than before by more than their spread is one of a throttled machine: it is repeated,
/// and told.
SearchResult search(std::vector<Entrant>& entrants, Field& field, const SearchOptions& options);

double median_of(std::vector<double> values);
/// Distance of the quartiles over the median; 0 for fewer than four.
double spread_of(std::vector<double> values);

}  // namespace tessera::tuning
