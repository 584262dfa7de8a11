// The NVPTX lowering: every device primitive becomes the instruction that its row names, on every target that has it.
#include "codegen/nvptx/ptx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/nvptx/lower_primitives.h"
#include "codegen/nvptx/tools.h"
#include "dsl/diagnostic.h"
#include "tests/gpu/hand_made.h"

namespace tessera {
namespace {

using gpu::Primitive;
using tessera::testing::hand_made;
using ::testing::HasSubstr;

std::string ptx_of(const std::vector<Primitive>& primitives, const GpuTarget& target) { return make_ptx(hand_made(primitives), target).ptx; }

/// PTX that must occur; exhaustive, so that a new primitive needs an expectation.
const char* instruction(Primitive p) {
  switch (p) {
    case Primitive::Tid: return "%tid.x";
    case Primitive::Ctaid: return "%ctaid.x";
    case Primitive::Nctaid: return "%nctaid.x";
    case Primitive::ShflBfly: return "shfl.sync.bfly.b32";
    case Primitive::ShflIdx: return "shfl.sync.idx.b32";
    case Primitive::ShflUp: return "shfl.sync.up.b32";
    case Primitive::WarpSync: return "bar.warp.sync";
    case Primitive::RegistersDown: return "setmaxnreg.dec";
    case Primitive::RegistersUp: return "setmaxnreg.inc";
    case Primitive::BarSyncAll: return ".sync";
    case Primitive::BarSync: return ".sync";
    case Primitive::BarArrive: return ".arrive";
    case Primitive::KeepAbove: return "pmevent";
    case Primitive::ClusterSync: return "barrier.cluster.arrive.release.aligned";
    case Primitive::Ex2: return "ex2.approx.ftz.f32";
    case Primitive::Lg2: return "lg2.approx.f32";
    case Primitive::Rcp: return "rcp.approx.ftz.f32";
    case Primitive::Rsqrt: return "rsqrt.approx.f32";
    case Primitive::TanhApprox: return "tanh.approx.f32";
    case Primitive::PackBf16x2: return "cvt.rn.bf16x2.f32";
    case Primitive::PackF16x2: return "cvt.rn.f16";
    case Primitive::PackE4m3x2: return "cvt.rn.satfinite.e4m3x2.f32";
    case Primitive::PackE5m2x2: return "cvt.rn.satfinite.e5m2x2.f32";
    case Primitive::PackE4m3x4: return "cvt.rn.satfinite.e4m3x2.f32";
    case Primitive::PackE5m2x4: return "cvt.rn.satfinite.e5m2x2.f32";
    case Primitive::UnpackE4m3x2: return "cvt.rn.f16x2.e4m3x2";
    case Primitive::UnpackE5m2x2: return "cvt.rn.f16x2.e5m2x2";
    case Primitive::PickBytes: return "prmt.b32";
    case Primitive::LdmatrixX1: return "ldmatrix.sync.aligned.m8n8.x1.shared.b16";
    case Primitive::LdmatrixX2: return "ldmatrix.sync.aligned.m8n8.x2.shared.b16";
    case Primitive::LdmatrixX4: return "ldmatrix.sync.aligned.m8n8.x4.shared.b16";
    case Primitive::LdmatrixX1Trans: return "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16";
    case Primitive::LdmatrixX2Trans: return "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16";
    case Primitive::LdmatrixX4Trans: return "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16";
    case Primitive::StmatrixX4: return "stmatrix.sync.aligned.m8n8.x4.shared.b16";
    case Primitive::StmatrixX4Trans: return "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16";
    case Primitive::MmaF16K8: return "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32";
    case Primitive::MmaF16K16: return "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32";
    case Primitive::MmaBf16K8: return "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32";
    case Primitive::MmaBf16K16: return "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32";
    case Primitive::MmaTf32K8: return "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32";
    case Primitive::MmaE4m3E4m3K32: return "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32";
    case Primitive::MmaE4m3E5m2K32: return "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32";
    case Primitive::MmaE5m2E4m3K32: return "mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e4m3.f32";
    case Primitive::MmaE5m2E5m2K32: return "mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e5m2.f32";
    case Primitive::MmaS8S8K16: return "k16.row.col";
    case Primitive::MmaS8S8K32: return "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32";
    case Primitive::MmaU8U8K32: return "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32";
    case Primitive::WgmmaF16: return "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16";
    case Primitive::WgmmaBf16: return "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16";
    case Primitive::WgmmaTf32: return "wgmma.mma_async.sync.aligned.m64n16k8.f32.tf32.tf32";
    case Primitive::WgmmaE4m3E4m3: return "wgmma.mma_async.sync.aligned.m64n16k32.f32.e4m3.e4m3";
    case Primitive::WgmmaE4m3E5m2: return "wgmma.mma_async.sync.aligned.m64n16k32.f32.e4m3.e5m2";
    case Primitive::WgmmaE5m2E4m3: return "wgmma.mma_async.sync.aligned.m64n16k32.f32.e5m2.e4m3";
    case Primitive::WgmmaE5m2E5m2: return "wgmma.mma_async.sync.aligned.m64n16k32.f32.e5m2.e5m2";
    case Primitive::WgmmaWait: return "wgmma.wait_group.sync.aligned";
    case Primitive::FenceProxyAsync: return "fence.proxy.async.shared::cta";
    case Primitive::MbarInit: return "mbarrier.init.shared::cta.b64";
    case Primitive::MbarInval: return "mbarrier.inval.shared::cta.b64";
    case Primitive::FenceMbarInit: return "fence.mbarrier_init.release.cluster";
    case Primitive::MbarExpect: return "mbarrier.arrive.expect_tx.shared::cta.b64";
    case Primitive::MbarArrive: return "mbarrier.arrive.shared::cta.b64";
    case Primitive::MbarWait: return "mbarrier.try_wait.parity.shared::cta.b64";
    case Primitive::MbarArriveAt: return "mbarrier.arrive.shared::cluster.b64";
    case Primitive::StoreAsync: return "st.async.shared::cluster.mbarrier::complete_tx::bytes.b32";
    case Primitive::TmaMulticast2: return "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster";
    case Primitive::TmaMulticast3: return "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster";
    case Primitive::TmaMulticast4: return "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster";
    case Primitive::TmaMulticast5: return "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster";
    case Primitive::TmaLoad2: return "cp.async.bulk.tensor.2d.shared::cluster.global";
    case Primitive::TmaLoad3: return "cp.async.bulk.tensor.3d.shared::cluster.global";
    case Primitive::TmaLoad4: return "cp.async.bulk.tensor.4d.shared::cluster.global";
    case Primitive::TmaLoad5: return "cp.async.bulk.tensor.5d.shared::cluster.global";
    case Primitive::TmaLoadKept2: return "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint";
    case Primitive::TmaLoadKept3: return "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint";
    case Primitive::TmaLoadKept4: return "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint";
    case Primitive::TmaLoadKept5: return "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint";
    case Primitive::TmaMulticastKept2:
      return "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint";
    case Primitive::TmaMulticastKept3:
      return "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint";
    case Primitive::TmaMulticastKept4:
      return "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint";
    case Primitive::TmaMulticastKept5:
      return "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint";
    case Primitive::TmaStoreKept2: return "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group.L2::cache_hint";
    case Primitive::TmaStoreKept3: return "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group.L2::cache_hint";
    case Primitive::TmaStoreKept4: return "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group.L2::cache_hint";
    case Primitive::TmaStoreKept5: return "cp.async.bulk.tensor.5d.global.shared::cta.bulk_group.L2::cache_hint";
    case Primitive::TmaStore2: return "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group";
    case Primitive::TmaStore3: return "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group";
    case Primitive::TmaStore4: return "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group";
    case Primitive::TmaStore5: return "cp.async.bulk.tensor.5d.global.shared::cta.bulk_group";
    case Primitive::BulkCommit: return "cp.async.bulk.commit_group";
    case Primitive::BulkWaitRead: return "cp.async.bulk.wait_group.read";
    case Primitive::CpAsync16: return "cp.async.cg.shared.global";
    case Primitive::CachePolicy: return "createpolicy.fractional.L2::evict_first.b64";
    case Primitive::LoadKept8: return "ld.global.L2::cache_hint.b8";
    case Primitive::LoadKept16: return "ld.global.L2::cache_hint.b16";
    case Primitive::LoadKept: return "ld.global.L2::cache_hint.v4.b32";
    case Primitive::StoreKept8: return "st.global.L2::cache_hint.b8";
    case Primitive::StoreKept16: return "st.global.L2::cache_hint.b16";
    case Primitive::StoreKept: return "st.global.L2::cache_hint.v4.b32";
    case Primitive::CpAsync16Kept: return "cp.async.cg.shared.global.L2::cache_hint";
    case Primitive::CpAsync8: return "cp.async.ca.shared.global";
    case Primitive::CpAsync4: return "cp.async.ca.shared.global";
    case Primitive::CpAsyncCommit: return "cp.async.commit_group";
    case Primitive::CpAsyncWait: return "cp.async.wait_group";
  }
  return "?";
}

class EveryTarget : public ::testing::TestWithParam<GpuTarget> {
 protected:
  std::vector<Primitive> available() const {
    std::vector<Primitive> out;
    for (Primitive p : gpu::all_primitives()) {
      if (gpu::info(p).on(GetParam())) out.push_back(p);
    }
    return out;
  }
};

TEST_P(EveryTarget, EachPrimitiveIsItsInstruction) {
  for (Primitive p : available()) EXPECT_THAT(ptx_of({p}, GetParam()), HasSubstr(instruction(p))) << gpu::info(p).name;
}

TEST_P(EveryTarget, AllPrimitivesAssemble) {
  const PtxasReport report = run_ptxas(make_ptx(hand_made(available()), GetParam()));
  if (!report.found) GTEST_SKIP() << "no ptxas on PATH, in CUDA_HOME or in /usr/local/cuda";
  EXPECT_TRUE(report.ok) << report.log;
  EXPECT_GT(report.registers, 8);
}

TEST_P(EveryTarget, NewerPrimitivesAreRefused) {
  for (Primitive p : gpu::all_primitives()) {
    if (gpu::info(p).on(GetParam())) continue;
    EXPECT_THROW(ptx_of({p}, GetParam()), InternalError) << gpu::info(p).name;
  }
}

TEST_P(EveryTarget, TheHeaderNamesTargetAndLeastVersion) {
  const std::string ptx = ptx_of({Primitive::Tid}, GetParam());
  EXPECT_THAT(ptx, HasSubstr(".target " + GetParam().name()));
  const int version = GetParam().ptx();
  EXPECT_THAT(ptx, HasSubstr(".version " + std::to_string(version / 10) + "." + std::to_string(version % 10)));
}

INSTANTIATE_TEST_SUITE_P(Nvptx, EveryTarget, ::testing::ValuesIn(all_gpu_targets()), [](const auto& i) { return i.param.name(); });

TEST(Nvptx, APrimitiveRaisesThePtxVersion) {
  EXPECT_THAT(ptx_of({Primitive::Ex2}, {89}), HasSubstr(".version 7.8"));
  EXPECT_THAT(ptx_of({Primitive::MmaE4m3E4m3K32}, {89}), HasSubstr(".version 8.4"));
}

TEST(Nvptx, BothPackedHalvesKeepTheirOrder) {
  // The intrinsic takes the high half first; a constant pair shows which is which: 1.0 low (0x3c00), 2.0 high (0x4000).
  for (const GpuTarget& t : {GpuTarget{75}, GpuTarget{90, true}}) {
    GpuIr ir = hand_made({});
    llvm::Function& f = *ir.module->getFunction(ir.entry);
    llvm::IRBuilder<> b(f.getEntryBlock().getTerminator());
    llvm::Value* packed =
        gpu::call(b, *ir.module, Primitive::PackF16x2, {llvm::ConstantFP::get(b.getFloatTy(), 1.0), llvm::ConstantFP::get(b.getFloatTy(), 2.0)});
    b.CreateStore(packed, b.CreateIntToPtr(f.getArg(0), b.getPtrTy(1)));
    const std::string ptx = make_ptx(std::move(ir), t).ptx;
    if (t.sm == 75) {
      EXPECT_THAT(ptx, HasSubstr("1073757184")) << ptx;  // 0x40003c00, folded
    } else {
      const std::size_t at = ptx.find("cvt.rn.f16x2.f32");
      ASSERT_NE(at, std::string::npos) << ptx;
      const std::string line = ptx.substr(at, ptx.find(';', at) - at);
      // 0f40000000 is 2.0; it is the first source, which becomes the upper half.
      const std::size_t first = line.find(", ") + 2;
      const std::string high = line.substr(first, line.find(',', first) - first);
      const bool inline_high = high == "0f40000000";
      EXPECT_TRUE(inline_high || ptx.find(high + ", 0f40000000") != std::string::npos) << ptx;
    }
  }
}

TEST(Nvptx, SharedAddressesHave32Bits) {
  const std::string ptx = ptx_of({Primitive::LdmatrixX4}, {90, true});
  const std::size_t at = ptx.find("ldmatrix.");
  ASSERT_NE(at, std::string::npos);
  EXPECT_THAT(ptx.substr(at, ptx.find(';', at) - at), HasSubstr("[%r")) << "an address in a 64-bit register starts with %rd";
  EXPECT_EQ(ptx.substr(at, ptx.find(';', at) - at).find("[%rd"), std::string::npos);
}

TEST(Nvptx, TheKernelKeepsItsThreadCount) { EXPECT_THAT(ptx_of({Primitive::Tid}, {80}), HasSubstr(".reqntid 128")); }

/// Code of 128 threads that reads so many numbers before it writes the first.
std::string ptx_holding(std::size_t values, unsigned bits, std::int64_t shared_bytes, const GpuTarget& target) {
  GpuIr ir = hand_made({Primitive::Tid});
  llvm::Function& f = *ir.module->getFunction(ir.entry);
  llvm::IRBuilder<> b(f.getEntryBlock().getTerminator());
  llvm::Type* type = b.getIntNTy(bits);
  llvm::Value* at = llvm::ConstantExpr::getIntToPtr(b.getInt64(1 << 20), b.getPtrTy(1));
  std::vector<llvm::Value*> read;
  for (std::size_t i = 0; i < values; ++i) read.push_back(b.CreateAlignedLoad(type, b.CreateConstGEP1_64(type, at, i), llvm::Align(4), true));
  for (std::size_t i = 0; i < values; ++i) b.CreateAlignedStore(read[i], b.CreateConstGEP1_64(type, at, values + i), llvm::Align(4), true);
  ir.threads = 128;
  ir.shared_bytes = shared_bytes;
  return make_ptx(std::move(ir), target).ptx;
}

TEST(Nvptx, TheAssemblerIsToldHowManyCtasSharedMemoryAdmits) {
  EXPECT_THAT(ptx_holding(1, 32, 100'000, {90, true}), HasSubstr(".minnctapersm 2"));
  EXPECT_THAT(ptx_holding(1, 32, 100'000, {80}), HasSubstr(".minnctapersm 1"));
  EXPECT_THAT(ptx_holding(100, 32, 50'000, {90, true}), HasSubstr(".minnctapersm 4"));
  EXPECT_THAT(ptx_holding(150, 32, 50'000, {90, true}), ::testing::Not(HasSubstr(".minnctapersm"))) << "128 registers do not hold them";
  EXPECT_THAT(ptx_holding(150, 32, 100'000, {90, true}), HasSubstr(".minnctapersm 2"));
}

TEST(Nvptx, CodeThatHasRoomForItLeavesHalfOfTheThreadsResident) {
  const GpuTarget hopper{90, true};
  EXPECT_THAT(ptx_holding(60, 32, 0, hopper), HasSubstr(".minnctapersm 8"));
  EXPECT_THAT(ptx_holding(100, 32, 0, hopper), ::testing::Not(HasSubstr(".minnctapersm"))) << "they would be spilled";
  EXPECT_THAT(ptx_holding(100, 16, 0, hopper), HasSubstr(".minnctapersm 8")) << "two of them share a word";
}

TEST(Nvptx, AMalformedModuleIsRefused) {
  GpuIr ir = hand_made({Primitive::Tid});
  ir.module->getFunction(ir.entry)->getEntryBlock().getTerminator()->eraseFromParent();
  EXPECT_THROW(make_ptx(std::move(ir), {80}), InternalError);
}

TEST(Nvptx, AnUnknownPrimitiveIsRefused) {
  GpuIr ir = hand_made({Primitive::Tid});
  llvm::Function::Create(llvm::FunctionType::get(llvm::Type::getVoidTy(*ir.context), false), llvm::GlobalValue::ExternalLinkage, "dp.no_such",
                         *ir.module);
  EXPECT_THROW(make_ptx(std::move(ir), {80}), InternalError);
}

TEST(Ptxas, RefusedTextIsReported) {
  GpuObject object = make_ptx(hand_made({Primitive::Tid}), {80});
  object.ptx += "\nnonsense";
  const PtxasReport report = run_ptxas(object);
  if (!report.found) GTEST_SKIP() << "no ptxas on PATH, in CUDA_HOME or in /usr/local/cuda";
  EXPECT_FALSE(report.ok);
  EXPECT_FALSE(report.log.empty());
}

}  // namespace
}  // namespace tessera
