#include "runtime/tune/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace tessera::tuning {
namespace {

constexpr double rough_share = 1.0 / 60, hopeless_factor = 2, slower = 1.05;
constexpr int most_repeated = 2;

class Search {
 public:
  Search(std::vector<Entrant>& entrants, Field& field, const SearchOptions& options) : entrants_(entrants), field_(field), options_(options) {}

  SearchResult run() {
    std::vector<Entrant*> alive;
    for (Entrant& e : entrants_) {
      if (e.dropped.empty()) alive.push_back(&e);
    }
    all_ = alive.size() + (options_.exhaustive ? 0 : 2 * options_.finalists);
    if (!options_.exhaustive && !halve(alive)) return stopped();
    // Known finals beside nothing new need no further measurement.
    if (std::any_of(alive.begin(), alive.end(), [](const Entrant* e) { return !e->final; })) {
      // Whoever is wrong makes room for the next.
      std::vector<Entrant*> reserve = alive;
      alive.clear();
      std::vector<Entrant*> order(reserve.begin(), reserve.begin() + static_cast<std::ptrdiff_t>(seats(reserve.size())));
      std::sort(order.begin(), order.end(), [](const Entrant* a, const Entrant* b) { return a->id < b->id; });
      order.insert(order.end(), reserve.begin() + static_cast<std::ptrdiff_t>(order.size()), reserve.end());
      for (Entrant* e : order) {
        if (alive.size() == seats(reserve.size())) break;
        if (field_.stop()) return stopped();
        if ((e->final && !options_.exhaustive) || field_.check(*e)) alive.push_back(e);
      }
      if (alive.empty()) return out_;
      if (!finals(alive)) return stopped();
    }
    const auto best = std::min_element(alive.begin(), alive.end(), [&](const Entrant* a, const Entrant* b) { return score(*a) < score(*b); });
    if (best != alive.end()) out_.winner = static_cast<int>(*best - entrants_.data());
    return out_;
  }

 private:
  std::size_t seats(std::size_t there) const { return options_.exhaustive ? there : std::min(there, options_.finalists); }
  SearchResult stopped() {
    out_.stopped = true;
    return out_;
  }

  bool measure(Entrant& e, double seconds, int least, double hopeless) {
    std::vector<double> now = field_.time(e, seconds, least, hopeless);
    if (!e.dropped.empty()) return !field_.stop();
    e.launches += static_cast<int>(now.size());
    e.times.insert(e.times.end(), now.begin(), now.end());
    e.median = median_of(e.times);
    if (!e.times.empty()) e.fastest = *std::min_element(e.times.begin(), e.times.end());
    e.spread = spread_of(e.times);
    all_ = std::max(all_, ++done_);
    field_.told(e, done_, all_);
    return !field_.stop();
  }

  /// What an earlier run kept is a median.
  static double rank_of(const Entrant& e) { return e.fastest > 0 ? e.fastest : e.median; }

  static double best_of(const std::vector<Entrant*>& alive) {
    double best = std::numeric_limits<double>::infinity();
    for (const Entrant* e : alive) {
      if (e->median > 0) best = std::min(best, rank_of(*e));
    }
    return best;
  }

  /// False if stopped. Leaves the faster ones in front.
  bool halve(std::vector<Entrant*>& alive) {
    const auto faster = [](const Entrant* a, const Entrant* b) { return rank_of(*a) < rank_of(*b); };
    double share = rough_share;
    for (bool first = true;; first = false, share *= 2) {
      for (Entrant* e : alive) {
        if (first ? e->median > 0 : e->final) continue;  // known
        if (!measure(*e, share * options_.seconds, 3, hopeless_factor * best_of(alive))) return false;
      }
      std::erase_if(alive, [](const Entrant* e) { return !e->dropped.empty(); });
      if (first && done_ == 0 && std::any_of(alive.begin(), alive.end(), [](const Entrant* e) { return e->final; })) {
        // Nothing is new: an earlier search has had its last round.
        std::erase_if(alive, [](const Entrant* e) { return !e->final; });
        return true;
      }
      std::stable_sort(alive.begin(), alive.end(), faster);
      if (alive.size() <= options_.finalists) return true;
      std::size_t keep = std::max(options_.finalists, (alive.size() + 1) / 2);
      // The one that would just be left out may be faster after all.
      const double last = rank_of(*alive[keep - 1]) * (1 + std::min(alive[keep - 1]->spread, 0.05));
      while (keep < alive.size() && keep < 2 * options_.finalists && rank_of(*alive[keep]) <= last) ++keep;
      const bool same = keep == alive.size();
      reserve_.insert(reserve_.begin(), alive.begin() + static_cast<std::ptrdiff_t>(keep), alive.end());
      alive.resize(keep);
      if (same || keep <= options_.finalists || share >= 0.25) {
        // Those that came next wait behind the finalists, in case one is wrong.
        alive.insert(alive.end(), reserve_.begin(), reserve_.end());
        return true;
      }
    }
  }

  bool finals(const std::vector<Entrant*>& alive) {
    for (Entrant* e : alive) e->times.clear();
    const double each = options_.seconds / options_.passes / (options_.exhaustive ? 1 : static_cast<double>(alive.size()));
    std::vector<double> level;  // of the passes: how slow all were, to the first
    int repeated = 0;
    for (int pass = 0; pass < options_.passes + repeated; ++pass) {
      std::vector<double> medians;
      for (std::size_t i = 0; i < alive.size(); ++i) {
        Entrant& e = *alive[(i + static_cast<std::size_t>(pass)) % alive.size()];  // none is always the first
        const std::size_t before = e.times.size();
        const int least = options_.exhaustive && pass > 0 ? 1 : 2;
        if (!measure(e, each, least, std::numeric_limits<double>::infinity())) return false;
        const std::vector<double> own(e.times.begin() + static_cast<std::ptrdiff_t>(before), e.times.end());
        passes_[&e].push_back(options_.by_median ? median_of(own) : *std::min_element(own.begin(), own.end()));
      }
      double sum = 0;
      for (const Entrant* e : alive) sum += std::log(passes_[e].back() / passes_[e].front());
      level.push_back(std::exp(sum / static_cast<double>(alive.size())));
      double spread = 0;
      for (const Entrant* e : alive) spread = std::max(spread, e->spread);
      if (level.back() > slower + spread) {
        out_.throttled = true;
        if (repeated < most_repeated) ++repeated;
      }
    }
    for (Entrant* e : alive) e->final = true;
    if (!out_.throttled && !options_.by_median) return true;
    // Within a pass all met the same machine: a candidate's place among the others there, and of those places the median.
    for (const Entrant* e : alive) {
      std::vector<double> places;
      for (std::size_t p = 0; p < level.size(); ++p) {
        double sum = 0;
        for (const Entrant* o : alive) sum += std::log(passes_[o][p]);
        places.push_back(passes_[e][p] / std::exp(sum / static_cast<double>(alive.size())));
      }
      places_[e] = median_of(std::move(places));
    }
    return true;
  }

  double score(const Entrant& e) const {
    const auto at = places_.find(&e);
    return at != places_.end() ? at->second : rank_of(e);
  }

  std::vector<Entrant>& entrants_;
  Field& field_;
  const SearchOptions& options_;
  SearchResult out_;
  std::vector<Entrant*> reserve_;
  std::map<const Entrant*, std::vector<double>> passes_;
  std::map<const Entrant*, double> places_;
  std::size_t done_ = 0, all_ = 0;
};

}  // namespace

double median_of(std::vector<double> v) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return v.size() % 2 ? v[v.size() / 2] : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2;
}

double spread_of(std::vector<double> v) {
  if (v.size() < 4) return 0;
  std::sort(v.begin(), v.end());
  return (v[v.size() * 3 / 4] - v[v.size() / 4]) / v[v.size() / 2];
}

SearchResult search(std::vector<Entrant>& entrants, Field& field, const SearchOptions& options) { return Search(entrants, field, options).run(); }

}  // namespace tessera::tuning
