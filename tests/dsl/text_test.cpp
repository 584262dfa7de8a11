#include "dsl/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>
#include <set>

#include "dsl/verify.h"
#include "tests/dsl/op_samples.h"

namespace tessera::ir {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Parsed {
  std::unique_ptr<Kernel> kernel;
  std::string errors;
  std::size_t count = 0;
  Position at;  ///< of the first error
};
Parsed parse(const std::string& text) {
  SourceMap sources;
  Diagnostics ds;
  FileId file = sources.add("k.ir", text);
  Parsed p;
  p.kernel = parse_kernel(sources, file, ds);
  p.errors = render(ds, sources);
  p.count = ds.count();
  if (ds.any()) {
    EXPECT_EQ(ds.list()[0].code, Code::E0803);
    p.at = sources.begin(ds.list()[0].span);
  }
  return p;
}
std::string reprint(const std::string& text) {
  Parsed p = parse(text);
  EXPECT_NE(p.kernel, nullptr) << p.errors;
  return p.kernel ? print(*p.kernel) : "";
}

/// A kernel with the given lines as its body, before `yield`.
std::string with_body(const std::string& lines) {
  return "kernel k(\n  %0.x: view f32[M, 8],\n  %1.y: out view f32[M, 8],\n  %2.a: f32\n)\nsymbols(M)\ngrid(%3.i < M)\n{\n" + lines + "  yield\n}\n";
}

TEST(Text, EveryOpRoundTrips) {
  auto kernel = OpSamples().take();
  EXPECT_THAT(verify(*kernel), IsEmpty());
  std::set<OpKind> seen;
  walk(static_cast<const Block&>(kernel->body), [&](const Op& op) { seen.insert(op.kind); });
  for (OpKind k : all_ops()) EXPECT_TRUE(seen.count(k)) << info(k).name;
  std::string text = print(*kernel);
  EXPECT_EQ(reprint(text), text);
}

TEST(Text, AttributesSurvive) {
  auto kernel = OpSamples().take();
  Parsed again = parse(print(*kernel));
  ASSERT_NE(again.kernel, nullptr) << again.errors;
  std::vector<const Op*> a, b;
  walk(static_cast<const Block&>(kernel->body), [&](const Op& op) { a.push_back(&op); });
  walk(static_cast<const Block&>(again.kernel->body), [&](const Op& op) { b.push_back(&op); });
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i]->kind, b[i]->kind);
    EXPECT_EQ(a[i]->attrs, b[i]->attrs) << info(a[i]->kind).name;
    ASSERT_EQ(a[i]->results.size(), b[i]->results.size());
    for (std::size_t r = 0; r < a[i]->results.size(); ++r) {
      EXPECT_EQ(a[i]->result(r)->type, b[i]->result(r)->type);
      EXPECT_EQ(a[i]->result(r)->hint, b[i]->result(r)->hint);
    }
  }
}

TEST(Text, HeaderSaysEverything) {
  const std::string text =
      "kernel \"two words\"(\n"
      "  %0.q: view bf16[B, Sq, H, 128],\n"
      "  %1.k: peer[4] view bf16[B, Sk, G, 128] strided,\n"
      "  %2.lse: scatter view f32 as att.Lse[B, H, Sq] ?,\n"
      "  alibi: view f32[H] absent,\n"
      "  %3.o: out view bf16[B, Sq, H, 128],\n"
      "  %4.sum: add view f32[],\n"
      "  %5.x.slope: f32 as Scale,\n"
      "  %6.n: idx\n"
      ")\n"
      "symbols(B, Sq, H, Sk, G)\n"
      "where(H == G*4, mod(Sk, 128) == 0, G in {1, 8}, Sq <= Sk, B != 0, B > 0, B < 100, B >= 1)\n"
      "grid(%7.qi < ceil(Sq, 64), %8.b < B*min(H, 2))\n"
      "strict deterministic resident\n"
      "constants(BM = \"64\", \"odd name\" = \"\\x01\\\"\\\\\")\n"
      "in_place(o = q)\n"
      "{\n"
      "  yield\n"
      "}\n";
  Parsed p = parse(text);
  ASSERT_NE(p.kernel, nullptr) << p.errors;
  const Kernel& k = *p.kernel;
  EXPECT_EQ(k.name, "two words");
  ASSERT_EQ(k.params.size(), 8u);
  EXPECT_EQ(k.params[1].peers, 4);
  EXPECT_TRUE(k.params[1].strided);
  EXPECT_EQ(k.params[2].nominal, "att.Lse");
  EXPECT_EQ(k.params[2].mode, Mode::Scatter);
  EXPECT_TRUE(k.params[2].optional && k.params[2].present);
  EXPECT_TRUE(k.params[3].optional && !k.params[3].present);
  EXPECT_EQ(k.params[6].name, "x.slope");
  EXPECT_EQ(k.params[6].nominal, "Scale");
  ASSERT_EQ(k.where.size(), 8u);
  EXPECT_EQ(k.where[2].rhs.size(), 2u);
  EXPECT_EQ(k.where[3].op, Compare::Le);
  EXPECT_EQ(k.constants[1].second, "\x01\"\\");
  EXPECT_TRUE(k.strict && k.deterministic && k.resident);
  std::string canonical = print(k);
  EXPECT_EQ(reprint(canonical), canonical);
  // Symbolic integers print in normal form; everything else is as written.
  EXPECT_THAT(canonical, HasSubstr("where(H == 4*G, mod(Sk, 128) == 0, G in {1, 8}, Sq <= Sk, B != 0, B > 0, B < 100, B >= 1)\n"));
  EXPECT_EQ(canonical.substr(0, canonical.find("where")), text.substr(0, text.find("where")));
}

TEST(Text, NumbersDoNotDependOnHistory) {
  std::string a = with_body("  %9.u = neg %2.a : f32\n  %5 = neg %9.u : f32\n");
  std::string b = with_body("  %u = neg %2 : f32\n  // a comment\n  %v = neg %u : f32\n");
  EXPECT_THAT(reprint(a), HasSubstr("  %4.u = neg %2.a : f32\n  %5 = neg %4.u : f32\n"));
  EXPECT_THAT(reprint(b), HasSubstr("  %4.u = neg %2.a : f32\n  %5.v = neg %4.u : f32\n"));
}

TEST(Text, HintsOfAnyKindStayReadable) {
  auto kernel = OpSamples().take();
  kernel->body.ops[0]->result()->hint = "a b%\"{";
  kernel->body.ops[1]->result()->hint = "3";
  std::string text = print(*kernel);
  EXPECT_EQ(reprint(text), text);
}

TEST(Text, DoublesAreExact) {
  std::mt19937_64 random(7);
  std::vector<double> values = {0.0,
                                -0.0,
                                1.0,
                                0.1,
                                1e300,
                                -1e-300,
                                std::numeric_limits<double>::denorm_min(),
                                std::numeric_limits<double>::max(),
                                std::numeric_limits<double>::infinity(),
                                -std::numeric_limits<double>::infinity(),
                                9007199254740993.0};
  for (int i = 0; i < 500; ++i) {
    auto v = std::bit_cast<double>(random());
    if (v == v) values.push_back(v);
  }
  Kernel k;
  k.name = "k";
  Builder b(k.body);
  for (double v : values) b.constant(scalar(DType::F64), v);
  b.constant(scalar(DType::F64), std::numeric_limits<double>::quiet_NaN());
  b.yield({});
  std::string text = print(k);
  Parsed p = parse(text);
  ASSERT_NE(p.kernel, nullptr) << p.errors;
  EXPECT_EQ(print(*p.kernel), text);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double got = std::get<double>(p.kernel->body.ops[i]->attrs.at(Attr::Value));
    EXPECT_EQ(std::bit_cast<std::uint64_t>(got), std::bit_cast<std::uint64_t>(values[i])) << values[i];
  }
  double nan = p.kernel->body.ops[values.size()]->float_attr(Attr::Value);
  EXPECT_NE(nan, nan);
}

TEST(Text, IntegersAreExact) {
  std::string text = with_body("  %4 = const {value = -9223372036854775808} : i64\n  %5 = const {value = 9223372036854775807} : i64\n");
  EXPECT_EQ(reprint(text), text);
}

TEST(Text, ClonesPrintTheSame) {
  auto kernel = OpSamples().take();
  auto copy = kernel->clone();
  std::string text = print(*kernel);
  kernel.reset();
  EXPECT_EQ(print(*copy), text);
  EXPECT_THAT(verify(*copy), IsEmpty());
}

struct Malformed {
  const char* lines;
  std::uint32_t line, column;
  const char* message;
};

TEST(Text, FaultsAreDiagnosedWhereTheyAre) {
  const Malformed cases[] = {
      {"  %4 = frobnicate %2 : f32\n", 9, 8, "`frobnicate` is no op"},
      {"  %4 = neg %9 : f32\n", 9, 12, "value `%9` is not defined here"},
      {"  %2 = neg %2 : f32\n", 9, 3, "value `%2` defined twice"},
      {"  %4 = neg %2 : f33\n", 9, 17, "`f33` is no dtype"},
      {"  %4 = neg %2\n", 9, 3, "1 results with 0 types"},
      {"  neg %2\n", 9, 3, "`neg` has 1 results, not 0"},
      {"  %4 = neg %2 : f16\n", 9, 3, "ill-typed `neg`: result 0 is a f32, not a f16"},
      {"  %4 = neg %0 : f32\n", 9, 3, "operand 0 is a view<f32, 2>, not a tile"},
      {"  %4 = add %2 : f32\n", 9, 3, "1 operands"},
      {"  %4 = neg %2 {wrong = 1} : f32\n", 9, 16, "`wrong` is no attribute"},
      {"  %4 = neg %2 {axis} : f32\n", 9, 16, "attribute `axis` needs a value"},
      {"  %4 = neg %2 {axis = } : f32\n", 9, 23, "expected a value, found `}`"},
      {"  %4 = neg %2 {axis = 1, axis = 1} : f32\n", 9, 26, "given twice"},
      {"  %4 = reduce %2 {kind = total, axis = 0} : f32\n", 9, 26, "`total` is no value of `kind`"},
      {"  %4 = const {value = 1.2.3} : f32\n", 9, 23, "malformed number `1.2.3`"},
      {"  %4 = const {value = 99999999999999999999} : i64\n", 9, 23, "beyond 64 bits"},
      {"  %4 = const {value = 1e999} : f64\n", 9, 23, "malformed number"},
      {"  %4 = const {value = \"one\"} : f32\n", 9, 3, "`value` does not fit f32"},
      {"  %4 = const {value = 1.0} : f32[0]\n", 9, 3, "not positive"},
      {"  %4 = const {value = 1.0} : f32[100000, 100000]\n", 9, 3, "too many elements"},
      {"  %4 = const {value = 1.0} : f32[4294967296, 4294967296, 4294967296]\n", 9, 3, "too many elements"},
      {"  assert %2 {message = \"x\n", 9, 24, "unterminated string"},
      {"  assert %2 {message = \"\\q\"}\n", 9, 24, "unknown escape"},
      {"  % = neg %2 : f32\n", 9, 3, "`%` without a name"},
      {"  %4kt = neg %2 : f32\n", 9, 3, "followed by `.`"},
      {"  ?\n", 9, 3, "expected an op, found `?`"},
      {"  %4 = neg %2 : f32 () {\n yield\n}\n", 9, 3, "too many regions"},
      {"  %4 = load %0, %3 : f32\n", 9, 3, "operands for a view of rank 2"},
  };
  for (const Malformed& c : cases) {
    Parsed p = parse(with_body(c.lines));
    EXPECT_EQ(p.kernel, nullptr) << c.lines;
    EXPECT_EQ(p.at.line, c.line) << c.lines << p.errors;
    EXPECT_EQ(p.at.column, c.column) << c.lines << p.errors;
    EXPECT_THAT(p.errors, HasSubstr(c.message)) << c.lines;
  }
}

TEST(Text, HeaderFaultsAreDiagnosed) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "expected `kernel`, found the end of the text"},
      {"kernel 3() {}", "expected the kernel's name"},
      {"kernel k(%0.a: f32, %0.b: f32) {}", "value `%0` defined twice"},
      {"kernel k(%0: f32) {}", "a parameter needs a name"},
      {"kernel k(a: f32) {}", "a present parameter has a value"},
      {"kernel k(%0.a: view f32[] absent) {}", "an absent parameter has no value"},
      {"kernel k(%0.a: out f32) {}", "expected `view`, found `f32`"},
      {"kernel k(%0.a: peer[0] view f32[]) {}", "the number of ranks is positive"},
      {"kernel k(%0.a: view f32[M +]) {}", "malformed symbolic integer"},
      {"kernel k(%0.a: view f32[M]) { yield }", "uses the symbol `M`, which the kernel does not list"},
      {"kernel k() where(1 ~ 2) {}", "malformed symbolic integer"},
      {"kernel k() where(1) {}", "expected a comparison"},
      {"kernel k() grid(%0 < 3) {}", "a grid axis needs a name"},
      {"kernel k() { yield } x", "text after the kernel"},
      {"kernel k() { yield", "expected `}`, found the end of the text"},
      {"kernel k() { }", "the body does not end in a yield"},
  };
  for (const auto& [text, message] : cases) {
    Parsed p = parse(text);
    EXPECT_EQ(p.kernel, nullptr) << text;
    EXPECT_THAT(p.errors, HasSubstr(message)) << text;
  }
}

TEST(Text, ValuesEndWithTheirRegion) {
  Parsed p = parse(
      with_body("  %c = const {value = 1} : bool\n  if %c () {\n    %t = neg %2 : f32\n    yield\n  } () {\n    yield\n  }\n  %u = neg %t : f32\n"));
  EXPECT_EQ(p.kernel, nullptr);
  EXPECT_THAT(p.errors, HasSubstr("value `%t` is not defined here"));
}

TEST(Text, DepthIsBounded) {
  std::string open;
  for (int i = 0; i < 100000; ++i) open += "if %0 () {\n";
  Parsed p = parse("kernel k(%0.c: bool) {\n" + open);
  EXPECT_EQ(p.kernel, nullptr);
  EXPECT_THAT(p.errors, HasSubstr("regions nested too deep"));
  Parsed q = parse("kernel k(%0.a: view f32[" + std::string(100000, '(') + "]) {}");
  EXPECT_EQ(q.kernel, nullptr);
}

/// Whatever is cut from or changed in good text, the parser answers with a kernel that prints the same again or with diagnostics.
TEST(Text, MutationsNeverCrash) {
  const std::string good = print(*OpSamples().take());
  std::mt19937 random(11);
  auto pick = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  int parsed = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string text = good;
    for (std::size_t edits = 1 + pick(2); edits > 0; --edits) switch (pick(4)) {
        case 0: text.erase(pick(text.size()), 1 + pick(5)); break;
        case 1: text[pick(text.size())] = static_cast<char>(pick(256)); break;
        case 2: text.insert(pick(text.size()), text.substr(pick(text.size()), pick(12))); break;
        default: {
          // Swapping words keeps the syntax and breaks the types.
          std::size_t a = text.find('%', pick(text.size())), b = text.find('%', pick(text.size()));
          if (a != std::string::npos && b != std::string::npos) text.replace(a, 2, text.substr(b, 2));
        }
      }
    Parsed p = parse(text);
    ASSERT_NE(p.kernel == nullptr, p.count == 0) << text;
    if (!p.kernel) continue;
    ++parsed;
    std::string once = print(*p.kernel);
    ASSERT_EQ(reprint(once), once);
  }
  EXPECT_GT(parsed, 20);
  for (std::size_t cut = 0; cut + 2 < good.size(); cut += 7) EXPECT_EQ(parse(good.substr(0, cut)).kernel, nullptr);
}

}  // namespace
}  // namespace tessera::ir
