#include "codegen/cpu/jit.h"

namespace tessera::cpu {

namespace orc = llvm::orc;

void or_die(llvm::Error error, const char* what) {
  if (error) TESSERA_UNREACHABLE(std::string(what) + ": " + llvm::toString(std::move(error)));
}

std::unique_ptr<orc::LLJIT> create_jit(const llvm::Triple& triple) {
  orc::JITTargetMachineBuilder builder{triple};
  builder.setCodeModel(llvm::CodeModel::Small);
  builder.setRelocationModel(llvm::Reloc::PIC_);
  return or_die(orc::LLJITBuilder()
                    .setJITTargetMachineBuilder(std::move(builder))
                    .setLinkProcessSymbolsByDefault(false)
                    .setPlatformSetUp(orc::setUpInactivePlatform)
                    .create(),
                "JIT");
}

void define(orc::LLJIT& jit, orc::JITDylib& library, const std::vector<std::pair<std::string_view, void*>>& symbols) {
  orc::SymbolMap map;
  for (const auto& [name, address] : symbols) {
    map[jit.mangleAndIntern(llvm::StringRef(name.data(), name.size()))] = {orc::ExecutorAddr::fromPtr(address),
                                                                           llvm::JITSymbolFlags::Exported | llvm::JITSymbolFlags::Callable};
  }
  or_die(library.define(orc::absoluteSymbols(std::move(map))), "symbols");
}

}  // namespace tessera::cpu
