// check, fmt, explain, ops, targets, --version, usage.
#include "dsl/diagnostic.h"
#include "dsl/ir.h"
#include "tests/cli/command.h"

namespace tessera::test {
namespace {

TEST_F(Command, VersionAndHelp) {
  EXPECT_EQ(tessera("--version").exit, 0);
  EXPECT_NE(tessera("--version").out.find("tessera 0."), std::string::npos);
  EXPECT_EQ(tessera("--help").exit, 0);
  for (const char* c : {"check", "fmt", "explain", "ops", "targets", "header", "opt", "compile", "run", "bench"}) {
    const Result r = tessera(fmt::format("{} --help", c));
    EXPECT_EQ(r.exit, 0) << c;
    EXPECT_NE(r.out.find("--json"), std::string::npos) << c;
  }
}

TEST_F(Command, UsageErrorsAreTwo) {
  for (const char* line : {"", "nonsense", "check", "check --no-such-option a", "explain", "run", "run a.tile --threads 0", "run a.tile --threads x",
                           "run a.tile --const N", "run a.tile --const =3", "compile a.tile --emit pdf", "opt"}) {
    const Result r = tessera(line);
    EXPECT_EQ(r.exit, 2) << line;
    EXPECT_FALSE(r.err.empty()) << line;
    EXPECT_TRUE(r.out.empty()) << line;
    if (*line == 0) continue;
    const Result j = tessera(fmt::format("{} --json", line));
    EXPECT_EQ(j.exit, 2) << line;
    EXPECT_EQ(j.code(), "usage") << line;
    EXPECT_TRUE(j.err.empty()) << line;
  }
}

TEST_F(Command, CheckReportsEveryFile) {
  write("good.tile", scale_source);
  write("bad.tile", "kernel k[N: int](x: view f32[N], y: out view f32[N])\nover (i in N)\n{\n    y[i] = z[i];\n}\n");
  const Result good = tessera("check good.tile");
  EXPECT_EQ(good.exit, 0) << good.err;
  EXPECT_EQ(good.out, "good.tile: ok, 1 kernel\n");
  const Result both = tessera("check bad.tile good.tile");
  EXPECT_EQ(both.exit, 1);
  EXPECT_EQ(both.out, "good.tile: ok, 1 kernel\n");
  EXPECT_NE(both.err.find("bad.tile:4:12: error[E0401]"), std::string::npos) << both.err;
  const Result json = tessera("check bad.tile good.tile --json");
  EXPECT_EQ(json.exit, 1);
  EXPECT_TRUE(json.err.empty());
  EXPECT_EQ(json.code(), "E0401");
  EXPECT_EQ(json.json().getArray("files")->size(), 2u);
  EXPECT_EQ(tessera("check good.tile --json").json().getBoolean("ok"), std::optional<bool>(true));
}

TEST_F(Command, UnreadableFilesAreThree) {
  for (const char* line :
       {"check none.tile", "fmt none.tile", "run none.tile", "compile none.tile", "header none.tile", "bench none.tile", "opt none.ir", "check /"}) {
    const Result r = tessera(line);
    EXPECT_EQ(r.exit, 3) << line << r.err;
    EXPECT_EQ(tessera(fmt::format("{} --json", line)).code(), "machine") << line;
  }
}

TEST_F(Command, FmtIsIdempotentAndChecks) {
  write("a.tile", "kernel   k(x: view f32[R,8],y: out view f32[R,8])over(i in R){y[i,:]=x[i,:];} // tail\n");
  EXPECT_EQ(tessera("fmt --check a.tile").exit, 1);
  const std::string before = read("a.tile");
  EXPECT_EQ(tessera("fmt a.tile").exit, 0);
  EXPECT_NE(read("a.tile"), before);
  EXPECT_NE(read("a.tile").find("// tail"), std::string::npos);
  const std::string once = read("a.tile");
  EXPECT_EQ(tessera("fmt a.tile").exit, 0);
  EXPECT_EQ(read("a.tile"), once);
  EXPECT_EQ(tessera("fmt --check a.tile").exit, 0);
  write("bad.tile", "kernel (");
  EXPECT_EQ(tessera("fmt bad.tile").exit, 1);
  EXPECT_EQ(read("bad.tile"), "kernel (");
}

TEST_F(Command, ExplainKnowsEveryCode) {
  for (Code c : all_codes()) {
    const Result r = tessera(fmt::format("explain {}", info(c).name));
    EXPECT_EQ(r.exit, 0);
    EXPECT_NE(r.out.find(info(c).explanation), std::string::npos) << info(c).name;
  }
  EXPECT_EQ(tessera("explain E9999").exit, 1);
  EXPECT_EQ(tessera("explain E0203 --json").json().getString("code"), llvm::StringRef("E0203"));
}

TEST_F(Command, OpsAndTargetsAreListed) {
  const Result ops = tessera("ops");
  EXPECT_EQ(ops.exit, 0);
  for (ir::OpKind k : ir::all_ops()) EXPECT_NE(ops.out.find(ir::info(k).name), std::string::npos);
  EXPECT_EQ(tessera("ops --json").json().getArray("ops")->size(), ir::all_ops().size());
  const Result targets = tessera("targets --json");
  EXPECT_EQ(targets.exit, 0);
  for (const char* name : {"\"cpu\"", "\"interp\"", "\"interp:exact\"", "\"cuda\"", "\"simt:sm_NN\""})
    EXPECT_NE(targets.out.find(name), std::string::npos) << name;
  EXPECT_TRUE(targets.json().getArray("gpus")) << "an empty list where there is none";
}

}  // namespace
}  // namespace tessera::test
