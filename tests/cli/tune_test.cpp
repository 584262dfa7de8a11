// tune: which candidates may win, what is written, and what is said about the others.
#include <gmock/gmock.h>
#include <signal.h>

#include <set>

#include "tests/cli/command.h"

namespace tessera::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

/// What became of the candidate with this value of a constant: its reason, or "" if it was timed.
std::string dropped(const Result& r, const std::string& constant, const std::string& value) {
  llvm::json::Object j = r.json();
  const llvm::json::Array* all = j.getArray("candidates");
  for (std::size_t i = 0; all && i < all->size(); ++i) {
    const llvm::json::Object& c = *(*all)[i].getAsObject();
    if (c.getObject("constants")->getString(constant) != llvm::StringRef(value)) continue;
    EXPECT_NE(c.getNumber("median_s").has_value(), c.getString("dropped").has_value());
    return c.getString("dropped").value_or("").str();
  }
  ADD_FAILURE() << "no candidate " << constant << "=" << value << " in " << r.out << r.err;
  return "?";
}

class Tune : public Command {
 protected:
  void TearDown() override {
    ::setenv("TESSERA_CACHE", "off", 1);
    Command::TearDown();
  }
  /// With the fake driver in libcuda's place, on which nothing runs: a kernel that changes nothing is the only right one there.
  Result with_driver(const std::string& arguments) {
    ::setenv("LD_LIBRARY_PATH", TESSERA_FAKE_CUDA_FOLDER, 1);
    Result r = tessera(arguments);
    ::unsetenv("LD_LIBRARY_PATH");
    return r;
  }
};

TEST_F(Tune, TheWinnerIsFiledWhereRunFindsIt) {
  write("scale.tile", scale_source);
  write("scale.winners", "# by hand\nother cpu : BM=4\nscale cpu N=8 bucket(R)=64 : BM=4\n# end\n");
  const Result r = tessera("tune scale.tile --const N=8 --size R=50 --seconds 0 -o scale.winners --json");
  ASSERT_EQ(r.exit, 0) << r.out << r.err;
  llvm::json::Object j = r.json();
  const std::string bm = j.getObject("winner")->getString("BM").value_or("").str();
  EXPECT_EQ(dropped(r, "BM", "4"), "");
  EXPECT_EQ(dropped(r, "BM", "8"), "");
  // The line has the kernel's hash and the processor's name, so it is not the one that was there.
  const std::string line = j.getString("line").value_or("").str();
  EXPECT_THAT(line, ::testing::MatchesRegex("scale@[0-9a-f]+ cpu:[^ ]+ N=8 bucket\\(R\\)=64 : BM=" + bm));
  EXPECT_EQ(read("scale.winners"), "# by hand\nother cpu : BM=4\nscale cpu N=8 bucket(R)=64 : BM=4\n# end\n" + line + "\n");
  // Another key is another line.
  ASSERT_EQ(tessera("tune scale.tile --const N=16 --size R=50 --seconds 0 -o scale.winners").exit, 0);
  EXPECT_THAT(read("scale.winners"), HasSubstr(" N=16 bucket(R)=64 : BM="));
  Result bench = tessera("bench scale.tile --const N=8 --size R=50 --seconds 0 --json");
  EXPECT_EQ(bench.json().getObject("constants")->getString("BM"), llvm::StringRef(bm));
  EXPECT_EQ(files(), (std::vector<std::string>{"scale.tile", "scale.winners"}));
}

/// For each candidate in the order of the file: k known and not measured, K known but measured again, m measured, d dropped, - neither.
std::string states(const Result& r, const std::vector<std::string>& values) {
  std::string out;
  llvm::json::Object j = r.json();
  for (const std::string& bm : values) {
    for (const llvm::json::Value& v : *j.getArray("candidates")) {
      const llvm::json::Object& c = *v.getAsObject();
      if (c.getObject("constants")->getString("BM") != llvm::StringRef(bm)) continue;
      const bool known = c.getBoolean("known").value_or(false), launched = c.getInteger("launches").value_or(0) > 0;
      out += c.getString("dropped") ? 'd' : known && launched ? 'K' : known ? 'k' : launched ? 'm' : '-';
    }
  }
  return out;
}

TEST_F(Tune, WhatIsKnownIsNotMeasuredAgain) {
  write("scale.tile", scale_source);
  ::setenv("TESSERA_CACHE", path("cache").c_str(), 1);
  const auto known = [&](const std::string& more) {
    const Result r = tessera("tune scale.tile --size R=50 --seconds 0 --json " + more);
    EXPECT_EQ(r.exit, 0) << r.err;
    EXPECT_TRUE(r.json().getObject("winner"));
    return states(r, {"4", "8"});
  };
  EXPECT_EQ(known("--const N=8"), "mm");
  EXPECT_EQ(known("--const N=8"), "kk");
  EXPECT_EQ(known("--const N=16"), "mm");
  EXPECT_EQ(known("--const N=8 --arg a=2"), "mm") << "another scalar";
  EXPECT_EQ(known("--const N=8 --again"), "mm");
  // A changed kernel is another one, a line that is damaged no timing; what is left is known, and measured beside what is not.
  write("scale.tile", std::string(scale_source) + "// changed\n");
  EXPECT_EQ(known("--const N=8"), "mm");
  std::string log = read("cache/tune.log");
  const std::size_t lines = log.size();
  for (std::size_t at = log.rfind("BM=4"); at != std::string::npos && at > lines / 2; at = log.rfind("BM=4", at - 1))
    log.replace(at - 40, 6, " ? ? ? ");
  write("cache/tune.log", log);
  const std::string after = known("--const N=8");
  EXPECT_TRUE(after == "mK" || after == "mk") << after;
  EXPECT_EQ(tessera("cache verify").exit, 0);
  EXPECT_EQ(known("--const N=8"), "kk") << "no entry, so it stays";
  ::setenv("TESSERA_CACHE", "off", 1);
  EXPECT_EQ(known("--const N=8"), "mm");
}

TEST_F(Tune, CtrlCKeepsWhatIsKnownAndARerunMeasuresTheRest) {
  write("many.tile", R"(kernel many[BM: int](x: view f32[R, 64], y: out view f32[R, 64])
over (i in tiles(R, BM)) { y[i, :] = x[i, :] + 1.0; }
tune many { BM in 1 .. 33; }
)");
  ::setenv("TESSERA_CACHE", path("cache").c_str(), 1);
  const std::string arguments = "many.tile --size R=64 --seconds 3 --jobs 1";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::chdir(folder_.c_str()) != 0 || !std::freopen("/dev/null", "w", stdout) || !std::freopen("err", "w", stderr)) ::_exit(99);
    ::execl(TESSERA_COMMAND, "tessera", "tune", "many.tile", "--size", "R=64", "--seconds", "3", "--jobs", "1", nullptr);
    ::_exit(99);
  }
  // Each candidate takes a twentieth of a second in the first round. Interrupt it once two timings are there.
  const auto timings = [&] {
    const std::string log = exists("cache/tune.log") ? read("cache/tune.log") : "";
    return std::count(log.begin(), log.end(), '\n');
  };
  int status = 0;
  while (timings() < 2 && ::waitpid(child, &status, WNOHANG) == 0) ::usleep(1000);
  ::kill(child, SIGINT);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130) << read("err");
  EXPECT_THAT(read("err"), HasSubstr("interrupted; "));
  const auto before = timings();
  EXPECT_GE(before, 2);
  EXPECT_LT(before, 12) << "it went on";
  const auto kept = [&] {
    std::set<std::string> out;
    std::istringstream log(read("cache/tune.log"));
    for (std::string line; std::getline(log, line);) out.insert(line.substr(line.rfind(' ') + 1));
    return out;
  };
  const std::set<std::string> first = kept();
  const Result again = tessera("tune " + arguments + " --json");
  ASSERT_EQ(again.exit, 0) << again.err;
  llvm::json::Object j = again.json();
  std::size_t known = 0;
  for (const llvm::json::Value& v : *j.getArray("candidates")) {
    const llvm::json::Object& c = *v.getAsObject();
    const std::string text = "BM=" + c.getObject("constants")->getString("BM").value_or("").str();
    EXPECT_EQ(c.getBoolean("known").value_or(false), first.contains(text)) << text;
    known += first.contains(text);
  }
  EXPECT_EQ(known, first.size());
  EXPECT_TRUE(j.getObject("winner"));
}

TEST_F(Tune, ThePageNeedsNoNetwork) {
  write("scale.tile", scale_source);
  const Result r = tessera("tune scale.tile --const N=8 --size R=50 --seconds 0 --html page.html --rival 'a <rival>=1.5e-3' --json");
  ASSERT_EQ(r.exit, 0) << r.out << r.err;
  const std::string page = read("page.html");
  EXPECT_THAT(page, StartsWith("<!doctype html>"));
  for (const char* part : {"BM=4", "BM=8", "a &lt;rival&gt;", "1.500 ms", "<svg", "winner", "</html>"}) EXPECT_THAT(page, HasSubstr(part));
  for (const char* part : {"http:", "https:", "<script", "src=", "@import", "url("}) EXPECT_EQ(page.find(part), std::string::npos) << part;
  for (const char* bad : {"x", "x=", "=1", "x=-1", "x=1s", "x=nan"})
    EXPECT_EQ(tessera(fmt::format("tune scale.tile --const N=8 --size R=50 --seconds 0 --html p --rival {} --json", bad)).code(), "E0802") << bad;
  write("product.tile", R"(kernel p[BM: int](a: view f32[M, 64], b: view f32[64, 64], c: out view f32[M, 64])
over (i in tiles(M, BM)) { c[i, :] = a[i, :] @ b[:, :]; }
tune p { BM in {16, 32}; }
)");
  ASSERT_EQ(tessera("tune product.tile --size M=64 --seconds 0 --html page.html").exit, 0);
  EXPECT_THAT(read("page.html"), HasSubstr("Under the roofline"));
}

TEST_F(Tune, ScheduleOptionsAreCandidatesToo) {
  write("ring.tile", R"(kernel p[BM: int](a: view f16[M, K], b: view f16[K, N], c: out view f16[M, N])
over (j in tiles(N, 64), i in tiles(M, BM))
{
    var acc = fill(0.0, f32[BM, 64]);
    for k in tiles(K, 64) {
        let at = a[i, k];
        let bt = b[k, j];
        acc += at @ bt;
    }
    c[i, j] = f16(acc);
}
tune p { BM in {64, 128}; stages in {2, 3}; }
schedule p on sm90 { ring at: stages, bt: stages; }
)");
  const Result r = with_driver("tune ring.tile --size M=64,K=128,N=64 --target cuda --seconds 0 --json");
  llvm::json::Object j = r.json();
  ASSERT_TRUE(j.getArray("candidates")) << r.out << r.err;
  EXPECT_EQ(j.getArray("candidates")->size(), 4u);
  const auto ptx = [&](const char* n) { return tessera(fmt::format("compile ring.tile --const BM=64 stages={} --target sm_90a --emit ptx", n)).out; };
  EXPECT_NE(ptx("2"), ptx("3")) << "the schedule sees the constant";
}

TEST_F(Tune, AWrongCandidateDoesNotWin) {
  write("wrong.tile", R"(kernel k[BM: int](x: view f32[R, 8], y: out view f32[R, 8])
over (i in tiles(R, BM))
{
    y[i, :] = x[i, :] * f32(BM / 8);
}
tune k { BM in {8, 9, 16}; }
)");
  const Result r = tessera("tune wrong.tile --size R=40 --seconds 0 --json");
  ASSERT_EQ(r.exit, 0) << r.out << r.err;
  EXPECT_EQ(dropped(r, "BM", "8"), "");
  EXPECT_EQ(dropped(r, "BM", "9"), "");
  EXPECT_THAT(dropped(r, "BM", "16"), StartsWith("wrong: `y`: element"));
  EXPECT_EQ(r.json().getString("checked"), llvm::StringRef("the interpreter"));
}

TEST_F(Tune, ALargeShapeIsComparedInParts) {
  write("wrong.tile", R"(kernel k[BM: int](x: view f32[R, 64], y: out view f32[R, 64])
over (i in tiles(R, BM))
{
    y[i, :] = x[i, :] + f32(R / 40000) * f32(BM);
}
tune k { BM in {8, 16}; }
)");
  // 20 MB: the interpreter takes a smaller shape, where the candidates agree.
  const Result r = tessera("tune wrong.tile --size R=40000 --seconds 0 --json");
  ASSERT_EQ(r.exit, 0) << r.out << r.err;
  EXPECT_EQ(dropped(r, "BM", "8"), "");
  EXPECT_THAT(dropped(r, "BM", "16"), StartsWith("unlike the first candidate: `y`"));
  EXPECT_THAT(r.json().getString("checked").value_or("").str(), HasSubstr("the interpreter at R="));
}

TEST_F(Tune, ACandidateWithoutASmallerLaunchIsComparedAtTheFullShape) {
  write("whole.tile", R"(kernel k[BM: int](x: view f32[R, 64], y: out view f32[R, 64])
where R % BM == 0
over (i in tiles(R, BM))
{
    y[i, :] = x[i, :] + 1.0;
}
tune k { BM in {8, 64}; }
)");
  // A sixteenth of the rows, which the interpreter takes, is no number of whole tiles of 64.
  const Result r = tessera("tune whole.tile --size R=16512 --seconds 0 --json");
  ASSERT_EQ(r.exit, 0) << r.out << r.err;
  EXPECT_EQ(dropped(r, "BM", "8"), "");
  EXPECT_EQ(dropped(r, "BM", "64"), "");
  EXPECT_THAT(r.json().getString("checked").value_or("").str(), HasSubstr("the interpreter at R=1032"));
}

TEST_F(Tune, WhatAKernelReadsAndWritesIsSetBackBetweenCandidates) {
  write("acc.tile", R"(kernel acc[BM: int](x: view f32[R, 8], s: inout view f32[R, 8])
over (i in tiles(R, BM))
{
    s[i, :] = s[i, :] + x[i, :];
}
tune acc { BM in {4, 8, 16}; }
)");
  const Result r = tessera("tune acc.tile --size R=40 --seconds 0.01 --json");
  ASSERT_EQ(r.exit, 0) << r.out << r.err;
  for (const char* bm : {"4", "8", "16"}) EXPECT_EQ(dropped(r, "BM", bm), "");
}

TEST_F(Tune, TargetsWithoutATimeAreRefused) {
  write("scale.tile", scale_source);
  for (const char* target : {"interp", "interp:exact", "simt:sm_80", "sm_90a"}) {
    const Result r = tessera(fmt::format("tune scale.tile --const N=8 --size R=5 --target {} -o w", target));
    EXPECT_EQ(r.exit, 2) << target;
    EXPECT_THAT(r.err, HasSubstr("tune for cpu, cuda or cuda:N"));
    EXPECT_FALSE(exists("w"));
  }
}

TEST_F(Tune, NothingToChooseAndBadInputsAreErrors) {
  write("scale.tile", scale_source);
  EXPECT_EQ(tessera("tune scale.tile --const N=8 BM=4 --size R=5 -o w --json").code(), "E0802");
  EXPECT_EQ(tessera("tune scale.tile --size R=5 -o w --json").code(), "E0510");
  EXPECT_EQ(tessera("tune scale.tile --const N=65 --size R=5 -o w --json").code(), "E0509");
  EXPECT_EQ(tessera("tune scale.tile --const N=8 -o w --json").code(), "E0708");
  EXPECT_EQ(tessera("tune scale.tile --const N=8 --size R=5 --in none.safetensors -o w --json").exit, 3);
  EXPECT_EQ(tessera("tune scale.tile --const N=8 --size R=5 --seconds 0 -o no/such/folder/w").exit, 3);
  write("w", "scale cpu : :\n");
  EXPECT_EQ(tessera("tune scale.tile --const N=8 --size R=5 --seconds 0 -o w --json").code(), "E0802");
  EXPECT_EQ(read("w"), "scale cpu : :\n");
}

TEST_F(Tune, OnAGpuWhereNothingRunsNothingWins) {
  write("scale.tile", scale_source);
  const Result r = with_driver("tune scale.tile --const N=8 --size R=50 --target cuda --seconds 0 -o w");
  EXPECT_EQ(r.exit, 1) << r.out;
  EXPECT_THAT(r.out, HasSubstr("dropped: wrong: `y`: element 0 is nan"));
  EXPECT_THAT(r.err, HasSubstr("no candidate of `scale` is left"));
  EXPECT_FALSE(exists("w"));
  EXPECT_THAT(dropped(with_driver("tune scale.tile --const N=8 --size R=50 --target cuda --seconds 0 --json"), "BM", "4"), StartsWith("wrong"));
}

constexpr const char* unchanged = R"(kernel k[BM: int](a: view f32[R, 256], c: inout view f32[R, 256])
over (i in tiles(R, BM))
{
    let t = a[i, :];
    c[i, :] = c[i, :] + (t @ t.T @ t) * 0.0;
}
tune k { BM in {16, 32, 1024}; }
)";

TEST_F(Tune, BudgetsDropCandidatesOnAGpu) {
  write("k.tile", unchanged);
  const Result r = with_driver("tune k.tile --size R=50 --target cuda --seconds 0 -o w --json");
  ASSERT_EQ(r.exit, 0) << r.out << r.err;
  EXPECT_EQ(dropped(r, "BM", "16"), "");
  EXPECT_THAT(dropped(r, "BM", "1024"), StartsWith("E06"));
  EXPECT_EQ(r.json().getString("checked"), llvm::StringRef("the CPU"));
  EXPECT_THAT(read("w"), HasSubstr(" sm_90a : BM="));
}

TEST_F(Tune, SpillsDropCandidatesUnlessNothingElseIsLeft) {
  write("k.tile", unchanged);
  ::setenv("FAKE_CUDA_SPILLS", "1", 1);  // the first kernel that is loaded
  Result r = with_driver("tune k.tile --size R=50 --target cuda --seconds 0 --jobs 1 --json");
  EXPECT_EQ(r.exit, 0) << r.out << r.err;
  const bool first_is_16 = !dropped(r, "BM", "16").empty();  // the estimate says which is first
  EXPECT_THAT(dropped(r, "BM", first_is_16 ? "16" : "32"), HasSubstr("64 bytes of local memory a thread"));
  EXPECT_EQ(r.json().getObject("winner")->getString("BM"), llvm::StringRef(first_is_16 ? "32" : "16"));
  ::setenv("FAKE_CUDA_SPILLS", "1000", 1);
  r = with_driver("tune k.tile --size R=50 --target cuda --seconds 0 --json");
  ::unsetenv("FAKE_CUDA_SPILLS");
  EXPECT_EQ(r.exit, 0) << r.out << r.err;
  EXPECT_EQ(dropped(r, "BM", "16"), "");
}

}  // namespace
}  // namespace tessera::test
