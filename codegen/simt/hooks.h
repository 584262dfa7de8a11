// What lowered code calls: one host function a primitive, and the checks of ordinary accesses.
//
// Every function takes the thread and the site, then the fixed arguments of the primitive, then, where the primitive has a register list, an array
// that holds the inputs, receives the outputs, and their counts (inputs | outputs << 16).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "codegen/gpu/primitives.h"
#include "codegen/simt/cta.h"

namespace tessera::simt {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// How an ordinary access touches memory, as a constant operand.
inline u32 code(Touch t) { return static_cast<u32>(t); }

namespace hooks {

/// Host address of `bytes` at a shared or global address; of scratch if the access is a fault.
void* shared_access(Thread* t, u32 site, u32 address, u32 bytes, u32 align, u32 touch);
void* global_access(Thread* t, u32 site, void* address, u32 bytes, u32 align, u32 touch);
u32 shared_base(Thread* t);

u32 Tid(Thread* t, u32 site);
u32 Ctaid(Thread* t, u32 site);
u32 Nctaid(Thread* t, u32 site);

u32 ShflBfly(Thread* t, u32 site, u32 value, u32 mask);
u32 ShflIdx(Thread* t, u32 site, u32 value, u32 lane);
u32 ShflUp(Thread* t, u32 site, u32 value, u32 delta);
void WarpSync(Thread* t, u32 site);

void KeepAbove(Thread* t, u32 site, float value);

void RegistersDown(Thread* t, u32 site, u32 count);
void RegistersUp(Thread* t, u32 site, u32 count);
void BarSyncAll(Thread* t, u32 site);
void BarSync(Thread* t, u32 site, u32 id, u32 count);
void BarArrive(Thread* t, u32 site, u32 id, u32 count);
void ClusterSync(Thread* t, u32 site);

float Ex2(Thread* t, u32 site, float x);
float Lg2(Thread* t, u32 site, float x);
float Rcp(Thread* t, u32 site, float x);
float Rsqrt(Thread* t, u32 site, float x);
float TanhApprox(Thread* t, u32 site, float x);
u32 PackBf16x2(Thread* t, u32 site, float low, float high);
u32 PackF16x2(Thread* t, u32 site, float low, float high);
u32 PackE4m3x2(Thread* t, u32 site, float low, float high);
u32 PackE5m2x2(Thread* t, u32 site, float low, float high);
u32 PackE4m3x4(Thread* t, u32 site, float a, float b, float c, float d);
u32 PackE5m2x4(Thread* t, u32 site, float a, float b, float c, float d);
u32 UnpackE4m3x2(Thread* t, u32 site, u32 codes);
u32 UnpackE5m2x2(Thread* t, u32 site, u32 codes);
u32 PickBytes(Thread* t, u32 site, u32 low, u32 high, u32 which);

void LdmatrixX1(Thread* t, u32 site, u32 address, u32* registers, u32 counts);
void LdmatrixX2(Thread* t, u32 site, u32 address, u32* registers, u32 counts);
void LdmatrixX4(Thread* t, u32 site, u32 address, u32* registers, u32 counts);
void LdmatrixX1Trans(Thread* t, u32 site, u32 address, u32* registers, u32 counts);
void LdmatrixX2Trans(Thread* t, u32 site, u32 address, u32* registers, u32 counts);
void LdmatrixX4Trans(Thread* t, u32 site, u32 address, u32* registers, u32 counts);
void StmatrixX4(Thread* t, u32 site, u32 address, u32* registers, u32 counts);
void StmatrixX4Trans(Thread* t, u32 site, u32 address, u32* registers, u32 counts);

void MmaF16K8(Thread* t, u32 site, u32* registers, u32 counts);
void MmaF16K16(Thread* t, u32 site, u32* registers, u32 counts);
void MmaBf16K8(Thread* t, u32 site, u32* registers, u32 counts);
void MmaBf16K16(Thread* t, u32 site, u32* registers, u32 counts);
void MmaTf32K8(Thread* t, u32 site, u32* registers, u32 counts);
void MmaE4m3E4m3K32(Thread* t, u32 site, u32* registers, u32 counts);
void MmaE4m3E5m2K32(Thread* t, u32 site, u32* registers, u32 counts);
void MmaE5m2E4m3K32(Thread* t, u32 site, u32* registers, u32 counts);
void MmaE5m2E5m2K32(Thread* t, u32 site, u32* registers, u32 counts);
void MmaS8S8K16(Thread* t, u32 site, u32* registers, u32 counts);
void MmaS8S8K32(Thread* t, u32 site, u32* registers, u32 counts);
void MmaU8U8K32(Thread* t, u32 site, u32* registers, u32 counts);

void WgmmaF16(Thread* t, u32 site, u32 a, u32 b, u32 steps, u32 accumulate, u32 a_high, u32 b_high, u32 a_outer, u32 b_outer, u32 a_step, u32 a_panel,
              u32 b_step, u32 b_panel, u32 done, u32* registers, u32 counts);
void WgmmaBf16(Thread* t, u32 site, u32 a, u32 b, u32 steps, u32 accumulate, u32 a_high, u32 b_high, u32 a_outer, u32 b_outer, u32 a_step,
               u32 a_panel, u32 b_step, u32 b_panel, u32 done, u32* registers, u32 counts);
void WgmmaTf32(Thread* t, u32 site, u32 a, u32 b, u32 steps, u32 accumulate, u32 a_high, u32 b_high, u32 a_outer, u32 b_outer, u32 a_step,
               u32 a_panel, u32 b_step, u32 b_panel, u32 done, u32* registers, u32 counts);
void WgmmaE4m3E4m3(Thread* t, u32 site, u32 a, u32 b, u32 steps, u32 accumulate, u32 a_high, u32 b_high, u32 a_outer, u32 b_outer, u32 a_step,
                   u32 a_panel, u32 b_step, u32 b_panel, u32 done, u32* registers, u32 counts);
void WgmmaE4m3E5m2(Thread* t, u32 site, u32 a, u32 b, u32 steps, u32 accumulate, u32 a_high, u32 b_high, u32 a_outer, u32 b_outer, u32 a_step,
                   u32 a_panel, u32 b_step, u32 b_panel, u32 done, u32* registers, u32 counts);
void WgmmaE5m2E4m3(Thread* t, u32 site, u32 a, u32 b, u32 steps, u32 accumulate, u32 a_high, u32 b_high, u32 a_outer, u32 b_outer, u32 a_step,
                   u32 a_panel, u32 b_step, u32 b_panel, u32 done, u32* registers, u32 counts);
void WgmmaE5m2E5m2(Thread* t, u32 site, u32 a, u32 b, u32 steps, u32 accumulate, u32 a_high, u32 b_high, u32 a_outer, u32 b_outer, u32 a_step,
                   u32 a_panel, u32 b_step, u32 b_panel, u32 done, u32* registers, u32 counts);
void WgmmaWait(Thread* t, u32 site, u32 allowed, u32* registers, u32 counts);
void FenceProxyAsync(Thread* t, u32 site);

void MbarInit(Thread* t, u32 site, u32 address, u32 arrivals, u32 when);
void MbarInval(Thread* t, u32 site, u32 address, u32 when);
void FenceMbarInit(Thread* t, u32 site);
void MbarExpect(Thread* t, u32 site, u32 address, u32 bytes, u32 when);
void MbarArrive(Thread* t, u32 site, u32 address, u32 when);
void MbarWait(Thread* t, u32 site, u32 address, u32 parity);
void MbarArriveAt(Thread* t, u32 site, u32 address, u32 rank, u32 when);
void StoreAsync(Thread* t, u32 site, u32 address, u32 word, u32 barrier, u32 rank, u32 when);
void TmaLoad2(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1);
void TmaLoad3(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2);
void TmaLoad4(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3);
void TmaLoad5(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4);
void TmaLoadKept2(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u64 policy);
void TmaLoadKept3(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u64 policy);
void TmaLoadKept4(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u64 policy);
void TmaLoadKept5(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4, u64 policy);
void TmaStore2(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1);
void TmaStore3(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2);
void TmaStore4(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3);
void TmaStore5(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4);
void TmaStoreKept2(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u64 policy);
void TmaStoreKept3(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u64 policy);
void TmaStoreKept4(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u64 policy);
void TmaStoreKept5(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4, u64 policy);
void BulkCommit(Thread* t, u32 site);
void BulkWaitRead(Thread* t, u32 site, u32 allowed);
void TmaMulticast2(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1);
void TmaMulticast3(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2);
void TmaMulticast4(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u32 c3);
void TmaMulticast5(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4);

u64 CachePolicy(Thread* t, u32 site, u32 order);
u32 LoadKept8(Thread* t, u32 site, void* address, u64 policy);
u32 LoadKept16(Thread* t, u32 site, void* address, u64 policy);
void LoadKept(Thread* t, u32 site, void* address, u64 policy, u32* registers, u32 counts);
void StoreKept8(Thread* t, u32 site, void* address, u64 policy, u32 value);
void StoreKept16(Thread* t, u32 site, void* address, u64 policy, u32 value);
void StoreKept(Thread* t, u32 site, void* address, u64 policy, u32* registers, u32 counts);

void TmaMulticastKept2(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u64 policy);
void TmaMulticastKept3(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u64 policy);
void TmaMulticastKept4(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u32 c3, u64 policy);
void TmaMulticastKept5(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4,
                       u64 policy);

void CpAsync16(Thread* t, u32 site, u32 address, void* source, u32 bytes);
void CpAsync16Kept(Thread* t, u32 site, u32 address, void* source, u32 bytes, u64 policy);
void CpAsync8(Thread* t, u32 site, u32 address, void* source, u32 bytes);
void CpAsync4(Thread* t, u32 site, u32 address, void* source, u32 bytes);
void CpAsyncCommit(Thread* t, u32 site);
void CpAsyncWait(Thread* t, u32 site, u32 allowed);

}  // namespace hooks

/// The thread tells a barrier what it has done and seen.
void gather(Thread& t, Barrier& b);

/// Waits until all lanes of the warp are in the same collective; the last one runs `perform` for all. The thread's operands, registers and
/// counts are set before.
void collective(Thread& t, u32 site, gpu::Primitive p, void (*perform)(Cta& cta, Thread* lanes, u32 site));

/// Names of the functions that lowered code calls.
inline constexpr const char* shared_access_name = "simt_shared_access";
inline constexpr const char* global_access_name = "simt_global_access";
inline constexpr const char* shared_base_name = "simt_shared_base";
std::string hook_name(gpu::Primitive p);
/// All of them, and the conversions that code generation calls for.
std::vector<std::pair<std::string, void*>> hook_symbols();

}  // namespace tessera::simt
