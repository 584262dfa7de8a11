// CpuLoader: an LLJIT without its IR layer; objects come compiled.
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/Support/MemoryBuffer.h>

#include <atomic>
#include <cstring>

#include "codegen/cpu/compile.h"
#include "codegen/cpu/machine.h"
#include "codegen/cpu/vecmath.h"

namespace tessera {

namespace orc = llvm::orc;

namespace {

template <class T>
T or_die(llvm::Expected<T> value, const char* what) {
  if (!value) TESSERA_UNREACHABLE(std::string(what) + ": " + llvm::toString(value.takeError()));
  return static_cast<T>(std::move(*value));
}

orc::JITDylib& or_die(llvm::Expected<orc::JITDylib&> value, const char* what) {
  if (!value) TESSERA_UNREACHABLE(std::string(what) + ": " + llvm::toString(value.takeError()));
  return *value;
}

void or_die(llvm::Error error, const char* what) {
  if (error) TESSERA_UNREACHABLE(std::string(what) + ": " + llvm::toString(std::move(error)));
}

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
  orc::JITTargetMachineBuilder builder{llvm::Triple(target.triple)};
  builder.setCodeModel(llvm::CodeModel::Small);
  builder.setRelocationModel(llvm::Reloc::PIC_);
  impl_->jit = or_die(orc::LLJITBuilder()
                          .setJITTargetMachineBuilder(std::move(builder))
                          .setLinkProcessSymbolsByDefault(false)
                          .setPlatformSetUp(orc::setUpInactivePlatform)
                          .create(),
                      "JIT");
  impl_->host = &or_die(impl_->jit->createJITDylib("host"), "JIT library");
  orc::SymbolMap map;
  for (const auto& [name, address] : visible_symbols())
    map[impl_->jit->mangleAndIntern(llvm::StringRef(name.data(), name.size()))] = {orc::ExecutorAddr::fromPtr(address),
                                                                                   llvm::JITSymbolFlags::Exported | llvm::JITSymbolFlags::Callable};
  or_die(impl_->host->define(orc::absoluteSymbols(std::move(map))), "host symbols");
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
