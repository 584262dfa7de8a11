#include "dsl/sym.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace tessera {
namespace {

using ::testing::ElementsAre;

Sym sym(const char* text) {
  auto s = parse_sym(text);
  EXPECT_TRUE(s.has_value()) << text;
  return s.value_or(Sym());
}

/// Both texts denote one normal form.
void same(const char* a, const char* b) { EXPECT_EQ(sym(a).str(), sym(b).str()) << a << " and " << b; }

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TEST(Sym, PolynomialsHaveOneForm) {
  same("a*b + a*c", "a*(c + b)");
  same("(a + b)*(a - b)", "a*a - b*b");
  same("a + 1 - a", "1");
  same("2*a - a - a", "0");
  EXPECT_EQ(sym("H*G + 4").str(), "G*H + 4");
  EXPECT_EQ(sym("-x - 3").str(), "-x - 3");
  EXPECT_NE(sym("a*b"), sym("a + b"));
  EXPECT_NE(sym("Sq"), sym("Sk"));
}

TEST(Sym, AtomsAreComparedByWhatTheyAre) {
  EXPECT_EQ(Sym::symbol("x"), Sym::symbol("x"));
  EXPECT_EQ(floor_div(Sym::symbol("x"), 3), floor_div(Sym::symbol("x"), 3));
  EXPECT_EQ(Sym::symbol("x") - Sym::symbol("x"), Sym(0));
}

TEST(Sym, ExactQuotientsAreSplitOut) {
  same("div(4*x, 4)", "x");
  same("div(4*x + y, 4)", "x + div(y, 4)");
  same("div(x + 9, 4)", "2 + div(x + 1, 4)");
  same("div(x - 1, 4)", "ceil(x, 4) - 1");
  same("div(x*c, c)", "x");
  same("div(x*c + y, c)", "x + div(y, c)");
  same("div(2*x*c, 2*c)", "x");
  same("div(x, 1)", "x");
  same("div(x, 0)", "0");
  same("div(2*x + 4*y, 8)", "div(x + 2*y, 4)");
  same("div(2*x + 1, 4)", "div(x, 2)");
  same("div(div(x, 3), 5)", "div(x, 15)");
  same("div(2*a + 2*b, a + b)", "2");
  same("div(x, 0 - 2)", "div(0 - x, 2)");
}

TEST(Sym, CeilingDivisionIsTheSameAsItsIdiom) {
  same("ceil(S, 64)", "div(S + 63, 64)");
  same("ceil(64*S, 64)", "S");
  same("ceil(64*S + x, 64)", "S + ceil(x, 64)");
  same("ceil(x + 1, 64)", "1 + div(x, 64)");
  same("ceil(ceil(x, 3), 5)", "ceil(x, 15)");
  same("ceil(x*c + y, c)", "x + ceil(y, c)");
  EXPECT_EQ(sym("ceil(Sq, 64)").str(), "ceil(Sq, 64)");
}

TEST(Sym, RemaindersDropMultiples) {
  same("mod(4*x + y, 4)", "mod(y, 4)");
  same("mod(x, 1)", "0");
  same("mod(x, 0)", "0");
  same("mod(x*c, c)", "0");
  same("mod(5*x + 7, 4)", "mod(x + 3, 4)");
  same("mod(2*x, 4)", "2*mod(x, 2)");
  same("mod(2*x + 1, 4)", "2*mod(x, 2) + 1");
  same("mod(mod(x, 8), 4)", "mod(x, 4)");
  same("mod(mod(x, 4), 8)", "mod(x, 4)");
  same("div(mod(x, 4), 8)", "0");
}

TEST(Sym, ExtremaMergeWhatIsComparable) {
  same("min(x, x)", "x");
  same("min(x, x + 1)", "x");
  same("max(x, x + 1)", "x + 1");
  same("min(a, b)", "min(b, a)");
  same("min(min(a, b), c)", "min(a, min(c, b))");
  same("max(max(a, 3), 5)", "max(a, 5)");
  EXPECT_NE(sym("min(a, b)"), sym("max(a, b)"));
}

TEST(Sym, IntegersFloor) {
  EXPECT_EQ(floor_div(std::int64_t{-7}, std::int64_t{2}), -4);
  EXPECT_EQ(floor_div(std::int64_t{7}, std::int64_t{-2}), -4);
  EXPECT_EQ(floor_mod(-7, 4), 1);
  EXPECT_EQ(floor_mod(7, -4), -1);
  EXPECT_EQ(ceil_div(std::int64_t{-7}, std::int64_t{2}), -3);
  EXPECT_EQ(ceil_div(std::int64_t{7}, std::int64_t{2}), 4);
  EXPECT_EQ(floor_div(std::int64_t{5}, std::int64_t{0}), 0);
  EXPECT_EQ(floor_mod(5, 0), 0);
  EXPECT_EQ(ceil_div(std::int64_t{5}, std::int64_t{0}), 0);
  EXPECT_EQ(floor_div(kMin, std::int64_t{-1}), kMin);
  EXPECT_EQ(floor_mod(kMin, -1), 0);
}

TEST(Sym, Queries) {
  EXPECT_EQ(sym("7").as_constant(), 7);
  EXPECT_EQ(Sym().as_constant(), 0);
  EXPECT_EQ(sym("x").as_constant(), std::nullopt);
  EXPECT_EQ(sym("x").as_symbol(), "x");
  EXPECT_EQ(sym("2*x").as_symbol(), std::nullopt);
  EXPECT_EQ(sym("div(x, 2)").as_symbol(), std::nullopt);
  EXPECT_TRUE(sym("a*b + 1").is_plain_polynomial());
  EXPECT_FALSE(sym("a + div(b, 2)").is_plain_polynomial());
  EXPECT_EQ(sym("3*x + y").coefficient("x"), 3);
  EXPECT_EQ(sym("3*x + y").coefficient("z"), 0);
  EXPECT_EQ(sym("x*y").coefficient("x"), std::nullopt);
  EXPECT_EQ(sym("x + div(x, 2)").coefficient("x"), std::nullopt);
  EXPECT_EQ(sym("x + div(y, 2)").coefficient("x"), 1);
  EXPECT_TRUE(sym("min(a, div(b, c))").mentions("c"));
  EXPECT_FALSE(sym("min(a, div(b, c))").mentions("d"));
  EXPECT_THAT(sym("min(b, div(a, c)) + b").symbols(), ElementsAre("a", "b", "c"));
}

TEST(Sym, EvalKnowsItsLimits) {
  auto value = [](const std::string& n) -> std::optional<std::int64_t> {
    if (n == "big") return kMax;
    if (n == "zero") return 0;
    return std::nullopt;
  };
  EXPECT_EQ(sym("big").eval(value), kMax);
  EXPECT_EQ(sym("big + 1").eval(value), std::nullopt);
  EXPECT_EQ(sym("2*big").eval(value), std::nullopt);
  EXPECT_EQ(sym("unknown").eval(value), std::nullopt);
  EXPECT_EQ(sym("div(big, zero)").eval(value), 0);
  EXPECT_EQ(sym("mod(big, zero)").eval(value), 0);
  EXPECT_EQ(sym("ceil(big, zero)").eval(value), 0);
  EXPECT_EQ(sym("min(big, zero)").eval(value), 0);
}

TEST(Sym, SubstitutionNormalisesAgain) {
  Sym s = sym("div(n + r, 64) + mod(n, 64)");
  Sym t = s.substitute([](const std::string& n) { return n == "n" ? std::optional(sym("64*k")) : std::nullopt; });
  EXPECT_EQ(t, sym("k + div(r, 64)"));
}

TEST(Sym, ParseRefusesWhatIsNoSym) {
  for (const char* bad :
       {"", "+", "a +", "a b", "(a", "a)", "div(a)", "div(a, b", "div(a, b, c)", "min()", "2x!", "9223372036854775809", "a/b", "a -", "3.5"})
    EXPECT_FALSE(parse_sym(bad).has_value()) << bad;
  EXPECT_FALSE(parse_sym(std::string(5000, '(') + "a").has_value());
  EXPECT_EQ(sym("-9223372036854775808").as_constant(), kMin);
  EXPECT_EQ(sym("div").as_symbol(), "div") << "only a call is an operation";
  EXPECT_EQ(sym("%3.kt").as_symbol(), "%3.kt");
}

/// An expression as a tree, evaluated without any simplification.
struct Tree {
  int op;  ///< 0 symbol, 1 constant, 2 + - * div mod ceil min max
  std::int64_t leaf = 0;
  std::vector<Tree> args;
};

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}
  std::int64_t pick(std::int64_t lo, std::int64_t hi) { return std::uniform_int_distribution<std::int64_t>(lo, hi)(random_); }

  Tree tree(int depth) {
    if (depth == 0 || pick(0, 5) == 0) return pick(0, 2) > 0 ? Tree{0, pick(0, 2), {}} : Tree{1, pick(-9, 9), {}};
    auto op = static_cast<int>(pick(2, 9));
    Tree t{op, 0, {tree(depth - 1)}};
    // Divisors are constants mostly, zero and negative ones among them; a symbolic one is a bare symbol, which is nonzero here.
    bool divides = op >= 5 && op <= 7;
    if (divides)
      t.args.push_back(pick(0, 3) > 0 ? Tree{1, pick(-4, 16), {}} : Tree{0, pick(0, 2), {}});
    else
      t.args.push_back(tree(depth - 1));
    return t;
  }

 private:
  std::mt19937 random_;
};

Sym form(const Tree& t) {
  constexpr const char* names[] = {"x", "y", "z"};
  if (t.op == 0) return Sym::symbol(names[t.leaf]);
  if (t.op == 1) return t.leaf;
  Sym a = form(t.args[0]), b = form(t.args[1]);
  switch (t.op) {
    case 2: return a + b;
    case 3: return a - b;
    case 4: return a * b;
    case 5: return floor_div(a, b);
    case 6: return mod(a, b);
    case 7: return ceil_div(a, b);
    case 8: return min(a, b);
    default: return max(a, b);
  }
}

__int128 direct(const Tree& t, const std::int64_t* values) {
  if (t.op == 0) return values[t.leaf];
  if (t.op == 1) return t.leaf;
  __int128 a = direct(t.args[0], values), b = direct(t.args[1], values);
  auto floor = [](__int128 p, __int128 q) -> __int128 { return q == 0 ? 0 : p / q - ((p % q != 0 && (p < 0) != (q < 0)) ? 1 : 0); };
  switch (t.op) {
    case 2: return a + b;
    case 3: return a - b;
    case 4: return a * b;
    case 5: return floor(a, b);
    case 6: return b == 0 ? 0 : a - b * floor(a, b);
    case 7: return -floor(-a, b);
    case 8: return a < b ? a : b;
    default: return a > b ? a : b;
  }
}

TEST(Sym, NormalisationNeverChangesTheValue) {
  Generator g(20240229);
  int nontrivial = 0;
  for (int i = 0; i < 4000; ++i) {
    Tree t = g.tree(3);
    Sym s = form(t);
    auto again = parse_sym(s.str());
    ASSERT_TRUE(again.has_value()) << s.str();
    ASSERT_EQ(again->str(), s.str()) << "printing and parsing keep the normal form";
    ASSERT_EQ(*again, s);
    nontrivial += s.is_plain_polynomial() ? 0 : 1;
    for (int k = 0; k < 6; ++k) {
      std::int64_t values[3];
      for (auto& v : values) {
        v = g.pick(-12, 12);
        if (v == 0) v = 13;
      }
      auto got = s.eval([&](const std::string& n) { return std::optional(values[n[0] - 'x']); });
      ASSERT_TRUE(got.has_value());
      ASSERT_EQ(*got, static_cast<std::int64_t>(direct(t, values))) << s.str() << " at " << values[0] << " " << values[1] << " " << values[2];
    }
  }
  EXPECT_GT(nontrivial, 500);
}

TEST(SymFacts, EqualitiesAreRewrites) {
  SymFacts f;
  f.add_equal(sym("H"), sym("G*R"));
  EXPECT_TRUE(f.proves_equal(sym("div(H, G)"), sym("R")));
  EXPECT_TRUE(f.proves_equal(sym("mod(H, R)"), sym("0")));
  EXPECT_FALSE(f.proves_equal(sym("H"), sym("G")));
}

TEST(SymFacts, EqualitiesInAnyOrderReachAFixpoint) {
  SymFacts f;
  f.add_equal(sym("a"), sym("b + 1"));
  f.add_equal(sym("b"), sym("2*c"));
  f.add_equal(sym("c"), sym("a"));  // a = 2a + 1: a = -1 follows, or nothing; never a cycle
  f.add_equal(sym("d"), sym("a"));
  EXPECT_TRUE(f.proves_equal(sym("d"), sym("a")));
  EXPECT_TRUE(f.proves_equal(sym("d"), sym("2*c + 1")));
  SymFacts swapped;
  swapped.add_equal(sym("x"), sym("y"));
  swapped.add_equal(sym("y"), sym("x"));
  EXPECT_TRUE(swapped.proves_equal(sym("x + z"), sym("z + y")));
  SymFacts self;
  self.add_equal(sym("x"), sym("x*y"));
  EXPECT_FALSE(self.proves_equal(sym("y"), sym("1")));
}

TEST(SymFacts, ASymbolIsSolvedForInASum) {
  SymFacts f;
  f.add_equal(sym("Sq + P"), sym("2*T + 1"));
  EXPECT_TRUE(f.proves_equal(sym("Sq + P - 1"), sym("2*T")));
}

TEST(SymFacts, DivisibilityResolvesQuotients) {
  SymFacts f;
  f.add_divisible(sym("K"), sym("128"));
  EXPECT_TRUE(f.proves_equal(sym("mod(K, 128)"), sym("0")));
  EXPECT_TRUE(f.proves_equal(sym("mod(K, 64)"), sym("0")));
  EXPECT_TRUE(f.proves_equal(sym("mod(3*K*H + 5, 32)"), sym("5")));
  EXPECT_TRUE(f.proves_equal(sym("128*div(K, 128)"), sym("K")));
  EXPECT_TRUE(f.proves_equal(sym("H*64*div(K, 64) + 1"), sym("H*K + 1")));
  EXPECT_TRUE(f.proves_equal(sym("ceil(K, 128)"), sym("div(K, 128)")));
  EXPECT_TRUE(f.proves_equal(sym("ceil(K + x, 64)"), sym("div(K, 64) + ceil(x, 64)")));
  EXPECT_FALSE(f.proves_equal(sym("mod(K, 256)"), sym("0")));
  EXPECT_FALSE(f.proves_equal(sym("ceil(K, 256)"), sym("div(K, 256)")));
  EXPECT_TRUE(f.proves_divisible(sym("K*H + 256"), sym("128")));
  EXPECT_FALSE(f.proves_divisible(sym("K + 1"), sym("128")));
  EXPECT_FALSE(f.proves_divisible(sym("K"), sym("0")));
}

TEST(SymFacts, DivisibilityBySymbolsAndOfSums) {
  SymFacts f;
  f.add_divisible(sym("H"), sym("G"));
  f.add_divisible(sym("Sk - Sq"), sym("64"));
  EXPECT_TRUE(f.proves_equal(sym("G*div(H, G)"), sym("H")));
  EXPECT_TRUE(f.proves_equal(sym("mod(2*H, G)"), sym("0")));
  EXPECT_TRUE(f.proves_divisible(sym("Sk - Sq"), sym("16")));
  EXPECT_TRUE(f.proves_divisible(sym("2*Sk - 2*Sq + 32"), sym("32")));
  EXPECT_FALSE(f.proves_divisible(sym("Sk"), sym("64")));
  SymFacts both;
  both.add_divisible(sym("n"), sym("4"));
  both.add_divisible(sym("n"), sym("6"));
  EXPECT_TRUE(both.proves_divisible(sym("n"), sym("12")));
  EXPECT_FALSE(both.proves_divisible(sym("n"), sym("24")));
}

TEST(SymFacts, EqualitiesAndDivisibilityTogether) {
  SymFacts f;
  f.add_divisible(sym("H"), sym("8"));
  f.add_equal(sym("H"), sym("G*R"));
  EXPECT_TRUE(f.proves_divisible(sym("G*R"), sym("4")));
  EXPECT_TRUE(f.proves_divisible(sym("H"), sym("8")));
}

}  // namespace
}  // namespace tessera
