// Every op of the table has a test of its semantics, and each of them holds.
#include <set>

#include "tests/dsl/interpret_support.h"

namespace tessera::test {
namespace {

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const auto& family : {elementwise_cases(), conversion_cases(), tile_cases(), axis_cases(), memory_cases(), control_cases()}) {
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

TEST(InterpretOps, EveryCaseHolds) {
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(std::string(ir::info(c.kind).name) + ": " + c.what);
    c.run();
  }
}

TEST(InterpretOps, EveryOpHasACase) {
  std::set<ir::OpKind> covered;
  for (const Case& c : all_cases()) covered.insert(c.kind);
  for (const ir::OpKind k : ir::all_ops()) EXPECT_TRUE(covered.count(k) != 0) << ir::info(k).name << " has no semantics test";
}

}  // namespace
}  // namespace tessera::test
