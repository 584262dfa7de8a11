// Elementwise code for GPUs, simulated: functions against long double, coordinates in short form against 64-bit arithmetic.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "codegen/gpu/compile.h"
#include "codegen/simt/simulate.h"
#include "dsl/text.h"
#include "tests/ir/kernels.h"
#include "tests/ir/launch.h"

namespace tessera::test {
namespace {

/// Launches one instance on tensors in the order of the parameters; the last one is written.
void launch(const std::string& text, std::vector<std::pair<std::string, Buffer*>> tensors, const std::map<std::string, double>& scalars) {
  const auto kernel = parsed(text);
  Diagnostics problems;
  GpuIr code = emit_gpu(*kernel, {90, true}, {}, problems);
  ASSERT_TRUE(code.module);
  std::vector<SimtTensor> memory_of;
  Launch l(*kernel);
  for (auto& [name, b] : tensors) {
    l.view(name, *b);
    const bool out = b == tensors.back().second;
    memory_of.push_back({"", b->bytes.data(), static_cast<std::size_t>(b->size() * bits(b->dtype) / 8), out, !out});
  }
  for (const auto& [name, v] : scalars) l.scalar(name, v);
  const SimtMemory memory(memory_of);
  std::vector<std::uint64_t> frame = l.frame();
  const FrameLayout layout = frame_layout(*kernel);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    for (std::size_t p = 0; p < kernel->params.size(); ++p) {
      if (kernel->params[p].name == tensors[i].first) frame[layout.params[p].base] = memory.address(i);
    }
  }
  const SimtResult result = SimtKernel(std::move(code)).run(frame, {}, 1, memory);
  memory.copy_back();
  for (const Hazard& h : result.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
}

/// Distance in units of the last place of the nearest float.
double ulps(float got, long double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  const float near = static_cast<float>(want);
  if (got == near) return 0;
  const float unit = std::nextafter(std::fabs(near), INFINITY) - std::fabs(near);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / unit);
}

TEST(Elements, TanhIsWithinFourUlp) {
  const std::string text = R"(kernel k(
  %0.x: view f32[4096],
  %1.y: out view f32[4096]
)
{
  %2 = const {value = 0} : idx
  %3 = const {value = 4096} : idx
  %4 = range %2, %2, %3 {size = 4096, full} : range<4096>
  %5 = load %0.x, %4 : f32[4096]
  %6 = tanh %5 : f32[4096]
  store %1.y, %6, %4
  yield
}
)";
  std::mt19937 random(3);
  std::uniform_real_distribution<float> wide(-12, 12), narrow(-0.7F, 0.7F);
  std::vector<double> x = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, -1e-40, 1e-20, 0.625, -0.625, std::nextafter(0.625F, 0.F),
                           9.0, 44.0, -88.0,    3e38};
  while (x.size() < 4096) {
    const auto any = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    x.insert(x.end(), {wide(random), narrow(random), any});
  }
  x.resize(4096);
  Buffer in = floats(DType::F32, {4096}, x), out(DType::F32, {4096});
  launch(text, {{"x", &in}, {"y", &out}}, {});
  double worst = 0;
  for (int i = 0; i < 4096; ++i) {
    const float v = static_cast<float>(in.get(i)), got = static_cast<float>(out.get(i));
    EXPECT_EQ(std::signbit(got), std::signbit(v)) << v;
    EXPECT_FALSE(std::fabs(got) > 1) << v;
    worst = std::max(worst, ulps(got, std::tanh(static_cast<long double>(v))));
  }
  EXPECT_LE(worst, 4);
}

// Short code below 2^17, a call beyond; what lies next to multiples of pi / 2 is where a reduction loses its digits.
TEST(Elements, SineAndCosineAreWithinTwoUlpAtAnyAngle) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> turn(-3.2, 3.2), near(-131072, 131072), far(131072, 1e9);
  std::vector<double> x = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, 131071.99, 131072, 268435456, 3e38, -1e20, 16367173, -5e6};
  for (int n = 1; x.size() < 1400; n = n * 9 / 8 + 1) {
    const auto multiple = static_cast<float>(n % 83443 * 1.57079632679489661923L);
    x.insert(x.end(), {multiple, std::nextafter(multiple, 0.F), -std::nextafter(multiple, 1e9F)});
    if (n > 1 << 24) n = static_cast<int>(random() % 80000);
  }
  while (x.size() < 4096) {
    const auto any = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    x.insert(x.end(), {turn(random), near(random), far(random), any});
  }
  x.resize(4096);
  for (const bool cosine : {false, true}) {
    const std::string text = std::string(R"(kernel k(
  %0.x: view f32[4096],
  %1.y: out view f32[4096]
)
{
  %2 = const {value = 0} : idx
  %3 = const {value = 4096} : idx
  %4 = range %2, %2, %3 {size = 4096, full} : range<4096>
  %5 = load %0.x, %4 : f32[4096]
  %6 = )") + (cosine ? "cos" : "sin") +
                             R"( %5 : f32[4096]
  store %1.y, %6, %4
  yield
}
)";
    Buffer in = floats(DType::F32, {4096}, x), out(DType::F32, {4096});
    launch(text, {{"x", &in}, {"y", &out}}, {});
    double worst = 0;
    for (int i = 0; i < 4096; ++i) {
      const float v = static_cast<float>(in.get(i)), got = static_cast<float>(out.get(i));
      const long double want = !std::isfinite(v) ? NAN : cosine ? std::cos(static_cast<long double>(v)) : std::sin(static_cast<long double>(v));
      const double error = ulps(got, want);
      EXPECT_LE(error, 2) << (cosine ? "cos " : "sin ") << v << ": " << got << ", not " << static_cast<double>(want);
      worst = std::max(worst, error);
    }
    RecordProperty(cosine ? "cos" : "sin", std::to_string(worst));
  }
}

std::string coordinates(const std::string& op, const std::string& type, const std::string& flags) {
  return R"(kernel k(
  %0.s: idx,
  %1.t: idx,
  %2.y: out view )" +
         type + R"([64, 128]
)
)" + flags +
         R"({
  %3 = const {value = 0} : idx
  %4 = const {value = 64} : idx
  %5 = const {value = 128} : idx
  %6 = range %3, %3, %4 {size = 64, full} : range<64>
  %7 = range %3, %3, %5 {size = 128, full} : range<128>
  %8 = coords %6 : idx[64]
  %9 = reshape %8 : idx[64, 1]
  %10 = coords %7 : idx[128]
  %11 = reshape %10 : idx[1, 128]
  %12 = add %9, %0.s : idx[64, 1]
  %13 = const {value = 3} : idx
  %14 = mul %11, %13 : idx[1, 128]
)" + op + R"(
  store %2.y, %16, %6, %7
  yield
}
)";
}

constexpr double kStarts[] = {0, -1000, 0x1p23 - 70, 0x1p24 + 3, 0x1p31 - 40, -0x1p50 - 7};

// f32(s + i - 3 j): one rounding in strict kernels, none below 2^23, two above.
TEST(Elements, CoordinatesAsFloats) {
  for (const bool strict : {false, true}) {
    const std::string text = coordinates("  %15 = sub %12, %14 : idx[64, 128]\n  %16 = cast %15 : f32[64, 128]", "f32", strict ? "strict\n" : "");
    for (const double start : kStarts) {
      Buffer y(DType::F32, {64, 128});
      launch(text, {{"y", &y}}, {{"s", start}, {"t", 0}});
      for (int i = 0; i < 64; ++i) {
        for (int j = 0; j < 128; ++j) {
          const std::int64_t want = static_cast<std::int64_t>(start) + i - 3 * j;
          const auto got = static_cast<float>(y.get(i * 128 + j));
          if (strict || std::llabs(want) <= 1 << 23) {
            ASSERT_EQ(got, static_cast<float>(want)) << start << " + " << i << " - 3 * " << j;
          } else {
            ASSERT_LE(ulps(got, static_cast<long double>(want)), 1.5) << start << " + " << i << " - 3 * " << j;
          }
        }
      }
    }
  }
}

// s + i compared with 3 j + t: alone and together with 3 j < t + 40, as numbers and as what a select goes by.
TEST(Elements, ComparisonsOfCoordinates) {
  const struct {
    const char* op;
    bool (*holds)(std::int64_t, std::int64_t);
  } comparisons[] = {{"lt", [](std::int64_t a, std::int64_t b) { return a < b; }},  {"le", [](std::int64_t a, std::int64_t b) { return a <= b; }},
                     {"gt", [](std::int64_t a, std::int64_t b) { return a > b; }},  {"ge", [](std::int64_t a, std::int64_t b) { return a >= b; }},
                     {"eq", [](std::int64_t a, std::int64_t b) { return a == b; }}, {"ne", [](std::int64_t a, std::int64_t b) { return a != b; }}};
  for (const auto& c : comparisons) {
    for (const bool also : {false, true}) {
      std::string op = "  %15 = add %14, %1.t : idx[1, 128]\n  %17 = " + std::string(c.op) + " %12, %15 : bool[64, 128]\n";
      if (also) {
        op +=
            "  %18 = const {value = 40} : idx\n  %19 = add %18, %1.t : idx\n  %20 = lt %14, %19 : bool[1, 128]\n"
            "  %21 = and %17, %20 : bool[64, 128]\n  %22 = const {value = 0} : i32\n  %23 = const {value = 1} : i32\n"
            "  %16 = select %21, %23, %22 : i32[64, 128]";
      } else {
        op += "  %16 = cast %17 : i32[64, 128]";
      }
      const std::string text = coordinates(op, "i32", "");
      for (const double start : kStarts) {
        for (const double other : {start + 20, start - 300, 0.0}) {
          const auto t = static_cast<std::int64_t>(other);
          Buffer y(DType::I32, {64, 128});
          launch(text, {{"y", &y}}, {{"s", start}, {"t", other}});
          for (int i = 0; i < 64; ++i) {
            for (int j = 0; j < 128; ++j) {
              const bool want = c.holds(static_cast<std::int64_t>(start) + i, 3 * j + t) && (!also || 3 * j < t + 40);
              ASSERT_EQ(y.get_int(i * 128 + j), want) << start << " + " << i << " " << c.op << " 3 * " << j << " + " << other << ", " << also;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
