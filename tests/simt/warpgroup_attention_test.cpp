// Attention by warpgroups, its second product a trip behind, simulated: trips none, one and many.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "warpgroup_launch.h"

namespace tessera::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

struct AttentionRun {
  std::int64_t sq, sk;
  std::int64_t end = -1;  ///< of the loop over the keys, if the kernel takes it: a multiple of its step
};
struct AttentionCase {
  const char* what;
  AttentionForm form;
  std::vector<AttentionRun> runs;
  int slots = 0;
};
void PrintTo(const AttentionCase& c, std::ostream* out) { *out << c.what; }
class WarpgroupAttention : public testing::TestWithParam<AttentionCase> {};

std::vector<double> attention(std::map<std::string, Buffer>& t, std::int64_t h, std::int64_t d, std::int64_t sq, std::int64_t keys, double scale) {
  std::vector<double> out(static_cast<std::size_t>(sq * h * d));
  for (std::int64_t row = 0; row < sq * h; ++row) {
    const std::int64_t head = row % h;
    std::vector<double> p(static_cast<std::size_t>(keys));
    double most = -INFINITY, sum = 0;
    for (std::int64_t j = 0; j < keys; ++j) {
      double s = 0;
      for (std::int64_t x = 0; x < d; ++x) s += t.at("q").get(row * d + x) * t.at("k").get((j * h + head) * d + x);
      most = std::max(most, p[static_cast<std::size_t>(j)] = s * scale);
    }
    for (double& x : p) sum += x = std::exp(x - most);
    for (std::int64_t x = 0; x < d && keys > 0; ++x) {
      double o = 0;
      for (std::int64_t j = 0; j < keys; ++j) o += p[static_cast<std::size_t>(j)] * t.at("v").get((j * h + head) * d + x);
      out[static_cast<std::size_t>(row * d + x)] = o / sum;
    }
  }
  return out;
}

void expect_attention(const AttentionCase& c, const Compiled& kernel, const AttentionRun& r, const Way& way) {
  constexpr std::int64_t h = 2;
  const std::int64_t d = c.form.d;
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  std::map<std::string, Buffer> tensors = {{"q", Buffer(DType::BF16, {1, r.sq, h, d}).fill_random(1)},
                                           {"k", Buffer(DType::BF16, {1, r.sk, h, d}).fill_random(2)},
                                           {"v", Buffer(DType::BF16, {1, r.sk, h, d}).fill_random(3)},
                                           {"o", Buffer(DType::F32, {1, r.sq, h, d}).fill(NAN)}};
  std::map<std::string, double> scalars = {{"scale", scale}};
  if (r.end >= 0) scalars["e"] = static_cast<double>(r.end);
  const std::int64_t keys = r.end >= 0 ? std::min(r.end, r.sk) : r.sk;
  const Ran ran = launch(kernel, tensors, scalars, way.options, way.shift);
  if (keys > 0) {
    EXPECT_EQ(ran.bulk > 0, way.bulk()) << "bulk copies";
  }
  const std::vector<double> want = attention(tensors, h, d, r.sq, keys, scale);
  int wrong = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    // Probabilities of 8 bits: values of size 1 differ by less than 2^-7.
    const double got = tensors.at("o").get(static_cast<std::int64_t>(i));
    if (!(std::fabs(got - want[i]) <= 0x1p-7) && wrong++ < 3) ADD_FAILURE() << i << ": " << got << " for " << want[i];
  }
  EXPECT_EQ(wrong, 0);
}

TEST_P(WarpgroupAttention, IsRightAndClean) {
  const AttentionCase& c = GetParam();
  const Compiled kernel = compiled(attention_text(c.form), c.slots ? ring_of("kt", c.slots) : Schedule{});
  ASSERT_THAT(kernel.notes, Contains(HasSubstr("A from registers")));
  ASSERT_THAT(kernel.notes, Contains(HasSubstr("by bulk copies")));
  ASSERT_THAT(kernel.notes, Contains(HasSubstr("one trip behind")));
  for (const AttentionRun& r : c.runs) {
    for (const Way& way : ways()) {
      SCOPED_TRACE(testing::Message() << r.sq << " x " << r.sk << ", loop to " << r.end << ", " << text_of(way));
      expect_attention(c, kernel, r, way);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WarpgroupAttention,
                         testing::Values(AttentionCase{"Trips", {.bm = 64, .bn = 64, .d = 64}, {{64, 1}, {64, 64}, {70, 65}, {64, 128}, {8, 330}}},
                                         AttentionCase{"TripsByNumber",
                                                       {.bm = 64, .bn = 32, .d = 32, .keys_end = "%e", .more_params = kEnd},
                                                       {{64, 96, 0}, {64, 96, 32}, {64, 96, 64}, {64, 96, 96}, {64, 320, 224}}},
                                         AttentionCase{"LoopInALoop", {.bm = 64, .bn = 32, .d = 32, .repeats = 2}, {{64, 32}, {64, 40}, {64, 260}}},
                                         AttentionCase{"LoopInALoopByNumber",
                                                       {.bm = 64, .bn = 32, .d = 32, .keys_end = "%e", .more_params = kEnd, .repeats = 3},
                                                       {{64, 96, 0}, {64, 96, 32}, {64, 96, 96}}},
                                         AttentionCase{"TwoSlots", {.bm = 64, .bn = 32, .d = 32}, {{64, 32}, {64, 64}, {64, 260}}, 2},
                                         AttentionCase{"FourSlots", {.bm = 64, .bn = 32, .d = 32}, {{64, 32}, {64, 96}, {64, 260}}, 4},
                                         AttentionCase{"TwoGroups", {.bm = 128, .bn = 32, .d = 64}, {{130, 72}}},
                                         AttentionCase{"ThreeGroups", {.bm = 192, .bn = 32, .d = 32}, {{192, 72}}},
                                         AttentionCase{"Instances", {.bm = 128, .bn = 32, .d = 32}, {{600, 40}, {400, 136}}},
                                         AttentionCase{"InstancesByNumber",
                                                       {.bm = 128, .bn = 32, .d = 32, .keys_end = "%e", .more_params = kEnd},
                                                       {{600, 96, 0}, {600, 96, 32}, {600, 160, 96}}},
                                         AttentionCase{"TwoBlocksAGroup", {.bm = 256, .bn = 32, .d = 32}, {{250, 72}}},
                                         AttentionCase{"ColumnsOfTwoInstructions", {.bm = 64, .bn = 16, .d = 320}, {{20, 40}}},
                                         AttentionCase{"PaddedDepth", {.bm = 64, .bn = 64, .d = 40}, {{64, 72}, {64, 192}}}),
                         [](const auto& info) { return info.param.what; });

}  // namespace
}  // namespace tessera::test
