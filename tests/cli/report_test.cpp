// What an error means to a script.
#include "runtime/cli/report.h"

#include <filesystem>
#include <fstream>

#include "runtime/errors.h"
#include "tests/cli/command.h"

namespace tessera::test {
namespace {

template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "no error";
  return machine_error("");
}

TEST(Report, EveryKindHasItsExitCode) {
  EXPECT_EQ(cli::exit_code_of(user_error(Code::E0704, "x")), 1);
  EXPECT_EQ(cli::exit_code_of(error_of([] { guarded([] { throw MachineError("x"); }); })), 3);
  EXPECT_EQ(cli::exit_code_of(error_of([] { guarded([] { throw std::bad_alloc(); }); })), 3);
  EXPECT_EQ(cli::exit_code_of(error_of([] { guarded([] { TESSERA_UNREACHABLE("x"); }); })), 70);
  EXPECT_EQ(cli::exit_code_of(error_of([] { guarded([] { throw std::out_of_range("x"); }); })), 70);
}

TEST(Report, InternalErrorsSaySoAndLeaveARepro) {
  const Error e = error_of([] { guarded([] { TESSERA_UNREACHABLE("a broken invariant"); }, [] { return std::string("kernel text"); }); });
  EXPECT_EQ(e.code(), "internal");
  EXPECT_NE(e.message().find("internal error"), std::string::npos);
  EXPECT_NE(e.message().find("a broken invariant"), std::string::npos);
  const std::size_t at = e.message().find("/tessera-repro-");
  ASSERT_NE(at, std::string::npos) << e.message();
  const std::size_t begin = e.message().rfind(' ', at) + 1;
  const std::string file = e.message().substr(begin);
  ASSERT_TRUE(file.ends_with(".ir")) << file;
  std::ifstream in(file);
  std::string text;
  std::getline(in, text);
  EXPECT_EQ(text, "kernel text");
  std::filesystem::remove(file);
}

TEST(Report, ReproIsOptional) {
  const Error e = error_of([] { guarded([] { TESSERA_UNREACHABLE("x"); }, []() -> std::string { throw std::runtime_error("second fault"); }); });
  EXPECT_EQ(e.kind(), Error::Kind::Internal);
  EXPECT_EQ(e.message().find("second fault"), std::string::npos);
}

TEST(Report, JsonIsValidForAnyText) {
  const Error e = machine_error("quote \" backslash \\ newline \n control \x01 end");
  EXPECT_EQ(cli::errors_of(e).size(), 1u);
  EXPECT_EQ(cli::errors_of(e)[0].getAsObject()->getString("message"), llvm::StringRef(e.message()));
}

}  // namespace
}  // namespace tessera::test
