// Matrix products by warpgroups, as the generator emits them, simulated: trips none, one and many.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "warpgroup_launch.h"

namespace tessera::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

struct GemmRun {
  std::int64_t m, n, k;
  std::int64_t end = -1;  ///< of the loop, if the kernel takes it
};

void expect_gemm(const GemmForm& form, const Compiled& kernel, const GemmRun& r, const Way& way, bool bulk = true) {
  const DType t = *dtype_from_name(form.dtype), u = form.b_dtype.empty() ? t : *dtype_from_name(form.b_dtype);
  // Small integers: every sum is exact.
  const ir::Dims rows = form.merged > 0 ? ir::Dims{r.m / form.merged, form.merged, r.k} : ir::Dims{r.m, r.k};
  Buffer a = Buffer(t, rows).fill_integers(1, 3), b = Buffer(u, form.transposed ? ir::Dims{r.n, r.k} : ir::Dims{r.k, r.n}).fill_integers(2, 3);
  std::map<std::string, Buffer> tensors = {{"a", a}, {"b", b}, {"c", Buffer(DType::F32, {r.m, r.n}).fill(NAN)}};
  std::map<std::string, double> scalars;
  if (r.end >= 0) scalars["e"] = static_cast<double>(r.end);
  const Ran ran = launch(kernel, tensors, scalars, way.options, way.shift);
  const std::int64_t trips = r.end >= 0 ? r.end : r.k, times = std::max<std::int64_t>(1, form.repeats);
  if (trips > 0) {
    EXPECT_EQ(ran.bulk > 0, bulk && way.bulk()) << "bulk copies";
  }
  int wrong = 0;
  for (std::int64_t i = 0; i < r.m; ++i) {
    for (std::int64_t j = 0; j < r.n; ++j) {
      double want = 0;
      for (std::int64_t k = 0; k < std::min(trips, r.k); ++k) want += a.get(i * r.k + k) * b.get(form.transposed ? j * r.k + k : k * r.n + j);
      const double got = tensors.at("c").get(i * r.n + j);
      if (got != want * static_cast<double>(times) && wrong++ < 3) ADD_FAILURE() << i << ", " << j << ": " << got << " for " << want;
    }
  }
  EXPECT_EQ(wrong, 0);
}

struct GemmCase {
  const char* what;
  GemmForm form;
  std::vector<GemmRun> runs;
  int slots = 0;     ///< what the schedule asks for
  bool bulk = true;  ///< copies are what the plan chooses
};
void PrintTo(const GemmCase& c, std::ostream* out) { *out << c.what; }
class WarpgroupGemm : public testing::TestWithParam<GemmCase> {};

TEST_P(WarpgroupGemm, IsExactAndClean) {
  const GemmCase& c = GetParam();
  const Compiled kernel = compiled(gemm_text(c.form), c.slots ? ring_of("at", c.slots) : Schedule{});
  ASSERT_THAT(kernel.notes, Contains(HasSubstr("wgmma")));
  ASSERT_EQ(testing::Value(kernel.notes, Contains(HasSubstr("by bulk copies"))), c.bulk);
  if (c.slots) {
    ASSERT_THAT(kernel.notes, Contains(HasSubstr(fmt::format("{} slots", c.slots))));
  }
  for (const GemmRun& r : c.runs) {
    for (const Way& way : ways()) {
      SCOPED_TRACE(testing::Message() << "m " << r.m << ", n " << r.n << ", k " << r.k << ", loop to " << r.end << ", " << text_of(way));
      expect_gemm(c.form, kernel, r, way, c.bulk);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, WarpgroupGemm,
    testing::Values(
        GemmCase{"Trips", {.bm = 64, .bn = 64}, {{64, 64, 8}, {64, 64, 64}, {72, 40, 104}, {64, 64, 128}, {130, 70, 520}}},
        GemmCase{"TripsByNumber",
                 {.bm = 64, .bn = 64, .more_params = kEnd, .trips_end = "%e"},
                 {{64, 64, 128, 0}, {64, 64, 128, 64}, {64, 64, 256, 192}, {64, 64, 256, 256}}},
        GemmCase{"TwoSlots", {.bm = 64, .bn = 32}, {{64, 32, 64}, {64, 32, 448}}, 2},
        GemmCase{"FourSlots", {.bm = 64, .bn = 32}, {{64, 32, 64}, {64, 32, 192}, {64, 32, 576}}, 4},
        GemmCase{"KOutside", {.bm = 64, .bn = 128, .dtype = "f16", .transposed = false}, {{64, 128, 64}, {70, 136, 296}}},
        // columns of the stage beyond the tile's, which the tensor has
        GemmCase{"PaddedColumns", {.bm = 64, .bn = 72, .dtype = "f16", .transposed = false}, {{64, 80, 200}}, 0, false},
        GemmCase{"ShortK", {.bm = 64, .bn = 64, .bk = 16}, {{64, 64, 16}, {64, 64, 200}}},
        GemmCase{"LongK", {.bm = 64, .bn = 32, .bk = 192}, {{64, 32, 192}, {64, 32, 584}}},
        GemmCase{"RowsOfTwoBlocksAGroup", {.bm = 128, .bn = 64}, {{128, 64, 200}}}, GemmCase{"ThreeBlocks", {.bm = 192, .bn = 32}, {{200, 32, 136}}},
        GemmCase{"Instances", {.bm = 128, .bn = 256, .bk = 32}, {{500, 520, 104}, {640, 256, 32}}},
        GemmCase{"MergedRows", merged_rows(4), {{384, 264, 72}, {200, 256, 136}}},
        GemmCase{"MergedRowsThatGroupsDoNotFill", merged_rows(3), {{384, 264, 72}, {201, 256, 136}}},
        GemmCase{"ManyGroups", {.bm = 256, .bn = 128, .bk = 32}, {{256, 128, 104}}},
        GemmCase{"ColumnsOfTwoInstructions", {.bm = 64, .bn = 320, .bk = 32, .transposed = false}, {{64, 320, 104}}},
        GemmCase{"RowsOfTwoBoxes", {.bm = 64, .bn = 320, .bk = 32}, {{64, 320, 104}}, 0, false},
        GemmCase{"Bytes", {.bm = 64, .bn = 64, .bk = 128, .dtype = "e4m3"}, {{64, 64, 16}, {72, 40, 208}, {130, 70, 528}}},
        GemmCase{"BytesOfTwoTypes", {.bm = 64, .bn = 72, .bk = 64, .dtype = "e5m2", .b_dtype = "e4m3"}, {{64, 72, 208}}, 0, false},
        GemmCase{"BytesOfManyColumns", {.bm = 128, .bn = 256, .bk = 96, .dtype = "e4m3", .b_dtype = "e5m2"}, {{130, 260, 208}}},
        GemmCase{"BytesOfManySteps", {.bm = 64, .bn = 32, .bk = 320, .dtype = "e5m2"}, {{64, 32, 640}}},
        GemmCase{"BytesKOutside", {.bm = 128, .bn = 256, .bk = 64, .dtype = "e4m3", .transposed = false}, {{128, 256, 64}, {260, 272, 304}}},
        GemmCase{"BytesKOutsideWithoutRoles", {.bm = 64, .bn = 64, .bk = 64, .dtype = "e4m3", .transposed = false}, {{70, 80, 144}}, 0, false},
        GemmCase{"Tf32", {.bm = 64, .bn = 64, .bk = 32, .dtype = "f32", .dot = "{prec = tf32}"}, {{64, 64, 8}, {72, 40, 104}}},
        GemmCase{"LoopInALoop", {.bm = 64, .bn = 64, .repeats = 3}, {{64, 64, 64}, {64, 64, 136}, {64, 64, 448}}},
        GemmCase{"LoopInALoopByNumber",
                 {.bm = 64, .bn = 64, .more_params = kEnd, .trips_end = "%e", .repeats = 3},
                 {{64, 64, 128, 0}, {64, 64, 128, 64}, {64, 64, 320, 320}}}),
    [](const auto& info) { return info.param.what; });

TEST(WarpgroupGemms, NoTensorNoTrip) {
  // An axis of no elements has no map.
  const GemmForm form{.bm = 64, .bn = 64};
  const Compiled kernel = compiled(gemm_text(form));
  for (Way way : ways()) {
    way.options.maps = false;
    expect_gemm(form, kernel, {64, 64, 0}, way);
  }
}

TEST(WarpgroupGemms, RowsOfAnOddPitchHaveNoMap) {
  const GemmForm form{.bm = 64, .bn = 64};
  const Compiled kernel = compiled(gemm_text(form));
  std::map<std::string, Buffer> tensors = {{"a", Buffer(DType::BF16, {64, 100}).fill_integers(1, 3)},
                                           {"b", Buffer(DType::BF16, {64, 100}).fill_integers(2, 3)},
                                           {"c", Buffer(DType::F32, {64, 64}).fill(NAN)}};
  EXPECT_EQ(launch(kernel, tensors, {}, {}).bulk, 0);
  for (std::int64_t i = 0; i < 64 * 64; ++i) {
    double want = 0;
    for (std::int64_t k = 0; k < 100; ++k) want += tensors.at("a").get(i / 64 * 100 + k) * tensors.at("b").get(i % 64 * 100 + k);
    ASSERT_EQ(tensors.at("c").get(i), want) << i;
  }
}

}  // namespace
}  // namespace tessera::test
