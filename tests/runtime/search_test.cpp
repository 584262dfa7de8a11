// The search of the tuner on made-up machines: how little it measures, and that noise, drift and wrong results do not win.
#include "runtime/tune/search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace tessera::tuning {
namespace {

/// Candidates with true times, and a machine that adds to them.
class FakeField : public Field {
 public:
  std::vector<double> truth;
  std::vector<bool> wrong;
  std::vector<double> heat;     ///< how much slower a candidate is when it has run for a tenth of its turn
  double noise = 0, drift = 0;  ///< share that a launch may take longer; how much slower the machine is after a second of work
  double spent = 0;
  int stop_after = -1;
  std::vector<std::size_t> order;  ///< who was measured

  std::vector<double> time(Entrant& e, double seconds, int least, double hopeless) override {
    order.push_back(e.id);
    std::vector<double> out;
    for (double took = 0; static_cast<int>(out.size()) < least || took < seconds;) {
      const double heated = heat.empty() || took < seconds / 10 ? 0 : heat[e.id];
      const double t = truth[e.id] * (1 + heated) * (1 + noise * uniform_(random_)) * (1 + drift * spent);
      out.push_back(t);
      took += t;
      spent += t;
      if (out.size() > 1 && t > hopeless) break;
    }
    return out;
  }
  bool check(Entrant& e) override {
    if (wrong.empty() || !wrong[e.id]) return true;
    e.dropped = "wrong";
    return false;
  }
  bool stop() override { return stop_after >= 0 && static_cast<int>(order.size()) >= stop_after; }
  void told(const Entrant&, std::size_t done, std::size_t all) override {
    EXPECT_LE(done, all);
    EXPECT_GT(done, told_);
    told_ = done;
  }

 private:
  std::mt19937_64 random_{7};
  std::uniform_real_distribution<double> uniform_{0, 1};
  std::size_t told_ = 0;
};

std::vector<Entrant> entrants(std::size_t n) {
  std::vector<Entrant> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i].id = i;
  return out;
}

TEST(Search, FindsTheFastestWithFewMeasurements) {
  for (const std::size_t best : {std::size_t{0}, std::size_t{17}, std::size_t{39}}) {
    FakeField field;
    for (std::size_t i = 0; i < 40; ++i) field.truth.push_back(1e-4 * (1 + 0.04 * static_cast<double>((i + 40 - best) % 40)));
    field.noise = 0.02;
    std::vector<Entrant> all = entrants(40);
    const SearchResult r = search(all, field, {.seconds = 0.3});
    EXPECT_EQ(r.winner, static_cast<int>(best));
    EXPECT_FALSE(r.throttled);
    EXPECT_LT(field.spent, 0.1 * 40 * 0.3) << "a tenth of timing each for as long as the winner";
    EXPECT_TRUE(all[best].final);
    EXPECT_NEAR(all[best].median, 1.01e-4, 0.01e-4);
    EXPECT_GT(all[best].spread, 0);
    EXPECT_LT(all[best].spread, 0.02);
  }
}

TEST(Search, EachIsTimedWhenItIsExhaustive) {
  FakeField field;
  field.truth = {3e-4, 1e-4, 2e-4, 9e-4};
  std::vector<Entrant> all = entrants(4);
  const SearchResult r = search(all, field, {.seconds = 0.1, .exhaustive = true});
  EXPECT_EQ(r.winner, 1);
  for (const Entrant& e : all) {
    EXPECT_TRUE(e.final);
    EXPECT_NEAR(e.launches * field.truth[e.id], 0.1, 0.01);
  }
}

TEST(Search, DriftIsNoticedAndDoesNotChoose) {
  // A machine that is half as fast after a second: whoever is measured last looks slow.
  FakeField field;
  field.truth = {1.02e-4, 1.00e-4, 1.04e-4};
  field.drift = 2;
  std::vector<Entrant> all = entrants(3);
  const SearchResult r = search(all, field, {.seconds = 1});
  EXPECT_TRUE(r.throttled);
  EXPECT_EQ(r.winner, 1);
}

TEST(Search, ByTheMedianAHotCandidateLoses) {
  for (const bool by_median : {false, true}) {
    FakeField field;
    field.truth = {1.00e-4, 1.05e-4};
    field.heat = {0.2, 0};
    std::vector<Entrant> all = entrants(2);
    EXPECT_EQ(search(all, field, {.seconds = 0.3, .by_median = by_median}).winner, by_median ? 1 : 0);
  }
}

TEST(Search, AWrongOneMakesRoomForTheNext) {
  FakeField field;
  field.truth = {5e-4, 1e-4, 2e-4, 3e-4, 4e-4};
  field.wrong = {false, true, true, true, false};
  std::vector<Entrant> all = entrants(5);
  EXPECT_EQ(search(all, field, {}).winner, 4);
  EXPECT_EQ(all[1].dropped, "wrong");
  FakeField none;
  none.truth = {1e-4, 2e-4};
  none.wrong = {true, true};
  std::vector<Entrant> two = entrants(2);
  const SearchResult r = search(two, none, {});
  EXPECT_EQ(r.winner, -1);
  EXPECT_FALSE(r.stopped);
}

TEST(Search, StopsAndGoesOnFromWhatIsKnown) {
  FakeField field;
  field.truth = {4e-4, 3e-4, 2e-4, 1e-4, 5e-4, 6e-4};
  field.stop_after = 3;
  std::vector<Entrant> all = entrants(6);
  const SearchResult r = search(all, field, {});
  EXPECT_TRUE(r.stopped);
  EXPECT_EQ(r.winner, -1);
  EXPECT_EQ(field.order, (std::vector<std::size_t>{0, 1, 2}));
  // Another run, told what the first has measured.
  FakeField rest;
  rest.truth = field.truth;
  std::vector<Entrant> again = entrants(6);
  for (std::size_t i = 0; i < 3; ++i) again[i].median = all[i].median, again[i].known = true;
  EXPECT_EQ(search(again, rest, {}).winner, 3);
  EXPECT_EQ(std::vector<std::size_t>(rest.order.begin(), rest.order.begin() + 3), (std::vector<std::size_t>{3, 4, 5}));
  // And one to whom nothing is new.
  FakeField idle;
  idle.truth = field.truth;
  std::vector<Entrant> known = again;
  for (Entrant& e : known) e.launches = 0, e.fastest = 0, e.times.clear();
  EXPECT_EQ(search(known, idle, {}).winner, 3);
  EXPECT_TRUE(idle.order.empty());
}

}  // namespace
}  // namespace tessera::tuning
