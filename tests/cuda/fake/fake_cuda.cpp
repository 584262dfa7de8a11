#include "tests/cuda/fake/fake_cuda.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/cuda_driver.h"

using namespace tessera::cuda;
using R = Result;

// The handles of the driver are ours to define here.
struct CUctx_st {
  int ordinal = 0;
};
struct CUfunc_st {
  std::vector<std::size_t> words;  ///< of each parameter
  int shared_bytes = 48 << 10;
  bool checks = false;
  bool spills = false;
};
struct CUmod_st {
  std::map<std::string, CUfunc_st> functions;
};
struct CUlib_st : CUmod_st {};
struct CUstream_st : fake_cuda::Stream {};
struct CUgraphNode_st {
  fake_cuda::Launch launch;
  bool enabled = true;
};
struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};
struct CUgraphExec_st {
  std::vector<CUgraphNode_st*> order;
  std::map<CUgraphNode_st*, CUgraphNode_st> nodes;  ///< of the graph -> as they run
};
struct CUevent_st {
  bool timed = true;
  double ms = -1;
};

namespace {

fake_cuda::State& state() {
  static fake_cuda::State s = [] { return fake_cuda::State{}; }();
  static const bool configured = [] {
    if (const char* c = std::getenv("FAKE_CUDA_CAPABILITY")) {
      s.major = std::atoi(c) / 10;
      s.minor = std::atoi(c) % 10;
    }
    if (const char* c = std::getenv("FAKE_CUDA_SPILLS")) s.spilling = std::atoi(c);
    return true;
  }();
  (void)configured;
  return s;
}

struct Memory {
  std::mutex mutex;
  std::map<DevicePointer, std::size_t> blocks;
  bool knows(DevicePointer p) {
    const std::lock_guard lock(mutex);
    auto at = blocks.upper_bound(p);
    if (at == blocks.begin()) return false;
    --at;
    return p < at->first + at->second;
  }
};
Memory& memory() {
  static Memory& m = *new Memory;
  return m;
}

std::array<CUctx_st, 8>& contexts() {
  static std::array<CUctx_st, 8> c = [] {
    std::array<CUctx_st, 8> made;
    for (int i = 0; i < 8; ++i) made[static_cast<std::size_t>(i)].ordinal = i;
    return made;
  }();
  return c;
}

/// Contexts pushed in this thread. Nothing here has a destructor, as a driver must serve destructors that run at exit.
struct Stack {
  std::array<CUctx_st*, 64> at{};
  std::size_t size = 0;
  bool empty() const { return size == 0; }
  CUctx_st* back() const { return at.at(size - 1); }
};
Stack& stack() {
  static thread_local Stack s;
  return s;
}

double now_ms() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

R bad(bool wrong) { return state().sticky ? static_cast<R>(state().sticky) : wrong ? R::InvalidValue : R::Success; }
R in_context() { return state().sticky ? static_cast<R>(state().sticky) : stack().empty() ? R::InvalidContext : R::Success; }

/// The number after `key`, without its dot: ".version 7.8" is 78, ".target sm_90a" is 90.
int number_after(const std::string& text, const std::string& key) {
  std::size_t at = text.find(key);
  if (at == std::string::npos) return -1;
  int n = 0;
  for (at += key.size(); at < text.size() && (std::isdigit(static_cast<unsigned char>(text[at])) || text[at] == '.'); ++at) {
    if (text[at] != '.') n = n * 10 + (text[at] - '0');
  }
  return n;
}

/// A launch as this driver remembers it.
void write_down(fake_cuda::Launch& l, const LaunchConfig& c, const CUfunc_st& f, void** parameters) {
  l = {c.grid_x, c.grid_y, c.grid_z, c.block_x * c.block_y * c.block_z, c.shared_bytes, c.stream, stack().empty() ? nullptr : stack().back(),
       1,        0,        {}};
  for (unsigned i = 0; i < c.attribute_count; ++i) {
    if (c.attributes[i].kind == LaunchAttributeKind::ClusterDimension) l.cluster = c.attributes[i].value.cluster[0];
  }
  for (std::size_t i = 0; i < f.words.size(); l.words += f.words[i++]) {
    if (l.words + f.words[i] <= l.parameters.size()) std::memcpy(&l.parameters[l.words], parameters[i], 8 * f.words[i]);
  }
}
bool fill(const KernelNode& k, fake_cuda::Launch& l) {
  if (k.grid_x == 0 || static_cast<int>(k.shared_bytes) > k.function->shared_bytes) return false;
  write_down(l, {k.grid_x, k.grid_y, k.grid_z, k.block_x, k.block_y, k.block_z, k.shared_bytes, nullptr, nullptr, 0}, *k.function, k.parameters);
  return true;
}

R assemble(CUmod_st& m, const void* image, unsigned count, JitOption* options, void** values) {
  if (const R r = in_context(); r != R::Success) return r;
  // Machine code is the text behind four bytes: for this GPU alone.
  const bool machine_code = std::strncmp(static_cast<const char*>(image), "\177ELF", 4) == 0;
  const std::string ptx = static_cast<const char*>(image) + (machine_code ? 4 : 0);
  const int sm = number_after(ptx, ".target sm_"), version = number_after(ptx, ".version ");
  if (sm < 0 || version < 0) {
    for (unsigned i = 0; i < count; ++i) {
      if (options[i] == JitOption::ErrorLogBuffer) std::strcpy(static_cast<char*>(values[i]), "ptxas fatal: line 1 is no PTX");
    }
    return R::InvalidPtx;
  }
  if (version > state().newest_ptx) return R::UnsupportedPtxVersion;
  const int capability = state().major * 10 + state().minor;
  const bool specific = ptx.find(".target sm_" + std::to_string(sm) + "a") != std::string::npos;
  if (specific || machine_code ? sm != capability : sm > capability) return R::NoBinaryForGpu;
  for (std::size_t at = ptx.find(".entry "); at != std::string::npos; at = ptx.find(".entry ", at + 1)) {
    const std::size_t open = ptx.find('(', at), close = ptx.find(')', open);
    CUfunc_st f;
    for (std::size_t p = ptx.find(".param", open); p < close; p = ptx.find(".param", p + 1)) {
      // An array of bytes, a tensor map, or one word.
      const std::size_t bytes = ptx.find('[', p), end = ptx.find('\n', p);
      f.words.push_back(bytes < end ? std::strtoul(ptx.c_str() + bytes + 1, nullptr, 10) / 8 : 1);
    }
    f.spills = state().modules_loaded < state().spilling;
    f.checks = ptx.find("// checks") != std::string::npos;
    m.functions.emplace(ptx.substr(at + 7, open - at - 7), f);
  }
  state().assembler_level = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == JitOption::OptimizationLevel) state().assembler_level = static_cast<int>(reinterpret_cast<std::intptr_t>(values[i]));
  }
  state().machine_code = machine_code;
  ++state().modules_loaded;
  ++state().modules_alive;
  return R::Success;
}

template <class Code>
R load(Code** code, const void* image, unsigned count, JitOption* options, void** values) {
  auto made = std::make_unique<Code>();
  const R r = assemble(*made, image, count, options, values);
  if (r == R::Success) *code = made.release();
  return r;
}

}  // namespace

extern "C" {
#define FAKE __attribute__((visibility("default"))) R

__attribute__((visibility("default"))) fake_cuda::State* fake_cuda_state() { return &state(); }

FAKE cuInit(unsigned) { return static_cast<R>(state().init_result); }
FAKE cuDriverGetVersion(int* v) { return *v = state().version, R::Success; }
FAKE cuGetErrorName(R r, const char** name) { return *name = r == R::OutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OTHER", R::Success; }
FAKE cuGetErrorString(R r, const char** text) { return *text = r == R::OutOfMemory ? "out of memory" : "other error", R::Success; }

FAKE cuDeviceGetCount(int* n) { return *n = state().devices, R::Success; }
FAKE cuDeviceGet(DeviceHandle* d, int ordinal) { return *d = ordinal, bad(ordinal >= state().devices); }
FAKE cuDeviceGetName(char* name, int size, DeviceHandle) { return std::strncpy(name, "Fake GPU", static_cast<std::size_t>(size)), R::Success; }
FAKE cuDeviceGetAttribute(int* v, DeviceAttribute a, DeviceHandle) {
  switch (a) {
    case DeviceAttribute::MultiprocessorCount: *v = 132; break;
    case DeviceAttribute::L2CacheSize: *v = 50 << 20; break;
    case DeviceAttribute::MaxThreadsPerMultiprocessor: *v = 2048; break;
    case DeviceAttribute::ComputeCapabilityMajor: *v = state().major; break;
    case DeviceAttribute::ComputeCapabilityMinor: *v = state().minor; break;
    case DeviceAttribute::MaxSharedMemoryPerMultiprocessor: *v = 233472; break;
    case DeviceAttribute::PageableMemoryAccess: *v = 0; break;
    case DeviceAttribute::MaxSharedMemoryPerBlockOptin: *v = state().most_shared_bytes; break;
  }
  return R::Success;
}
FAKE cuDeviceTotalMem_v2(std::size_t* bytes, DeviceHandle) { return *bytes = state().memory_bytes, R::Success; }
FAKE cuDevicePrimaryCtxRetain(CUctx_st** c, DeviceHandle d) {
  return ++state().retained, *c = &contexts().at(static_cast<std::size_t>(d)), bad(false);
}
FAKE cuDevicePrimaryCtxRelease_v2(DeviceHandle) { return --state().retained, R::Success; }
FAKE cuCtxGetCurrent(CUctx_st** c) { return *c = stack().empty() ? nullptr : stack().back(), R::Success; }
FAKE cuCtxPushCurrent_v2(CUctx_st* c) { return stack().at.at(stack().size++) = c, R::Success; }
FAKE cuCtxPopCurrent_v2(CUctx_st** c) { return *c = stack().back(), --stack().size, R::Success; }

FAKE cuModuleLoadDataEx(CUmod_st** module, const void* image, unsigned count, JitOption* options, void** values) {
  return load(module, image, count, options, values);
}
FAKE cuModuleUnload(CUmod_st* m) {
  delete m;
  --state().modules_alive;
  return R::Success;
}
FAKE cuModuleGetFunction(CUfunc_st** f, CUmod_st* m, const char* name) {
  const auto at = m->functions.find(name);
  if (at == m->functions.end()) return static_cast<R>(500);
  return *f = &at->second, R::Success;
}
FAKE cuFuncSetAttribute(CUfunc_st* f, FunctionAttribute a, int value) {
  if (a == FunctionAttribute::MaxDynamicSharedSizeBytes) {
    if (value > state().most_shared_bytes) return R::InvalidValue;
    f->shared_bytes = value;
  }
  return R::Success;
}
FAKE cuFuncGetAttribute(int* v, FunctionAttribute a, CUfunc_st* f) {
  return *v = a == FunctionAttribute::NumRegs ? 40 : f->spills ? 64 : 0, R::Success;
}
FAKE cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, CUfunc_st*, int threads, std::size_t) { return *n = 2048 / threads, R::Success; }

FAKE cuLaunchKernelEx(const LaunchConfig* c, CUfunc_st* f, void** parameters, void**) {
  if (state().launch_result) return static_cast<R>(state().launch_result);
  if (const R r = in_context(); r != R::Success) return r;
  if (static_cast<int>(c->shared_bytes) > f->shared_bytes || c->grid_x == 0) return R::InvalidValue;
  // Others may have come round to the same place.
  static std::mutex launching;
  const std::lock_guard lock(launching);
  fake_cuda::Launch& l = state().launch[static_cast<std::size_t>(state().launches++) % state().launch.size()];
  write_down(l, *c, *f, parameters);
  if (f->checks && state().failed_check) {
    const std::int64_t report[2] = {state().failed_check, state().failed_instance};
    std::memcpy(reinterpret_cast<void*>(l.parameters.at(l.words - 1)), report, sizeof report);
  }
  return R::Success;
}

FAKE cuGraphCreate(CUgraph_st** g, unsigned) { return *g = new CUgraph_st, R::Success; }
FAKE cuGraphDestroy(CUgraph_st* g) { return delete g, R::Success; }
FAKE cuGraphAddKernelNode(CUgraphNode_st** node, CUgraph_st* g, CUgraphNode_st* const* after, std::size_t count, const KernelNode* k) {
  if (const R r = in_context(); r != R::Success) return r;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::none_of(g->nodes.begin(), g->nodes.end(), [&](const auto& n) { return n.get() == after[i]; })) return R::InvalidValue;
  }
  if (!fill(*k, g->nodes.emplace_back(std::make_unique<CUgraphNode_st>())->launch)) return R::InvalidValue;
  return *node = g->nodes.back().get(), R::Success;
}
FAKE cuGraphInstantiateWithFlags(CUgraphExec_st** exec, CUgraph_st* g, unsigned long long) {
  *exec = new CUgraphExec_st;
  for (const auto& n : g->nodes) {
    (*exec)->order.push_back(n.get());
    (*exec)->nodes.emplace(n.get(), *n);
  }
  return R::Success;
}
FAKE cuGraphExecDestroy(CUgraphExec_st* exec) { return delete exec, R::Success; }
FAKE cuGraphExecKernelNodeSetParams(CUgraphExec_st* exec, CUgraphNode_st* node, const KernelNode* k) {
  const auto at = exec->nodes.find(node);
  return at == exec->nodes.end() || !fill(*k, at->second.launch) ? R::InvalidValue : in_context();
}
FAKE cuGraphNodeSetEnabled(CUgraphExec_st* exec, CUgraphNode_st* node, unsigned enabled) {
  const auto at = exec->nodes.find(node);
  if (at == exec->nodes.end()) return R::InvalidValue;
  return at->second.enabled = enabled != 0, in_context();
}
FAKE cuGraphLaunch(CUgraphExec_st* exec, CUstream_st* stream) {
  for (CUgraphNode_st* n : exec->order) {
    if (!exec->nodes.at(n).enabled) continue;
    fake_cuda::Launch& l = state().launch[static_cast<std::size_t>(state().launches++) % state().launch.size()];
    l = exec->nodes.at(n).launch;
    l.stream = stream;
  }
  return R::Success;
}

#ifndef FAKE_CUDA_OF_11_8
FAKE cuLibraryLoadData(CUlib_st** library, const void* image, JitOption* options, void** values, unsigned count, LibraryOption*, void**, unsigned) {
  ++state().libraries_loaded;
  return load(library, image, count, options, values);
}
FAKE cuLibraryUnload(CUlib_st* library) {
  delete library;
  --state().modules_alive;
  return R::Success;
}
FAKE cuLibraryGetModule(CUmod_st** module, CUlib_st* library) {
  if (state().sticky) return static_cast<R>(state().sticky);
  if (state().module_result) return static_cast<R>(state().module_result);
  return *module = library, in_context();
}
FAKE cuStreamGetId(CUstream_st* stream, unsigned long long* number) { return *number = reinterpret_cast<std::uintptr_t>(stream) / 8, in_context(); }
// The rules are those of the CUDA Driver API.
FAKE cuTensorMapEncodeTiled(TensorMap* map, TensorMapType type, std::uint32_t rank, void* address, const std::uint64_t* extents,
                            const std::uint64_t* strides, const std::uint32_t* box, const std::uint32_t* element_strides,
                            TensorMapInterleave interleave, TensorMapSwizzle swizzle, TensorMapPromotion promotion, TensorMapFill fill) {
  if (state().encode_result) return static_cast<R>(state().encode_result);
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const std::uint32_t bytes = type == TensorMapType::U8 ? 1 : type == TensorMapType::U16 ? 2 : 4;
  bool ok = rank >= 1 && rank <= 5 && at % 16 == 0 && reinterpret_cast<std::uintptr_t>(map) % 64 == 0 && box[0] * bytes <= 128;
  for (std::uint32_t a = 0; a < rank && ok; ++a) {
    ok = extents[a] > 0 && extents[a] <= std::uint64_t{1} << 32 && box[a] > 0 && box[a] <= 256 && element_strides[a] == 1;
    if (a > 0) ok = ok && strides[a - 1] % 16 == 0 && strides[a - 1] > 0 && strides[a - 1] < std::uint64_t{1} << 40;
  }
  if (!ok) return R::InvalidValue;
  ++state().encoded;
  fake_cuda::Map m{at,
                   static_cast<int>(type),
                   static_cast<int>(interleave),
                   static_cast<int>(swizzle),
                   static_cast<int>(promotion),
                   static_cast<int>(fill),
                   rank,
                   {},
                   {},
                   {}};
  std::copy_n(extents, rank, m.extents);
  std::copy_n(strides, rank - 1, m.strides);
  std::copy_n(box, rank, m.box);
  return std::memcpy(map, &m, sizeof m), R::Success;
}
#endif

FAKE cuMemAlloc_v2(DevicePointer* p, std::size_t bytes) {
  if (const R r = in_context(); r != R::Success) return r;
  if (state().bytes_alive + bytes > state().memory_bytes) return R::OutOfMemory;
  *p = reinterpret_cast<DevicePointer>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  const std::lock_guard lock(memory().mutex);
  memory().blocks.emplace(*p, bytes);
  state().bytes_alive += bytes;
  return R::Success;
}
FAKE cuMemFree_v2(DevicePointer p) {
  const std::lock_guard lock(memory().mutex);
  const auto at = memory().blocks.find(p);
  if (at == memory().blocks.end()) return R::InvalidValue;
  state().bytes_alive -= at->second;
  memory().blocks.erase(at);
  std::free(reinterpret_cast<void*>(p));
  return R::Success;
}
FAKE cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, std::size_t n, CUstream_st*) {
  if (!memory().knows(to)) return R::InvalidValue;
  return std::memcpy(reinterpret_cast<void*>(to), from, n), in_context();
}
FAKE cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, std::size_t n, CUstream_st*) {
  if (!memory().knows(from)) return R::InvalidValue;
  return std::memcpy(to, reinterpret_cast<void*>(from), n), in_context();
}
FAKE cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, std::size_t n, CUstream_st*) {
  if (!memory().knows(from) || !memory().knows(to)) return R::InvalidValue;
  return std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), n), in_context();
}
FAKE cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t n, CUstream_st*) {
  if (!memory().knows(to)) return R::InvalidValue;
  return std::memset(reinterpret_cast<void*>(to), value, n), in_context();
}
FAKE cuPointerGetAttribute(void* value, PointerAttribute a, DevicePointer p) {
  if (!memory().knows(p)) return R::InvalidValue;
  const unsigned v = a == PointerAttribute::MemoryType ? static_cast<unsigned>(MemoryType::Device) : 0;
  return std::memcpy(value, &v, sizeof v), bad(false);
}

FAKE cuStreamCreate(CUstream_st** s, unsigned) { return ++state().streams_alive, *s = new CUstream_st, in_context(); }
FAKE cuStreamDestroy_v2(CUstream_st* s) {
  delete s;
  --state().streams_alive;
  return in_context();
}
FAKE cuStreamSynchronize(CUstream_st*) { return ++state().synchronized, in_context(); }
FAKE cuStreamWaitEvent(CUstream_st*, CUevent_st*, unsigned) { return in_context(); }
FAKE cuStreamIsCapturing(CUstream_st* s, CaptureStatus* status) {
  if (!s && state().legacy_capture) return R::StreamCaptureImplicit;
  return *status = s && s->capturing ? CaptureStatus::Active : CaptureStatus::None, in_context();
}
FAKE cuEventCreate(CUevent_st** e, unsigned flags) { return ++state().events_alive, *e = new CUevent_st{(flags & 2) == 0, -1}, in_context(); }
FAKE cuEventDestroy_v2(CUevent_st* e) {
  delete e;
  --state().events_alive;
  return R::Success;
}
FAKE cuEventRecord(CUevent_st* e, CUstream_st*) { return e->ms = now_ms(), in_context(); }
FAKE cuEventQuery(CUevent_st*) { return in_context(); }
FAKE cuEventSynchronize(CUevent_st*) { return in_context(); }
FAKE cuEventElapsedTime(float* ms, CUevent_st* a, CUevent_st* b) {
  if (!a->timed || !b->timed || a->ms < 0 || b->ms < 0) return static_cast<R>(400);
  return *ms = static_cast<float>(b->ms - a->ms), in_context();
}
}
