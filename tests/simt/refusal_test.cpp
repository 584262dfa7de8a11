// What the simulator refuses to run.
#include <gtest/gtest.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsNVPTX.h>

#include "dsl/diagnostic.h"
#include "kernel_builder.h"

namespace tessera::simt_test {
namespace {

TEST(SimtRefuses, InlineAsm) {
  KernelBuilder k(32, 0, 1);
  auto* type = llvm::FunctionType::get(k.b.getVoidTy(), false);
  k.b.CreateCall(type, llvm::InlineAsm::get(type, "nop", "", true));
  EXPECT_THROW(SimtKernel(k.finish()), InternalError);
}

TEST(SimtRefuses, NvvmIntrinsics) {
  KernelBuilder k(32, 0, 1);
  k.b.CreateCall(llvm::Intrinsic::getOrInsertDeclaration(&k.module(), llvm::Intrinsic::nvvm_read_ptx_sreg_tid_x), {});
  EXPECT_THROW(SimtKernel(k.finish()), InternalError);
}

TEST(SimtRefuses, OtherFunctions) {
  KernelBuilder k(32, 0, 1);
  k.b.CreateCall(k.module().getOrInsertFunction("puts", llvm::FunctionType::get(k.b.getVoidTy(), false)), {});
  EXPECT_THROW(SimtKernel(k.finish()), InternalError);
}

TEST(SimtRefuses, MemoryItCannotCheck) {
  KernelBuilder k(32, 0, 1);
  k.store(k.i(0), k.b.CreateIntToPtr(k.tid(), k.b.getPtrTy(0)));
  EXPECT_THROW(SimtKernel(k.finish()), InternalError);
}

TEST(SimtRefuses, HelpersThatTouchMemory) {
  KernelBuilder k(32, 0, 1);
  auto* helper = llvm::Function::Create(llvm::FunctionType::get(k.b.getVoidTy(), {k.b.getPtrTy(1)}, false), llvm::GlobalValue::InternalLinkage,
                                        "helper", k.module());
  k.b.CreateCall(helper, {k.global(0, k.i(0))});
  const auto back = k.b.saveIP();
  k.b.SetInsertPoint(llvm::BasicBlock::Create(k.b.getContext(), "", helper));
  k.store(k.i(0), helper->getArg(0));
  k.b.CreateRetVoid();
  k.b.restoreIP(back);
  EXPECT_THROW(SimtKernel(k.finish()), InternalError);
}

TEST(SimtRefuses, PartialWarps) {
  KernelBuilder k(48, 0, 1);
  EXPECT_THROW(SimtKernel(k.finish()), InternalError);
}

TEST(SimtAllows, IntrinsicsOfLlvmAndLocalMemory) {
  KernelBuilder k(32, 0, 1);
  V local = k.b.CreateAlloca(k.b.getInt32Ty());
  k.b.CreateStore(k.tid(), local);
  V bits = k.b.CreateUnaryIntrinsic(llvm::Intrinsic::ctpop, k.b.CreateLoad(k.b.getInt32Ty(), local));
  V fused = k.b.CreateIntrinsic(llvm::Intrinsic::fma, {k.b.getFloatTy()}, {k.f(2), k.b.CreateUIToFP(bits, k.b.getFloatTy()), k.f(1)});
  k.store(fused, k.global(0, k.mul(k.tid(), 4)));
  std::vector<float> out(32);
  const SimtResult r = run(k.finish(), {tensor("out", out)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  EXPECT_EQ(out[31], 11.f);
}

TEST(SimtAllows, FramesLargerThanAnyStackOfFixedSize) {
  KernelBuilder k(64, 0, 1);
  constexpr unsigned words = 100'000;
  auto* type = llvm::ArrayType::get(k.b.getInt32Ty(), words);
  V local = k.b.CreateAlloca(type);
  for (const unsigned i : {0u, 50'000u, words - 1}) k.b.CreateStore(k.add(k.tid(), i), k.b.CreateConstInBoundsGEP2_32(type, local, 0, i));
  k.barrier();
  V sum = k.i(0);
  for (const unsigned i : {0u, 50'000u, words - 1})
    sum = k.add(sum, k.b.CreateLoad(k.b.getInt32Ty(), k.b.CreateConstInBoundsGEP2_32(type, local, 0, i)));
  k.store(sum, k.global(0, k.mul(k.tid(), 4)));
  std::vector<std::int32_t> out(64);
  const SimtResult r = run(k.finish(), {tensor("out", out)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], 3 * i + 149'999);
}

}  // namespace
}  // namespace tessera::simt_test
