// CpuLoader: an LLJIT without its IR layer; objects come compiled.
#include <llvm/Support/MemoryBuffer.h>

#include <atomic>
#include <cstring>

#include "codegen/cpu/compile.h"
#include "codegen/cpu/jit.h"
#include "codegen/cpu/machine.h"
#include "codegen/cpu/vecmath.h"

namespace tessera {

namespace orc = llvm::orc;
using cpu::or_die;

namespace {

/// What generated code may call: the C library functions that LLVM's memory intrinsics and f64 mathematics become. Nothing else of the
/// process is visible, so an accidental library call fails at load time instead of binding to whatever the host program exports.
std::vector<std::pair<std::string_view, void*>> visible_symbols() {
  auto symbols = cpu::libm_symbols();
  symbols.emplace_back("memcpy", reinterpret_cast<void*>(&::memcpy));
  symbols.emplace_back("memset", reinterpret_cast<void*>(&::memset));
  symbols.emplace_back("memmove", reinterpret_cast<void*>(&::memmove));
  return symbols;
}

}  // namespace

struct CpuLoader::Impl {
  std::unique_ptr<orc::LLJIT> jit;
  orc::JITDylib* host = nullptr;
  std::atomic<std::uint64_t> count = 0;
};

CpuLoader::CpuLoader() : impl_(std::make_shared<Impl>()) {
  const CpuTarget target = CpuTarget::host();
  cpu::create_machine(target, 2);  // registers the native target
  impl_->jit = cpu::create_jit(llvm::Triple(target.triple));
  impl_->host = &or_die(impl_->jit->createJITDylib("host"), "JIT library");
  cpu::define(*impl_->jit, *impl_->host, visible_symbols());
}

CpuLoader::~CpuLoader() = default;

CpuKernel CpuLoader::load(const CpuObject& object) {
  TESSERA_ASSERT(!object.object.empty(), "the object is empty: it was not compiled");
  orc::LLJIT& jit = *impl_->jit;
  orc::JITDylib& library = or_die(jit.createJITDylib("kernel" + std::to_string(impl_->count++)), "JIT library");
  library.addToLinkOrder(*impl_->host);
  or_die(jit.addObjectFile(library, llvm::MemoryBuffer::getMemBufferCopy(object.object, object.entry)), "object");
  CpuKernel kernel;
  kernel.entry = or_die(jit.lookup(library, object.entry), "entry").toPtr<CpuEntry>();
  kernel.range_entry = or_die(jit.lookup(library, object.range_entry), "range entry").toPtr<CpuRangeEntry>();
  kernel.arena_bytes = object.arena_bytes;
  // The code goes when the last copy of the kernel goes; the JIT itself stays as long as any of its code.
  kernel.code_ = std::shared_ptr<void>(&library, [impl = impl_](void* p) {
    auto* dead = static_cast<orc::JITDylib*>(p);
    llvm::consumeError(impl->jit->getExecutionSession().removeJITDylib(*dead));
  });
  return kernel;
}

}  // namespace tessera
