#include "codegen/nvptx/lower_primitives.h"

#include <fmt/format.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/IntrinsicsNVPTX.h>

#include <algorithm>
#include <vector>

#include "codegen/gpu/primitives.h"
#include "dsl/diagnostic.h"

namespace tessera::nvptx {
namespace {

using gpu::Primitive;
using llvm::Value;
namespace Intrinsic = llvm::Intrinsic;
using Values = std::vector<Value*>;

/// Gives what stands for one call.
class Lowering {
 public:
  Lowering(llvm::CallInst& call, const GpuTarget& target) : call_(call), target_(target), b_(&call) {}

  /// One value for a scalar result, the registers of an R, nothing for v.
  Values lower(Primitive p);

 private:
  Value* arg(unsigned i) const { return call_.getArgOperand(i); }
  Value* shared(unsigned i) { return b_.CreateIntToPtr(arg(i), b_.getPtrTy(3)); }
  Value* as(Value* v, llvm::Type* t) { return b_.CreateBitCast(v, t); }
  Value* i32(Value* v) { return as(v, b_.getInt32Ty()); }
  llvm::Type* halves() { return llvm::FixedVectorType::get(b_.getHalfTy(), 2); }

  Value* intrinsic(Intrinsic::ID id, llvm::ArrayRef<Value*> args = {}, llvm::ArrayRef<llvm::Type*> types = {}) {
    return b_.CreateIntrinsic(id, types, args);
  }
  Values nothing(Value*) { return {}; }
  Values fields(Value* v) {
    if (!v->getType()->isStructTy()) return {v};
    Values out;
    for (unsigned i = 0; i < v->getType()->getStructNumElements(); ++i) out.push_back(b_.CreateExtractValue(v, i));
    return out;
  }
  /// Instructions whose result depends on their operands alone.
  Value* pure_asm(const std::string& text, const char* constraints) {
    const Values args(call_.arg_begin(), call_.arg_end());
    std::vector<llvm::Type*> types;
    for (Value* a : args) types.push_back(a->getType());
    auto* type = llvm::FunctionType::get(call_.getType(), types, false);
    llvm::CallInst* c = b_.CreateCall(type, llvm::InlineAsm::get(type, text, constraints, false, false), args);
    c->setDoesNotAccessMemory();
    c->setDoesNotThrow();
    return c;
  }
  Value* shuffle(Intrinsic::ID id, int clamp) { return intrinsic(id, {b_.getInt32(~0U), arg(0), arg(1), b_.getInt32(static_cast<unsigned>(clamp))}); }
  /// Two f32 rounded to f16, low half first; one conversion where the target has it.
  Value* pack_f16() {
    if (target_.sm >= 80) return intrinsic(Intrinsic::nvvm_ff2f16x2_rn, {arg(1), arg(0)});
    Value* v = llvm::PoisonValue::get(halves());
    for (unsigned i = 0; i < 2; ++i) v = b_.CreateInsertElement(v, b_.CreateFPTrunc(arg(i), b_.getHalfTy()), i);
    return v;
  }
  Value* pack_codes(Intrinsic::ID id) { return b_.CreateZExt(intrinsic(id, {arg(1), arg(0)}), b_.getInt32Ty()); }
  /// The two halves of a word as one move, which ptxas makes part of the second conversion.
  Value* pack_four_codes(const char* type) {
    const std::string convert = fmt::format("cvt.rn.satfinite.{}x2.f32", type);
    return pure_asm(fmt::format("{{\n.reg .b16 l, h;\n{0} l, $2, $1;\n{0} h, $4, $3;\nmov.b32 $0, {{l, h}};\n}}", convert), "=r,f,f,f,f");
  }
  Value* unpack_codes(Intrinsic::ID id) { return i32(intrinsic(id, {b_.CreateTrunc(arg(0), b_.getInt16Ty())})); }
  Values matrix_load(Intrinsic::ID id) { return fields(intrinsic(id, {shared(0)}, {b_.getPtrTy(3)})); }
  Values matrix_store(Intrinsic::ID id) {
    return nothing(intrinsic(id, {shared(0), i32(arg(1)), i32(arg(2)), i32(arg(3)), i32(arg(4))}, {b_.getPtrTy(3)}));
  }
  /// The primitive takes C, A, B; the intrinsic A, B, C.
  Values product(Intrinsic::ID id, llvm::Type* operand, llvm::Type* accumulator) {
    Values args;
    for (unsigned i = 4; i < call_.arg_size(); ++i) args.push_back(as(arg(i), operand));
    for (unsigned i = 0; i < 4; ++i) args.push_back(as(arg(i), accumulator));
    return fields(intrinsic(id, args));
  }
  Values float_product(Intrinsic::ID id) { return product(id, b_.getInt32Ty(), b_.getFloatTy()); }
  Values half_product(Intrinsic::ID id) { return product(id, halves(), b_.getFloatTy()); }
  Values int_product(Intrinsic::ID id) { return product(id, b_.getInt32Ty(), b_.getInt32Ty()); }
  /// m16n8k16 of i8; before sm_80 its upper and lower eight rows apart, whose fragments are the same registers.
  Values byte_product_k16() {
    if (target_.sm >= 80) return int_product(Intrinsic::nvvm_mma_m16n8k16_row_col_s8);
    Values out;
    for (unsigned half = 0; half < 2; ++half) {
      Value* r = intrinsic(Intrinsic::nvvm_mma_m8n8k16_row_col_s8, {i32(arg(4 + half)), i32(arg(6)), i32(arg(2 * half)), i32(arg(2 * half + 1))});
      for (Value* v : fields(r)) out.push_back(v);
    }
    return out;
  }

  std::uint32_t constant(unsigned i) const { return static_cast<std::uint32_t>(llvm::cast<llvm::ConstantInt>(arg(i))->getZExtValue()); }
  llvm::CallInst* volatile_asm(llvm::Type* result, const std::string& text, const std::string& constraints, const Values& args) {
    std::vector<llvm::Type*> types;
    for (Value* a : args) types.push_back(a->getType());
    auto* type = llvm::FunctionType::get(result, types, false);
    llvm::CallInst* c = b_.CreateCall(type, llvm::InlineAsm::get(type, text, constraints, true, false), args);
    c->addFnAttr(llvm::Attribute::Convergent);
    c->setDoesNotThrow();
    return c;
  }
  bool certain(unsigned when) const { return when == kAlways || (llvm::isa<llvm::ConstantInt>(arg(when)) && constant(when) != 0); }
  /// An instruction without a result on all arguments, executed where the argument number `when` is true; `before` is executed in any case.
  Values effect_asm(const std::string& text, const std::string& constraints, unsigned when, const std::string& before = "") {
    Values args;
    for (unsigned i = 0; i < call_.arg_size(); ++i)
      args.push_back(arg(i)->getType()->isIntegerTy(1) ? b_.CreateZExt(arg(i), b_.getInt32Ty()) : arg(i));
    std::string whole = certain(when) ? text : fmt::format(".reg .pred p;\nsetp.ne.b32 p, ${}, 0;\n@p {}", when, text);
    if (!certain(when) || !before.empty()) whole = fmt::format("{{\n{}{}\n}}", before, whole);
    volatile_asm(b_.getVoidTy(), whole, constraints + (constraints.empty() ? "" : ",") + "~{memory}", args);
    return {};
  }
  /// With `kept` the last argument is a cache policy.
  Values bulk_load(int axes, bool kept = false) {
    std::string coordinates, constraints = "r,r,l,r";
    for (int i = 0; i < axes; ++i) {
      coordinates += fmt::format("{}${}", i ? ", " : "", 4 + i);
      constraints += ",r";
    }
    return effect_asm(fmt::format("cp.async.bulk.tensor.{}d.shared::cluster.global.mbarrier::complete_tx::bytes{} [$0], [$2, {{{}}}], [$1]{};", axes,
                                  kept ? kCacheHint : "", coordinates, kept ? fmt::format(", ${}", 4 + axes) : ""),
                      constraints + (kept ? ",l" : ""), 3);
  }
  Values bulk_store(int axes, bool kept = false) {
    std::string coordinates, constraints = "r,l,r";
    for (int i = 0; i < axes; ++i) {
      coordinates += fmt::format("{}${}", i ? ", " : "", 3 + i);
      constraints += ",r";
    }
    return effect_asm(fmt::format("cp.async.bulk.tensor.{}d.global.shared::cta.bulk_group{} [$1, {{{}}}], [$0]{};", axes, kept ? kCacheHint : "",
                                  coordinates, kept ? fmt::format(", ${}", 3 + axes) : ""),
                      constraints + (kept ? ",l" : ""), 2);
  }
  Value* cache_policy() {
    const char* order = constant(0) ? "evict_last" : "evict_first";
    auto* type = llvm::FunctionType::get(b_.getInt64Ty(), false);
    llvm::CallInst* c =
        b_.CreateCall(type, llvm::InlineAsm::get(type, fmt::format("createpolicy.fractional.L2::{}.b64 $0, 1.0;", order), "=l", false));
    c->setDoesNotAccessMemory();
    c->setDoesNotThrow();
    return c;
  }
  /// Of bytes, halves or words, under the policy that is the second argument.
  Values kept_load(const char* type) {
    const Values args = {arg(0), arg(1)};
    llvm::Type* word = call_.getType()->isStructTy() ? call_.getType()->getStructElementType(0) : call_.getType();
    const unsigned n = call_.getType()->isStructTy() ? call_.getType()->getStructNumElements() : 1;
    std::string results, constraints;
    for (unsigned i = 0; i < n; ++i) {
      results += fmt::format("{}${}", i ? ", " : "", i);
      constraints += "=r,";
    }
    llvm::Type* result = n == 1 ? word : call_.getType();
    return fields(volatile_asm(
        result,
        fmt::format("ld.global{}{}.{} {}{}{}, [${}], ${};", kCacheHint, vector(n), type, n > 1 ? "{" : "", results, n > 1 ? "}" : "", n, n + 1),
        constraints + "l,l,~{memory}", args));
  }
  Values kept_store(const char* type) {
    const unsigned n = call_.arg_size() - 2;
    std::string values, constraints = "l,l";
    Values args = {arg(0), arg(1)};
    for (unsigned i = 0; i < n; ++i) {
      values += fmt::format("{}${}", i ? ", " : "", 2 + i);
      constraints += ",r";
      args.push_back(arg(2 + i));
    }
    volatile_asm(b_.getVoidTy(),
                 fmt::format("st.global{}{}.{} [$0], {}{}{}, $1;", kCacheHint, vector(n), type, n > 1 ? "{" : "", values, n > 1 ? "}" : ""),
                 constraints + ",~{memory}", args);
    return {};
  }
  /// For sm_90, ptxas 13.0 gives such a copy the sum of a register and a uniform register as its place in shared memory where it can, and then no
  /// policy but a register that nothing has set: an illegal instruction (IST-DASLab/marlin, issue 44, tells of 13.1). The maximum, of which it does
  /// not know that it is the place itself, leaves one register.
  Values copy_kept() {
    return effect_asm(fmt::format("{{ .reg .b32 to; max.s32 to, $0, 0; cp.async.cg.shared.global{} [to], [$1], 16, $2, $3; }}", kCacheHint),
                      "r,l,r,l", kAlways);
  }
  static std::string vector(unsigned words) { return words == 1 ? "" : fmt::format(".v{}", words); }
  /// The same to several CTAs; the fifth argument is constant.
  Values multicast(int axes, bool kept = false) {
    std::string coordinates, constraints = "r,r,l,r,n";
    for (int i = 0; i < axes; ++i) {
      coordinates += fmt::format("{}${}", i ? ", " : "", 5 + i);
      constraints += ",r";
    }
    return effect_asm(
        fmt::format(
            "cp.async.bulk.tensor.{}d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster{} [$0], [$2, {{{}}}], [$1], $4{};", axes,
            kept ? kCacheHint : "", coordinates, kept ? fmt::format(", ${}", 5 + axes) : ""),
        constraints + (kept ? ",l" : ""), 3);
  }
  static constexpr unsigned kAlways = ~0U;
  static constexpr const char* kCacheHint = ".L2::cache_hint";
  Values warpgroup_product(const char* types, int k);
  Values warpgroup_wait();

  llvm::CallInst& call_;
  const GpuTarget& target_;
  llvm::IRBuilder<> b_;
};

/// One block of asm, so that nothing comes between the steps. There is no intrinsic for wgmma.mma_async.
Values Lowering::warpgroup_product(const char* types, int k) {
  constexpr unsigned kFixed = 13, kDone = 12;
  const unsigned n = call_.getType()->getStructNumElements();
  const std::uint32_t steps = constant(2), accumulate = constant(3);
  const unsigned inputs = call_.arg_size() - kFixed, a_registers = inputs - (accumulate ? n : 0);
  TESSERA_ASSERT(n % 4 == 0 && n <= 128 && (a_registers == 0 || a_registers == 4 * steps), "registers of a warpgroup product");
  const bool halves = k == 16;
  // Operands: results, then tied accumulators, then A's registers or descriptor, then B's descriptor.
  std::string constraints, text = "{\n.reg .b64 da, db;\n.reg .b32 la, lb;\n.reg .pred p, q;\nsetp.ne.b32 p, 0, 0;\nsetp.ne.b32 q, 1, 0;\n";
  Values args;
  std::string results;
  for (unsigned i = 0; i < n; ++i) {
    constraints += fmt::format("{}{}", i ? "," : "", accumulate ? "=f" : "=&f");
    results += fmt::format("{}${}", i ? ", " : "", i);
  }
  const auto input = [&](Value* v, const std::string& constraint) {
    args.push_back(v);
    constraints += "," + constraint;
    return n + static_cast<unsigned>(args.size()) - 1;
  };
  if (accumulate) {
    for (unsigned i = 0; i < n; ++i) input(arg(kFixed + i), std::to_string(i));
  }
  unsigned a = 0;
  for (unsigned i = 0; i < a_registers; ++i) {
    const unsigned at = input(i32(arg(kFixed + (accumulate ? n : 0) + i)), "r");
    if (i == 0) a = at;
  }
  if (!a_registers) a = input(arg(0), "r");
  const unsigned b = input(arg(1), "r");
  // Within the block: by a branch around it the compiler would have registers that are under way on one of two paths.
  const auto* known = llvm::dyn_cast<llvm::ConstantInt>(arg(kDone));
  const bool always = known && (known->getZExtValue() & 1) != 0;
  const unsigned done = always ? 0 : input(arg(kDone), "r");
  constraints += ",~{memory}";
  if (!always) text += fmt::format(".reg .pred done;\nand.b32 la, ${}, 1;\nsetp.ne.b32 done, la, 0;\n@!done bra.uni over;\n", done);
  text += "wgmma.fence.sync.aligned;\n";
  for (std::uint32_t s = 0; s < steps; ++s) {
    const auto descriptor = [&](const char* wide, const char* low, unsigned operand, unsigned high, unsigned step, unsigned panel) {
      const std::uint32_t offset = s % 4 * constant(step) + s / 4 * constant(panel);
      return fmt::format("add.u32 {}, ${}, {};\nmov.b64 {}, {{{}, {}}};\n", low, operand, offset, wide, low, constant(high));
    };
    std::string left = "da";
    if (a_registers) {
      left = fmt::format("{{${}, ${}, ${}, ${}}}", a + 4 * s, a + 4 * s + 1, a + 4 * s + 2, a + 4 * s + 3);
    } else {
      text += descriptor("da", "la", a, 4, 8, 9);
    }
    text += descriptor("db", "lb", b, 5, 10, 11);
    text += fmt::format("wgmma.mma_async.sync.aligned.m64n{}k{}.f32.{} {{{}}}, {}, db, {}, 1, 1", 2 * n, k, types, results, left,
                        s == 0 && !accumulate ? "p" : "q");
    if (halves && !a_registers) text += fmt::format(", {}", constant(6));
    if (halves) text += fmt::format(", {}", constant(7));
    text += ";\n";
  }
  // An empty group is made of a product of nothing, which wants its fence too (C7519).
  if (!always) text += "over:\nwgmma.fence.sync.aligned;\n";
  text += "wgmma.commit_group.sync.aligned;\n}";
  return fields(volatile_asm(call_.getType(), text, constraints, args));
}

Values Lowering::warpgroup_wait() {
  const unsigned n = call_.arg_size() - 1;
  std::string constraints;
  Values args;
  for (unsigned i = 0; i < n; ++i) constraints += "=f,";
  for (unsigned i = 0; i < n; ++i) {
    constraints += std::to_string(i) + ",";
    args.push_back(arg(1 + i));
  }
  return fields(volatile_asm(call_.getType(), fmt::format("wgmma.wait_group.sync.aligned {};", constant(0)), constraints + "~{memory}", args));
}

Values Lowering::lower(Primitive p) {
  switch (p) {
    case Primitive::Tid: return {intrinsic(Intrinsic::nvvm_read_ptx_sreg_tid_x)};
    case Primitive::Ctaid: return {intrinsic(Intrinsic::nvvm_read_ptx_sreg_ctaid_x)};
    case Primitive::Nctaid: return {intrinsic(Intrinsic::nvvm_read_ptx_sreg_nctaid_x)};
    case Primitive::ShflBfly: return {shuffle(Intrinsic::nvvm_shfl_sync_bfly_i32, 31)};
    case Primitive::ShflIdx: return {shuffle(Intrinsic::nvvm_shfl_sync_idx_i32, 31)};
    case Primitive::ShflUp: return {shuffle(Intrinsic::nvvm_shfl_sync_up_i32, 0)};
    case Primitive::WarpSync: return nothing(intrinsic(Intrinsic::nvvm_bar_warp_sync, {b_.getInt32(~0U)}));
    case Primitive::BarSyncAll: return nothing(intrinsic(Intrinsic::nvvm_barrier_cta_sync_aligned_all, {b_.getInt32(0)}));
    case Primitive::BarSync: return nothing(intrinsic(Intrinsic::nvvm_barrier_cta_sync_aligned_count, {arg(0), arg(1)}));
    case Primitive::BarArrive: return nothing(intrinsic(Intrinsic::nvvm_barrier_cta_arrive_aligned_count, {arg(0), arg(1)}));
    // Of no thread's concern whether it is set.
    case Primitive::KeepAbove: return effect_asm("{\n.reg .pred p;\nsetp.eq.f32 p, $0, 0fBF800000;\n@p pmevent 15;\n}", "f", kAlways);
    case Primitive::ClusterSync: return effect_asm("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;", "", kAlways);
    case Primitive::RegistersDown: return nothing(intrinsic(Intrinsic::nvvm_setmaxnreg_dec_sync_aligned_u32, {arg(0)}));
    case Primitive::RegistersUp: return nothing(intrinsic(Intrinsic::nvvm_setmaxnreg_inc_sync_aligned_u32, {arg(0)}));
    case Primitive::Ex2: return {intrinsic(Intrinsic::nvvm_ex2_approx_ftz, {arg(0)}, {b_.getFloatTy()})};
    case Primitive::Lg2: return {intrinsic(Intrinsic::nvvm_lg2_approx_f, {arg(0)})};
    case Primitive::Rcp: return {intrinsic(Intrinsic::nvvm_rcp_approx_ftz_f, {arg(0)})};
    case Primitive::Rsqrt: return {intrinsic(Intrinsic::nvvm_rsqrt_approx_f, {arg(0)})};
    case Primitive::TanhApprox: return {pure_asm("tanh.approx.f32 $0, $1;", "=f,f")};
    case Primitive::PackBf16x2: return {i32(intrinsic(Intrinsic::nvvm_ff2bf16x2_rn, {arg(1), arg(0)}))};
    case Primitive::PackF16x2: return {i32(pack_f16())};
    case Primitive::PackE4m3x2: return {pack_codes(Intrinsic::nvvm_ff_to_e4m3x2_rn)};
    case Primitive::PackE5m2x2: return {pack_codes(Intrinsic::nvvm_ff_to_e5m2x2_rn)};
    case Primitive::PackE4m3x4: return {pack_four_codes("e4m3")};
    case Primitive::PackE5m2x4: return {pack_four_codes("e5m2")};
    case Primitive::UnpackE4m3x2: return {unpack_codes(Intrinsic::nvvm_e4m3x2_to_f16x2_rn)};
    case Primitive::UnpackE5m2x2: return {unpack_codes(Intrinsic::nvvm_e5m2x2_to_f16x2_rn)};
    case Primitive::PickBytes: return {intrinsic(Intrinsic::nvvm_prmt, {arg(0), arg(1), arg(2)})};
    case Primitive::LdmatrixX1: return matrix_load(Intrinsic::nvvm_ldmatrix_sync_aligned_m8n8_x1_b16);
    case Primitive::LdmatrixX2: return matrix_load(Intrinsic::nvvm_ldmatrix_sync_aligned_m8n8_x2_b16);
    case Primitive::LdmatrixX4: return matrix_load(Intrinsic::nvvm_ldmatrix_sync_aligned_m8n8_x4_b16);
    case Primitive::LdmatrixX1Trans: return matrix_load(Intrinsic::nvvm_ldmatrix_sync_aligned_m8n8_x1_trans_b16);
    case Primitive::LdmatrixX2Trans: return matrix_load(Intrinsic::nvvm_ldmatrix_sync_aligned_m8n8_x2_trans_b16);
    case Primitive::LdmatrixX4Trans: return matrix_load(Intrinsic::nvvm_ldmatrix_sync_aligned_m8n8_x4_trans_b16);
    case Primitive::StmatrixX4: return matrix_store(Intrinsic::nvvm_stmatrix_sync_aligned_m8n8_x4_b16);
    case Primitive::StmatrixX4Trans: return matrix_store(Intrinsic::nvvm_stmatrix_sync_aligned_m8n8_x4_trans_b16);
    case Primitive::MmaF16K8: return half_product(Intrinsic::nvvm_mma_m16n8k8_row_col_f32_f32);
    case Primitive::MmaF16K16: return half_product(Intrinsic::nvvm_mma_m16n8k16_row_col_f32_f32);
    case Primitive::MmaBf16K8: return float_product(Intrinsic::nvvm_mma_m16n8k8_row_col_bf16);
    case Primitive::MmaBf16K16: return float_product(Intrinsic::nvvm_mma_m16n8k16_row_col_bf16);
    case Primitive::MmaTf32K8: return float_product(Intrinsic::nvvm_mma_m16n8k8_row_col_tf32);
    case Primitive::MmaE4m3E4m3K32: return float_product(Intrinsic::nvvm_mma_m16n8k32_row_col_f32_e4m3_e4m3_f32);
    case Primitive::MmaE4m3E5m2K32: return float_product(Intrinsic::nvvm_mma_m16n8k32_row_col_f32_e4m3_e5m2_f32);
    case Primitive::MmaE5m2E4m3K32: return float_product(Intrinsic::nvvm_mma_m16n8k32_row_col_f32_e5m2_e4m3_f32);
    case Primitive::MmaE5m2E5m2K32: return float_product(Intrinsic::nvvm_mma_m16n8k32_row_col_f32_e5m2_e5m2_f32);
    case Primitive::MmaS8S8K16: return byte_product_k16();
    case Primitive::MmaS8S8K32: return int_product(Intrinsic::nvvm_mma_m16n8k32_row_col_s8);
    case Primitive::MmaU8U8K32: return int_product(Intrinsic::nvvm_mma_m16n8k32_row_col_u8);
    case Primitive::WgmmaF16: return warpgroup_product("f16.f16", 16);
    case Primitive::WgmmaBf16: return warpgroup_product("bf16.bf16", 16);
    case Primitive::WgmmaTf32: return warpgroup_product("tf32.tf32", 8);
    case Primitive::WgmmaE4m3E4m3: return warpgroup_product("e4m3.e4m3", 32);
    case Primitive::WgmmaE4m3E5m2: return warpgroup_product("e4m3.e5m2", 32);
    case Primitive::WgmmaE5m2E4m3: return warpgroup_product("e5m2.e4m3", 32);
    case Primitive::WgmmaE5m2E5m2: return warpgroup_product("e5m2.e5m2", 32);
    case Primitive::WgmmaWait: return warpgroup_wait();
    case Primitive::FenceProxyAsync: return nothing(intrinsic(Intrinsic::nvvm_fence_proxy_async_shared_cta));
    case Primitive::MbarInit: return effect_asm("mbarrier.init.shared::cta.b64 [$0], $1;", "r,r,r", 2);
    case Primitive::MbarInval: return effect_asm("mbarrier.inval.shared::cta.b64 [$0];", "r,r", 1);
    case Primitive::FenceMbarInit: return effect_asm("fence.mbarrier_init.release.cluster;", "", kAlways);
    case Primitive::MbarExpect: return effect_asm("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r,r", 2);
    case Primitive::MbarArrive: return effect_asm("mbarrier.arrive.shared::cta.b64 _, [$0];", "r,r", 1);
    case Primitive::MbarWait:
      return effect_asm("{\n.reg .pred p;\nwaiting:\nmbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1;\n@p bra over;\nbra waiting;\nover:\n}",
                        "r,r", kAlways);
    case Primitive::MbarArriveAt:
      // Ranks of lanes that do not arrive need not exist.
      return effect_asm(fmt::format("mapa.shared::cluster.u32 at, $0, $1;\n{}mbarrier.arrive.shared::cluster.b64 _, [at];", certain(2) ? "" : "@p "),
                        "r,r,r", 2, ".reg .b32 at;\n");
    case Primitive::StoreAsync:
      return effect_asm("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [to], $1, [at];", "r,r,r,r,r", 4,
                        ".reg .b32 to, at;\nmapa.shared::cluster.u32 to, $0, $3;\nmapa.shared::cluster.u32 at, $2, $3;\n");
    case Primitive::TmaLoad2: return bulk_load(2);
    case Primitive::TmaLoad3: return bulk_load(3);
    case Primitive::TmaLoad4: return bulk_load(4);
    case Primitive::TmaLoad5: return bulk_load(5);
    case Primitive::TmaLoadKept2: return bulk_load(2, true);
    case Primitive::TmaLoadKept3: return bulk_load(3, true);
    case Primitive::TmaLoadKept4: return bulk_load(4, true);
    case Primitive::TmaLoadKept5: return bulk_load(5, true);
    case Primitive::TmaStoreKept2: return bulk_store(2, true);
    case Primitive::TmaStoreKept3: return bulk_store(3, true);
    case Primitive::TmaStoreKept4: return bulk_store(4, true);
    case Primitive::TmaStoreKept5: return bulk_store(5, true);
    case Primitive::TmaStore2: return bulk_store(2);
    case Primitive::TmaStore3: return bulk_store(3);
    case Primitive::TmaStore4: return bulk_store(4);
    case Primitive::TmaStore5: return bulk_store(5);
    case Primitive::BulkCommit: return effect_asm("cp.async.bulk.commit_group;", "", kAlways);
    case Primitive::BulkWaitRead: return effect_asm("cp.async.bulk.wait_group.read $0;", "n", kAlways);
    case Primitive::TmaMulticast2: return multicast(2);
    case Primitive::TmaMulticast3: return multicast(3);
    case Primitive::TmaMulticast4: return multicast(4);
    case Primitive::TmaMulticast5: return multicast(5);
    case Primitive::TmaMulticastKept2: return multicast(2, true);
    case Primitive::TmaMulticastKept3: return multicast(3, true);
    case Primitive::TmaMulticastKept4: return multicast(4, true);
    case Primitive::TmaMulticastKept5: return multicast(5, true);
    case Primitive::CpAsync16: return nothing(intrinsic(Intrinsic::nvvm_cp_async_cg_shared_global_16_s, {shared(0), arg(1), arg(2)}));
    case Primitive::CpAsync8: return nothing(intrinsic(Intrinsic::nvvm_cp_async_ca_shared_global_8_s, {shared(0), arg(1), arg(2)}));
    case Primitive::CpAsync4: return nothing(intrinsic(Intrinsic::nvvm_cp_async_ca_shared_global_4_s, {shared(0), arg(1), arg(2)}));
    case Primitive::CachePolicy: return {cache_policy()};
    case Primitive::LoadKept8: return kept_load("b8");
    case Primitive::LoadKept16: return kept_load("b16");
    case Primitive::LoadKept: return kept_load("b32");
    case Primitive::StoreKept8: return kept_store("b8");
    case Primitive::StoreKept16: return kept_store("b16");
    case Primitive::StoreKept: return kept_store("b32");
    case Primitive::CpAsync16Kept: return copy_kept();
    case Primitive::CpAsyncCommit: return nothing(intrinsic(Intrinsic::nvvm_cp_async_commit_group));
    case Primitive::CpAsyncWait: return nothing(intrinsic(Intrinsic::nvvm_cp_async_wait_group, {arg(0)}));
  }
  TESSERA_UNREACHABLE("bad primitive");
}

/// Users of a register list read single registers; each gets its value without a struct between.
void replace(llvm::CallInst& call, const Values& values) {
  llvm::IRBuilder<> b(&call);
  llvm::Type* type = call.getType();
  if (type->isVoidTy()) {
    TESSERA_ASSERT(values.empty(), "a primitive without result has one");
  } else if (!type->isStructTy()) {
    TESSERA_ASSERT(values.size() == 1, "a scalar primitive has several results");
    call.replaceAllUsesWith(b.CreateBitCast(values[0], type));
  } else {
    TESSERA_ASSERT(values.size() == type->getStructNumElements(),
                   fmt::format("{} has {} results", call.getCalledFunction()->getName().str(), values.size()));
    Values cast;
    for (std::size_t i = 0; i < values.size(); ++i) cast.push_back(b.CreateBitCast(values[i], type->getStructElementType(static_cast<unsigned>(i))));
    for (llvm::User* u : llvm::make_early_inc_range(call.users())) {
      auto* e = llvm::dyn_cast<llvm::ExtractValueInst>(u);
      if (!e || e->getNumIndices() != 1) continue;
      e->replaceAllUsesWith(cast[e->getIndices()[0]]);
      e->eraseFromParent();
    }
    if (!call.use_empty()) {
      Value* whole = llvm::PoisonValue::get(type);
      for (std::size_t i = 0; i < cast.size(); ++i) whole = b.CreateInsertValue(whole, cast[i], static_cast<unsigned>(i));
      call.replaceAllUsesWith(whole);
    }
  }
  call.eraseFromParent();
}

}  // namespace

int lower_primitives(llvm::Module& module, const GpuTarget& target) {
  int ptx = target.ptx();
  for (llvm::Function& f : llvm::make_early_inc_range(module)) {
    const std::optional<Primitive> p = gpu::primitive_of(f);
    if (!p) {
      TESSERA_ASSERT(!f.getName().starts_with("dp."), fmt::format("there is no device primitive {}", f.getName().str()));
      continue;
    }
    const gpu::PrimitiveInfo& row = gpu::info(*p);
    TESSERA_ASSERT(f.use_empty() || row.on(target), fmt::format("{} needs sm_{}, the target is {}", row.name, row.sm, target.name()));
    if (!f.use_empty()) ptx = std::max(ptx, row.ptx);
    for (llvm::User* u : llvm::make_early_inc_range(f.users())) {
      auto* call = llvm::dyn_cast<llvm::CallInst>(u);
      TESSERA_ASSERT(call && call->getCalledFunction() == &f, fmt::format("{} is used other than by a call", row.name));
      replace(*call, Lowering(*call, target).lower(*p));
    }
    f.eraseFromParent();
  }
  return ptx;
}

}  // namespace tessera::nvptx
