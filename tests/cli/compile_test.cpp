// compile, opt, header.
#include "tests/cli/command.h"

namespace tessera::test {
namespace {

class Compile : public Command {
 protected:
  void SetUp() override {
    Command::SetUp();
    write("scale.tile", scale_source);
  }
};

TEST_F(Compile, EmitsEveryStage) {
  for (const char* emit : {"ast", "ir", "llvm", "asm"}) {
    const Result r = tessera(fmt::format("compile scale.tile --kernel scale --const N=8 --target cpu --emit {}", emit));
    EXPECT_EQ(r.exit, 0) << emit << r.err;
    EXPECT_FALSE(r.out.empty()) << emit;
    const Result to_file = tessera(fmt::format("compile scale.tile --const N=8 --emit {} -o product", emit));
    EXPECT_EQ(to_file.exit, 0) << emit << to_file.err;
    EXPECT_EQ(read("product"), r.out) << emit;
    EXPECT_TRUE(to_file.out.empty());
  }
  for (const char* emit : {"ptx", "sass"}) EXPECT_EQ(tessera(fmt::format("compile scale.tile --const N=8 --emit {} --json", emit)).code(), "E0804");
  EXPECT_EQ(tessera("compile scale.tile --const N=8 --emit asm --target interp --json").code(), "E0804");
  EXPECT_EQ(tessera("compile scale.tile --const N=8 --target nowhere --json").code(), "E0802");
  EXPECT_EQ(tessera("compile scale.tile --const N=8 -o no/such/folder").exit, 3);
}

TEST_F(Compile, PassesArePrintedAndTimed) {
  for (const std::string what : {"--emit ir", "--emit asm", "--target sm_80 --emit llvm", "--target sm_80 --emit ptx"}) {
    SCOPED_TRACE(what);
    const Result r = tessera("compile scale.tile --const N=8 --print-after=lower,coverage --time-passes " + what);
    EXPECT_EQ(r.exit, 0) << r.err;
    EXPECT_NE(r.err.find("// after lower"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("// after coverage"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("fold"), std::string::npos);
    EXPECT_NE(r.err.find(" ms"), std::string::npos);
    EXPECT_EQ(r.err.find("ptx  ") != std::string::npos, what.ends_with("ptx")) << r.err;
  }
}

TEST_F(Compile, OptRunsNamedPasses) {
  ASSERT_EQ(tessera("compile scale.tile --const N=8 --emit ir -o scale.ir").exit, 0);
  const Result same = tessera("opt scale.ir");
  EXPECT_EQ(same.exit, 0) << same.err;
  EXPECT_EQ(same.out, read("scale.ir"));
  const Result folded = tessera("opt --pass=fold --pass=pad_states,fold scale.ir");
  EXPECT_EQ(folded.exit, 0) << folded.err;
  EXPECT_FALSE(folded.out.empty());
  EXPECT_EQ(tessera("opt --pass=flod scale.ir --json").code(), "E0802");
  write("bad.ir", read("scale.ir").substr(0, 60));
  EXPECT_EQ(tessera("opt --pass=fold bad.ir").exit, 1);
  EXPECT_NE(tessera("opt --list").out.find("fold\n"), std::string::npos);
}

TEST_F(Compile, HeaderCompilesAsCpp) {
  write("many.tile", R"(type Lse = f32;
struct Extra { bias: view f32[N], gain: f32 }
kernel many[T: half, D: int, CAUSAL: bool = false](q: view T[M, D], o: out view T[M, D], lse: out view Lse[M] ?, n: add view i32[M], e: Extra, left: idx)
over (i in M)
{
    o[i, :] = q[i, :];
    if has(lse) { lse[i] = Lse(e.gain); }
    n[i] += 1;
}
)");
  const Result r = tessera("header many.tile -o many.h");
  ASSERT_EQ(r.exit, 0) << r.err;
  write("use.cpp", R"(#include "many.h"
void use(const tessera::Context& ctx, tessera::View<tessera::bf16, 2> x, tessera::View<std::int32_t, 1> n, tessera::View<const float, 1> bias) {
  const many::many<tessera::bf16> kernel(many::load(), {.D = 64, .CAUSAL = true});
  kernel(ctx, {.q = x, .o = x, .n = n, .e_bias = bias, .e_gain = 2.0f, .left = 3});
  static_assert(std::is_same_v<decltype(many::many<tessera::f16>::Args::lse), std::optional<tessera::Out<many::Lse, 1>>>);
}
)");
  const std::string compile =
      fmt::format("g++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I {}/runtime/include {} 2>&1", TESSERA_SOURCE_DIR, path("use.cpp"));
  EXPECT_EQ(std::system(compile.c_str()), 0) << read("many.h");
  EXPECT_EQ(tessera("header many.tile").out, read("many.h"));
}

}  // namespace
}  // namespace tessera::test
