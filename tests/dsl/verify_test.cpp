#include "dsl/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dsl/text.h"
#include "tests/dsl/op_samples.h"

namespace tessera::ir {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A sound kernel on which each test plants one violation.
class Verify : public ::testing::Test {
 protected:
  Verify() {
    SourceMap sources;
    Diagnostics ds;
    FileId file = sources.add("k.ir", R"(
      kernel k(
        %x: view f32[M, 8],
        %y: out view f32[M, 8],
        %s: scatter view f32[M, 8],
        %d: add view f32[M, 8],
        %a: f32
      )
      symbols(M)
      where(mod(M, 4) == 0, M in {4, 8})
      grid(%i < M)
      {
        %z = const {value = 0} : idx
        %n = sym {name = "M"} : idx
        %r = range %i, %z, %n {size = 4} : range<4>
        %c = range %z, %z, %n {size = 8} : range<8>
        %t = load %x, %r, %c : f32[4, 8]
        %u = for %z, %n, %n, %t : f32[4, 8] (%iv: idx, %v: f32[4, 8]) {
          %w = mul %v, %a : f32[4, 8]
          yield %w
        }
        %m = reduce %u {kind = max, axis = 1} : f32[4, 1]
        %p = permute %u {perm = [1, 0]} : f32[8, 4]
        store %y, %u, %r, %c
        yield
      }
    )");
    kernel_ = parse_kernel(sources, file, ds);
    EXPECT_NE(kernel_, nullptr) << render(ds, sources);
  }

  Op& at(std::size_t i) { return *kernel_->body.ops.at(i); }
  Op& find(OpKind k) {
    Op* found = nullptr;
    for (const auto& op : kernel_->body.ops) found = op && op->kind == k && !found ? op.get() : found;
    return *found;
  }
  Value* arg(std::size_t i) { return kernel_->body.args.at(i).get(); }
  /// Inserts an op without any check before the op at `i`.
  Op& insert(std::size_t i, OpKind k, std::vector<Value*> operands, Attrs attrs, std::vector<Type> results) {
    auto op = std::make_unique<Op>();
    op->kind = k;
    op->operands = std::move(operands);
    op->attrs = std::move(attrs);
    op->parent = &kernel_->body;
    for (Type& t : results) {
      op->results.push_back(std::make_unique<Value>());
      op->results.back()->type = t;
      op->results.back()->def = op.get();
      op->results.back()->index = op->results.size() - 1;
    }
    auto place = kernel_->body.ops.begin() + static_cast<std::ptrdiff_t>(i);
    return **kernel_->body.ops.insert(place, std::move(op));
  }

  void expect(const std::string& message) {
    EXPECT_THAT(verify(*kernel_), Contains(HasSubstr(message)));
    EXPECT_THROW(verify_or_die(*kernel_, "a test"), InternalError);
  }

  std::unique_ptr<Kernel> kernel_;
};

TEST_F(Verify, ASoundKernelHasNoFaults) {
  EXPECT_THAT(verify(*kernel_), IsEmpty());
  EXPECT_NO_THROW(verify_or_die(*kernel_, "a test"));
  EXPECT_THAT(verify(*OpSamples().take()), IsEmpty());
}

TEST_F(Verify, FaultsNameTheOpAndThePass) {
  find(OpKind::Reduce).attrs[Attr::Axis] = std::int64_t{2};
  try {
    verify_or_die(*kernel_, "fold");
    FAIL();
  } catch (const InternalError& e) {
    EXPECT_THAT(e.what(), HasSubstr("after fold"));
    EXPECT_THAT(e.what(), HasSubstr("`%15.m = reduce %11.u {axis = 2, kind = max} : f32[4, 1]`: attribute `axis` = 2 is not in 0 .. 2"));
  }
}

// 1. visibility
TEST_F(Verify, UseBeforeDefinition) {
  std::swap(kernel_->body.ops[3], kernel_->body.ops[4]);
  expect("operand 2 is not defined before it");
}
TEST_F(Verify, UseOutsideTheRegion) {
  at(6).operands[0] = find(OpKind::For).region().ops[0]->result();
  expect("operand 0 is not defined before it");
}
TEST_F(Verify, UseOfARegionArgumentOutside) {
  at(6).operands[0] = find(OpKind::For).region().args[1].get();
  expect("operand 0 is not defined before it");
}
TEST_F(Verify, UseOfItsOwnResult) {
  Op& mul = *find(OpKind::For).region().ops[0];
  mul.operands[0] = mul.result();
  expect("operand 0 is not defined before it");
}
TEST_F(Verify, UseOfAValueOfAnotherKernel) {
  auto other = kernel_->clone();
  at(6).operands[0] = other->body.ops[4]->result();
  expect("operand 0 is not defined before it");
}
TEST_F(Verify, NullOperand) {
  at(6).operands[0] = nullptr;
  expect("operand 0 is not defined before it");
}

TEST_F(Verify, OperandThatIsGone) {
  kernel_->body.ops.erase(kernel_->body.ops.begin() + 2);
  expect("operand 1 is not defined before it");
}
TEST_F(Verify, YieldOfAValueThatIsGone) {
  Block& r = find(OpKind::For).region();
  r.ops.erase(r.ops.begin());
  expect("operand 0 is not defined before it");
}
TEST_F(Verify, NullYield) {
  find(OpKind::For).region().ops.back()->operands[0] = nullptr;
  expect("operand 0 is not defined before it");
}

// 2. counts and types
TEST_F(Verify, OperandCount) {
  at(6).operands.push_back(at(4).result());
  expect("2 operands");
}
TEST_F(Verify, ResultCount) {
  at(6).results.clear();
  expect("0 results, not 1");
}
TEST_F(Verify, RegionCount) {
  find(OpKind::For).regions.clear();
  expect("0 regions, not 1");
}
TEST_F(Verify, ResultType) {
  at(6).result()->type = TileType{DType::F32, {4, 8}};
  expect("result 0 is a f32[4, 1], not a f32[4, 8]");
}
TEST_F(Verify, RegionArgumentTypes) {
  find(OpKind::For).region().args[0]->type = scalar(DType::I32);
  expect("argument 0 of region 0 is a i32, not a idx");
}
TEST_F(Verify, RegionArgumentCount) {
  find(OpKind::For).region().add_arg(scalar(DType::F32));
  expect("region 0 has 3 arguments, not 2");
}

// 3. terminators
TEST_F(Verify, RegionWithoutYield) {
  find(OpKind::For).region().ops.pop_back();
  expect("region 0 does not end in a yield");
}
TEST_F(Verify, EmptyRegion) {
  Block& r = find(OpKind::For).region();
  r.ops.clear();
  r.args.clear();
  expect("region 0 does not end in a yield");
}
TEST_F(Verify, BodyWithoutYield) {
  kernel_->body.ops.pop_back();
  expect("the body does not end in a yield");
}
TEST_F(Verify, YieldInTheMiddle) {
  insert(2, OpKind::Yield, {}, {}, {});
  expect("a yield that is not the last op of its block");
}
TEST_F(Verify, YieldOfTheWrongType) {
  find(OpKind::For).region().ops.back()->operands[0] = arg(4);
  expect("region 0 yields a f32 as value 0, not a f32[4, 8]");
}
TEST_F(Verify, YieldOfTooFew) {
  find(OpKind::For).region().ops.back()->operands.clear();
  expect("region 0 yields 0 values, not 1");
}
TEST_F(Verify, BodyThatYieldsValues) {
  kernel_->body.ops.back()->operands.push_back(arg(4));
  expect("the body yields values");
}

// 4. body arguments
TEST_F(Verify, BodyArgumentMissing) {
  kernel_->grid.push_back({"j", 3});
  expect("the body has 6 arguments, not 7");
}
TEST_F(Verify, BodyArgumentOfAnAbsentParameter) {
  kernel_->params[3].optional = true;
  kernel_->params[3].present = false;
  expect("the body has 6 arguments, not 5");
}
TEST_F(Verify, BodyArgumentType) {
  kernel_->params[4].dtype = DType::F64;
  expect("argument 4 of the body is a f32, not a f64");
}
TEST_F(Verify, AbsentButNotOptional) {
  kernel_->params[3].present = false;
  expect("parameter `d` is absent but not optional");
}
TEST_F(Verify, ScalarWithViewProperties) {
  kernel_->params[4].dims = {4};
  expect("the scalar parameter `a` has properties of a view");
}
TEST_F(Verify, NamesOfParameters) {
  kernel_->params[1].name = "x";
  kernel_->params[2].name = "two words";
  expect("`x` names two parameters or grid axes");
  expect("`two words` cannot name a parameter or a grid axis");
}

// 5. dims and storage-only dtypes
TEST_F(Verify, DimsArePositive) {
  insert(0, OpKind::Const, {}, {{Attr::Value, 1.0}}, {TileType{DType::F32, {0}}});
  expect("has a dim that is not positive");
}
TEST_F(Verify, TilesAreBounded) {
  insert(0, OpKind::Const, {}, {{Attr::Value, 1.0}}, {TileType{DType::F32, {1 << 20, 1 << 20}}});
  expect("has too many elements");
}
TEST_F(Verify, NoArithmeticOnStorageTypes) {
  Op& c = insert(0, OpKind::Const, {}, {{Attr::Value, 1.0}}, {TileType{DType::E4M3, {4, 8}}});
  insert(1, OpKind::Add, {c.result(), c.result()}, {}, {TileType{DType::E4M3, {4, 8}}});
  expect("e4m3 is a storage type");
}
TEST_F(Verify, NoWholeAxisOpsOnStorageTypes) {
  Op& c = insert(0, OpKind::Const, {}, {{Attr::Value, std::int64_t{1}}}, {TileType{DType::I4, {4, 8}}});
  insert(1, OpKind::Reduce, {c.result()}, {{Attr::Kind, std::int64_t{0}}, {Attr::Axis, std::int64_t{0}}}, {TileType{DType::I4, {1, 8}}});
  insert(2, OpKind::Print, {c.result()}, {}, {});
  expect("i4 is a storage type");
  expect("computes with a storage-only dtype");
}
TEST_F(Verify, ProductsAndMovesTakeStorageTypes) {
  Op& a = insert(0, OpKind::Const, {}, {{Attr::Value, 1.0}}, {TileType{DType::E4M3, {4, 4}}});
  Op& b = insert(1, OpKind::Bitcast, {a.result()}, {}, {TileType{DType::E5M2, {4, 4}}});
  insert(2, OpKind::Dot, {a.result(), b.result()}, {}, {TileType{DType::F32, {4, 4}}});
  EXPECT_THAT(verify(*kernel_), IsEmpty());
}

// 6. modes
TEST_F(Verify, ReadOnlyViewStored) {
  find(OpKind::Store).operands[0] = arg(0);
  expect("in view is stored");
}
TEST_F(Verify, ReadOnlyViewAddedTo) {
  find(OpKind::Store).operands[0] = arg(0);
  find(OpKind::Store).attrs[Attr::Add] = std::int64_t{1};
  expect("in view is added to");
}
TEST_F(Verify, OutViewLoaded) {
  at(4).operands[0] = arg(1);
  expect("out view is loaded");
}
TEST_F(Verify, ScatterViewLoaded) {
  at(4).operands[0] = arg(2);
  expect("scatter view is loaded");
}
TEST_F(Verify, AddViewStored) {
  find(OpKind::Store).operands[0] = arg(3);
  expect("add view is stored");
}
TEST_F(Verify, AddViewLoaded) {
  at(4).operands[0] = arg(3);
  expect("add view is loaded");
}
TEST_F(Verify, OutViewAddedTo) {
  find(OpKind::Store).attrs[Attr::Add] = std::int64_t{1};
  expect("out view is added to");
}
TEST_F(Verify, AddViewsAreAddedTo) {
  find(OpKind::Store).operands[0] = arg(3);
  find(OpKind::Store).attrs[Attr::Add] = std::int64_t{1};
  EXPECT_THAT(verify(*kernel_), IsEmpty());
}
TEST_F(Verify, IdsAreReadable) {
  kernel_->params[1].dtype = DType::I32;
  kernel_->params[1].dims = {8};
  arg(1)->type = ViewType{DType::I32, 1, Mode::Out};
  kernel_->body.ops.erase(kernel_->body.ops.begin() + 8);
  insert(0, OpKind::ViewTake, {arg(0), arg(1)}, {}, {ViewType{DType::F32, 2, Mode::In}});
  expect("out view is loaded");
}

// 7. symbols
TEST_F(Verify, SymbolOfAnOp) {
  at(1).attrs[Attr::Name] = std::string("N");
  expect("the kernel does not list the symbol `N`");
}
TEST_F(Verify, SymbolOfADim) {
  kernel_->params[0].dims[0] = Sym::symbol("N");
  expect("parameter `x` uses the symbol `N`, which the kernel does not list");
}
TEST_F(Verify, SymbolOfACondition) {
  kernel_->where[1].rhs[1] = Sym::symbol("N") + 1;
  expect("a `where` condition uses the symbol `N`");
}
TEST_F(Verify, SymbolOfTheGrid) {
  kernel_->grid[0].count = ceil_div(Sym::symbol("N"), 4);
  expect("grid axis `i` uses the symbol `N`");
}
TEST_F(Verify, SymbolListedTwice) {
  kernel_->symbols.emplace_back("M");
  expect("symbol `M` is listed twice");
}
TEST_F(Verify, ConditionWithoutAnOperand) {
  kernel_->where[0].rhs.clear();
  expect("a malformed `where` condition");
}

// 8. links
TEST_F(Verify, ParentOfAnOp) {
  at(2).parent = &find(OpKind::For).region();
  expect("not linked to its block");
}
TEST_F(Verify, DefinitionOfAResult) {
  at(2).result()->def = &at(3);
  expect("result 0 is not linked to it");
}
TEST_F(Verify, IndexOfAResult) {
  at(2).result()->index = 1;
  expect("result 0 is not linked to it");
}
TEST_F(Verify, BlockOfAnArgument) {
  find(OpKind::For).region().args[1]->block = &kernel_->body;
  expect("argument 1 of a block is not linked to it");
}
TEST_F(Verify, ParentOfABlock) {
  find(OpKind::For).region().parent = &at(2);
  expect("a block is not linked to the op it belongs to");
}
TEST_F(Verify, NullOp) {
  kernel_->body.ops[2] = nullptr;
  expect("a block holds a null op");
  find(OpKind::For).region().ops.back() = nullptr;
  expect("region 0 does not end in a yield");
}

// 9. attributes
TEST_F(Verify, AttributeMissing) {
  find(OpKind::Reduce).attrs.erase(Attr::Kind);
  expect("attribute `kind` is missing");
}
TEST_F(Verify, AttributeOfTheWrongSort) {
  find(OpKind::Reduce).attrs[Attr::Axis] = std::string("one");
  expect("attribute `axis` is not an integer");
}
TEST_F(Verify, AxisBeyondTheRank) {
  find(OpKind::Reduce).attrs[Attr::Axis] = std::int64_t{-1};
  expect("attribute `axis` = -1 is not in 0 .. 2");
}
TEST_F(Verify, PermutationOfTheAxes) {
  find(OpKind::Permute).attrs[Attr::Perm] = Dims{1, 1};
  expect("attribute `perm` is not a permutation of 2 axes");
}
TEST_F(Verify, SizeIsPositive) {
  at(2).attrs[Attr::Size] = std::int64_t{0};
  expect("attribute `size` = 0 is not positive");
}
TEST_F(Verify, FlagIsABit) {
  at(4).attrs[Attr::Zero] = std::int64_t{2};
  expect("attribute `zero` = 2 is not in 0 .. 2");
}
TEST_F(Verify, SymNeedsAName) {
  at(1).attrs[Attr::Name] = std::int64_t{1};
  expect("attribute `name` is missing");
}
TEST_F(Verify, MessageIsText) {
  Op& c = insert(0, OpKind::Const, {}, {{Attr::Value, std::int64_t{1}}}, {scalar(DType::Bool)});
  insert(1, OpKind::Assert, {c.result()}, {{Attr::Message, std::int64_t{1}}}, {});
  expect("attribute `message` is not a string");
}

}  // namespace
}  // namespace tessera::ir
