// run: tensors in, tensors out, and everything that can be wrong with either.
#include "tests/cli/command.h"

namespace tessera::test {
namespace {

class Run : public Command {
 protected:
  void SetUp() override {
    Command::SetUp();
    write("scale.tile", scale_source);
    write_safetensors(path("in.safetensors"), {data("x", ElementType::F32, {3, 2}, x_)});
  }
  const std::vector<float> x_{1, 2, 3, 4, 5, 6};
};

TEST_F(Run, ComputesOnEveryTarget) {
  for (const char* target : {"cpu", "interp", "interp:exact", "simt:sm_75", "simt:sm_90a"}) {
    const Result r = tessera(fmt::format(
        "run scale.tile --kernel scale --const N=2 --target {} --threads 2 --in in.safetensors --arg a=0.5 --out out.safetensors", target));
    EXPECT_EQ(r.exit, 0) << r.err;
    EXPECT_EQ(tensor<float>("out.safetensors", "y"), (std::vector<float>{.5, 1, 1.5, 2, 2.5, 3})) << target;
    std::filesystem::remove(path("out.safetensors"));
  }
}

TEST_F(Run, JsonSaysWhatWasRun) {
  const Result r = tessera("run scale.tile --const N=2 BM=4 --target interp --in in.safetensors --arg a=1 --out o --time --json");
  EXPECT_EQ(r.exit, 0) << r.err;
  EXPECT_TRUE(r.err.empty());
  llvm::json::Object j = r.json();
  EXPECT_EQ(j.getString("command"), llvm::StringRef("run"));
  EXPECT_EQ(j.getString("kernel"), llvm::StringRef("scale"));
  EXPECT_EQ(j.getObject("constants")->getString("BM"), llvm::StringRef("4"));
  EXPECT_EQ(j.getObject("outputs")->getObject("y")->getArray("shape")->size(), 2u);
  EXPECT_GT(*j.getNumber("median_s"), 0);
}

TEST_F(Run, TunedConstantsComeFromTheWinnersOrTheFirstCandidate) {
  const auto bm = [&](const std::string& extra) {
    Result r = tessera("run scale.tile --const N=2 --target interp --in in.safetensors --arg a=1 --json " + extra);
    EXPECT_EQ(r.exit, 0) << r.out;
    return r.json().getObject("constants")->getString("BM").value_or("").str();
  };
  EXPECT_EQ(bm(""), "4");
  EXPECT_EQ(bm("--const BM=8"), "8");
  write("scale.winners", "# tuned\nscale interp N=2 : BM=8\nscale interp N=3 : BM=4\n");
  EXPECT_EQ(bm(""), "8");
  write("other", "scale cpu N=2 : BM=8\n");
  EXPECT_EQ(bm("--winners other"), "4");
  write("scale.winners", "scale interp N=2 BM=8\n");
  EXPECT_EQ(tessera("run scale.tile --const N=2 --target interp --in in.safetensors --arg a=1 --json").code(), "E0802");
}

struct Bad {
  const char* arguments;
  int exit;
  const char* code;
};

TEST_F(Run, BadInputGivesAClearErrorAndNoFile) {
  const std::string whole = read("in.safetensors");
  write("cut.safetensors", whole.substr(0, whole.size() - 3));
  write("garbage.safetensors", "{}");
  const std::vector<double> wide(6);
  write_safetensors(path("wide.safetensors"), {data("x", ElementType::F64, {3, 2}, wide)});
  write_safetensors(path("flat.safetensors"), {data("x", ElementType::F32, {6}, x_)});
  write_safetensors(path("wrong.safetensors"), {data("x", ElementType::F32, {2, 3}, x_)});
  write_safetensors(path("other.safetensors"), {data("xs", ElementType::F32, {3, 2}, x_)});
  const std::vector<Bad> cases{
      {"--kernel scal --const N=2 --in in.safetensors --arg a=1", 1, "E0519"},
      {"--in in.safetensors --arg a=1", 1, "E0510"},
      {"--const N=2 --const M=1 --in in.safetensors --arg a=1", 1, "E0511"},
      {"--const N=2 --const N=3 --in in.safetensors --arg a=1", 1, "E0802"},
      {"--const N=nan --in in.safetensors --arg a=1", 1, "E0802"},
      {"--const N=2.5 --in in.safetensors --arg a=1", 1, "E0802"},
      {"--const N=99999999999999999999 --in in.safetensors --arg a=1", 1, "E0802"},
      {"--const N=bf16 --in in.safetensors --arg a=1", 1, "E0312"},
      {"--const N=65 --in in.safetensors --arg a=1", 1, "E0509"},
      {"--const N=2 --in in.safetensors", 1, "E0708"},
      {"--const N=2 --in in.safetensors --arg a=abc", 1, "E0802"},
      {"--const N=2 --in in.safetensors --arg a=nan", 1, "E0802"},
      {"--const N=2 --in in.safetensors --arg a=1e60", 1, "E0712"},
      {"--const N=2 --in in.safetensors --arg a=1 --arg b=1", 1, "E0709"},
      {"--const N=2 --in in.safetensors --arg a=1 --arg x=1", 1, "E0709"},
      {"--const N=2 --arg a=1", 1, "E0708"},
      {"--const N=2 --in other.safetensors --arg a=1", 1, "E0708"},
      {"--const N=2 --in wide.safetensors --arg a=1", 1, "E0702"},
      {"--const N=2 --in flat.safetensors --arg a=1", 1, "E0703"},
      {"--const N=2 --in wrong.safetensors --arg a=1", 1, "E0704"},
      {"--const N=2 --in in.safetensors --arg a=1 --shape y=2,2", 1, "E0704"},
      {"--const N=2 --in in.safetensors --arg a=1 --shape y=3", 1, "E0703"},
      {"--const N=2 --in in.safetensors --arg a=1 --shape y=3,-2", 1, "E0802"},
      {"--const N=2 --in in.safetensors --arg a=1 --shape z=3,2", 1, "E0709"},
      {"--const N=2 --in in.safetensors --arg a=1 --without y", 1, "E0708"},
      {"--const N=2 --in cut.safetensors --arg a=1", 1, "E0801"},
      {"--const N=2 --in garbage.safetensors --arg a=1", 1, "E0801"},
      {"--const N=2 --in none.safetensors --arg a=1", 3, "machine"},
      {"--const N=2 --in in.safetensors --arg a=1 --winners none", 3, "machine"},
      {"--const N=2 --in in.safetensors --arg a=1 --target tpu", 1, "E0802"},
  };
  const std::vector<std::string> before = files();
  for (const Bad& b : cases) {
    const std::string target = std::string(b.arguments).find("--target") == std::string::npos ? "--target interp" : "";
    const Result r = tessera(fmt::format("run scale.tile {} {} --out out.safetensors", b.arguments, target));
    EXPECT_EQ(r.exit, b.exit) << b.arguments << "\n" << r.err;
    EXPECT_TRUE(r.out.empty()) << r.out;
    EXPECT_NE(r.err.find("error"), std::string::npos) << b.arguments;
    EXPECT_EQ(tessera(fmt::format("run scale.tile {} {} --out out.safetensors --json", b.arguments, target)).code(), b.code) << b.arguments;
    EXPECT_EQ(files(), before) << b.arguments;
  }
}

TEST_F(Run, AnUnwritableResultIsTheMachines) {
  const Result r = tessera("run scale.tile --const N=2 --target interp --in in.safetensors --arg a=1 --out no/such/folder/out.safetensors");
  EXPECT_EQ(r.exit, 3) << r.err;
}

TEST_F(Run, AnOldResultSurvivesAFailure) {
  write("out.safetensors", "old");
  EXPECT_EQ(tessera("run scale.tile --const N=2 --target interp --in in.safetensors --arg a=x --out out.safetensors").exit, 1);
  EXPECT_EQ(read("out.safetensors"), "old");
}

TEST_F(Run, InoutAndAddComeFromTheFileAndGoToTheResult) {
  write("acc.tile", R"(kernel acc(x: view f32[R, 4], s: inout view f32[R, 4], n: add view i32[R])
over (i in R)
{
    s[i, :] = s[i, :] + x[i, :];
    n[i] += 2;
}
)");
  const std::vector<float> x(8, 1.0f), s{1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<std::int32_t> n{10, 20};
  write_safetensors(path("acc.safetensors"),
                    {data("x", ElementType::F32, {2, 4}, x), data("s", ElementType::F32, {2, 4}, s), data("n", ElementType::I32, {2}, n)});
  for (const char* time : {"", "--time"}) {
    const Result r = tessera(fmt::format("run acc.tile --target interp --in acc.safetensors --out out.safetensors {}", time));
    EXPECT_EQ(r.exit, 0) << r.err;
    EXPECT_EQ(tensor<float>("out.safetensors", "s"), (std::vector<float>{2, 3, 4, 5, 6, 7, 8, 9})) << time;
    EXPECT_EQ(tensor<std::int32_t>("out.safetensors", "n"), (std::vector<std::int32_t>{12, 22})) << time;
  }
}

TEST_F(Run, OptionalViewsAndStructFields) {
  write("opt.tile", R"(struct Extra { bias: view f32[4], gain: f32 }
kernel opt(x: view f32[R, 4], w: view f32[4] ?, y: out view f32[R, 4], z: out view f32[R] ?, e: Extra)
over (i in R)
{
    var t = x[i, :] * e.gain + e.bias[:];
    if has(w) { t = t * w[:]; }
    y[i, :] = t;
    if has(z) { z[i] = sum(t, axis: 0); }
}
)");
  const std::vector<float> x{1, 2, 3, 4}, w{2, 2, 2, 2}, bias{1, 1, 1, 1};
  write_safetensors(path("plain.safetensors"), {data("x", ElementType::F32, {1, 4}, x), data("e.bias", ElementType::F32, {4}, bias)});
  write_safetensors(path("full.safetensors"),
                    {data("x", ElementType::F32, {1, 4}, x), data("w", ElementType::F32, {4}, w), data("e.bias", ElementType::F32, {4}, bias)});
  Result r = tessera("run opt.tile --target interp --in plain.safetensors --arg e.gain=10 --out out.safetensors");
  EXPECT_EQ(r.exit, 0) << r.err;
  EXPECT_EQ(tensor<float>("out.safetensors", "y"), (std::vector<float>{11, 21, 31, 41}));
  EXPECT_EQ(tensor<float>("out.safetensors", "z"), (std::vector<float>{104}));
  r = tessera("run opt.tile --target interp --in full.safetensors --arg e.gain=10 --without z --out out.safetensors");
  EXPECT_EQ(r.exit, 0) << r.err;
  EXPECT_EQ(tensor<float>("out.safetensors", "y"), (std::vector<float>{22, 42, 62, 82}));
  EXPECT_TRUE(tensor<float>("out.safetensors", "z").empty());
}

TEST_F(Run, FailedAssertionsAreReported) {
  write("assert.tile", R"(kernel a(x: view f32[R, 4], y: out view f32[R, 4])
over (i in R)
{
    let t = x[i, :];
    assert all(t > 0.0, axis: 0), "positive";
    y[i, :] = t;
}
)");
  const std::vector<float> x{1, 2, 3, 4, -1, 2, 3, 4};
  write_safetensors(path("a.safetensors"), {data("x", ElementType::F32, {2, 4}, x)});
  const Result r = tessera("run assert.tile --target interp --in a.safetensors --out out.safetensors --json");
  EXPECT_EQ(r.exit, 1) << r.out;
  EXPECT_EQ(r.code(), "E0805");
  EXPECT_FALSE(exists("out.safetensors"));
}

TEST_F(Run, FaultsOnTheSimulatedGpuAreReported) {
  write("scatter.tile", R"(kernel s(x: view f32[R, 4], ids: view i32[R], y: scatter view f32[N, 4])
over (i in R)
{
    let k = ids[i];
    claim unique(k) "ids name rows once";
    y[k, :] = x[i, :];
}
)");
  const std::vector<float> x(12, 1), y(20);
  const auto run = [&](std::vector<std::int32_t> ids) {
    write_safetensors(path("s.safetensors"),
                      {data("x", ElementType::F32, {3, 4}, x), data("ids", ElementType::I32, {3}, ids), data("y", ElementType::F32, {5, 4}, y)});
    return tessera("run scatter.tile --target simt:sm_80 --seed 7 --in s.safetensors --out out.safetensors --json");
  };
  EXPECT_EQ(run({4, 0, 2}).exit, 0);
  const Result r = run({4, 2, 4});
  EXPECT_EQ(r.exit, 1) << r.out;
  EXPECT_EQ(r.code(), "E0806");
  EXPECT_NE(r.out.find("double write on simt:sm_80, seed 7"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("`y`"), std::string::npos) << r.out;
}

TEST_F(Run, BenchMakesUpOptionalInputsOnRequest) {
  write("res.tile", R"(kernel res(x: view f32[R, 4], r: inout view f32[R, 4] ?, y: out view f32[R, 4])
over (i in R)
{
    var t = x[i, :];
    if has(r) { t = t + r[i, :]; r[i, :] = t; }
    y[i, :] = t;
}
)");
  const auto bytes = [&](const std::string& extra) {
    Result r = tessera("bench res.tile --size R=10 --seconds 0 --json " + extra);
    EXPECT_EQ(r.exit, 0) << r.out;
    return r.json().getInteger("bytes").value_or(0);
  };
  EXPECT_EQ(bytes(""), 2 * 160);
  EXPECT_EQ(bytes("--with r"), 4 * 160);
  EXPECT_EQ(tessera("bench res.tile --size R=10 --with y --json").code(), "E0708");
  EXPECT_EQ(tessera("bench res.tile --size R=10 --with r --without r --json").code(), "E0802");
}

TEST_F(Run, BenchCountsWork) {
  write("gemm.tile", R"(kernel gemm[BM: int = 16, BN: int = 16, BK: int = 16](a: view f32[M, K], b: view f32[K, N], c: out view f32[M, N])
over (i in tiles(M, BM), j in tiles(N, BN))
{
    var acc = fill(0.0, f32[BM, BN]);
    for k in tiles(K, BK) { acc += a[i, k] @ b[k, j]; }
    c[i, j] = acc;
}
)");
  const Result r = tessera("bench gemm.tile --kernel gemm --size M=32,N=48 --size K=64 --target interp --seconds 0 --json");
  EXPECT_EQ(r.exit, 0) << r.out;
  llvm::json::Object j = r.json();
  EXPECT_EQ(*j.getNumber("flops"), 2.0 * 32 * 48 * 64);
  EXPECT_EQ(*j.getInteger("bytes"), 4 * (32 * 64 + 64 * 48 + 32 * 48));
  EXPECT_GT(*j.getNumber("flops_per_s"), 0);
  EXPECT_EQ(tessera("bench gemm.tile --size M=32,N=48 --target interp --json").code(), "E0708");
  EXPECT_EQ(tessera("bench gemm.tile --size M=32,N=48,K=64,L=1 --target interp --json").code(), "E0802");
  EXPECT_EQ(tessera("bench gemm.tile --size M=x --target interp --json").code(), "E0802");
}

}  // namespace
}  // namespace tessera::test
