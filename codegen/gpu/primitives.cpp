#include "codegen/gpu/primitives.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "dsl/diagnostic.h"

namespace tessera::gpu {
namespace {

using enum PrimitiveFlag;
constexpr PrimitiveInfo kTable[] = {
#define TESSERA_PRIMITIVE(id, text, result, fixed, registers, flag, sm, ptx, doc) {text, result, fixed, registers, flag, sm, ptx, doc},
#include "codegen/gpu/primitives.def"
};

llvm::Type* type_of(llvm::IRBuilderBase& b, char c) {
  switch (c) {
    case 'v': return b.getVoidTy();
    case 'i':
    case 'c': return b.getInt32Ty();
    case 'l': return b.getInt64Ty();
    case 'b': return b.getInt1Ty();
    case 'f': return b.getFloatTy();
    case 'p': return b.getPtrTy(1);
    case 'm': return b.getPtrTy();
  }
  TESSERA_UNREACHABLE(fmt::format("primitive table: no type `{}`", c));
}

llvm::CallInst* emit(llvm::IRBuilderBase& b, llvm::Module& m, Primitive p, llvm::ArrayRef<llvm::Value*> fixed, llvm::ArrayRef<llvm::Value*> registers,
                     int outputs, llvm::Type* output) {
  const PrimitiveInfo& row = info(p);
  TESSERA_ASSERT(fixed.size() == std::strlen(row.fixed), fmt::format("arity of {}", row.name));
  std::vector<llvm::Type*> types;
  std::vector<llvm::Value*> values(fixed.begin(), fixed.end());
  for (std::size_t i = 0; i < fixed.size(); ++i) {
    types.push_back(type_of(b, row.fixed[i]));
    TESSERA_ASSERT(types.back() == fixed[i]->getType(), fmt::format("argument {} of {}", i, row.name));
    TESSERA_ASSERT(row.fixed[i] != 'c' || llvm::isa<llvm::ConstantInt>(fixed[i]), fmt::format("argument {} of {} must be constant", i, row.name));
  }
  std::string name = fmt::format("dp.{}", row.name);
  if (row.registers) {
    name += fmt::format(".{}{}.", outputs, output->isFloatTy() ? "f" : "i");
    for (llvm::Value* r : registers) {
      TESSERA_ASSERT(r->getType()->isFloatTy() || r->getType()->isIntegerTy(32), fmt::format("a register of {}", row.name));
      name += r->getType()->isFloatTy() ? "f" : "i";
      types.push_back(r->getType());
      values.push_back(r);
    }
  }
  llvm::Function* f = m.getFunction(name);
  if (!f) {
    llvm::Type* result = row.result == 'R'
                             ? llvm::StructType::get(b.getContext(), std::vector<llvm::Type*>(static_cast<std::size_t>(outputs), output))
                             : type_of(b, row.result);
    f = llvm::Function::Create(llvm::FunctionType::get(result, types, false), llvm::GlobalValue::ExternalLinkage, name, m);
    f->addFnAttr(llvm::Attribute::NoUnwind);
    f->addFnAttr(llvm::Attribute::NoCallback);
    switch (row.flag) {
      case Pure:
        f->setDoesNotAccessMemory();
        f->addFnAttr(llvm::Attribute::WillReturn);
        f->addFnAttr(llvm::Attribute::Speculatable);
        break;
      case Convergent:
      case Blocks:
      case Effects: f->addFnAttr(llvm::Attribute::Convergent); break;
    }
  }
  return b.CreateCall(f, values);
}

}  // namespace

const PrimitiveInfo& info(Primitive p) { return kTable[static_cast<std::size_t>(p)]; }

std::vector<Primitive> all_primitives() {
  std::vector<Primitive> out;
  for (std::size_t i = 0; i < std::size(kTable); ++i) out.push_back(static_cast<Primitive>(i));
  return out;
}

std::optional<Primitive> primitive_of(const llvm::Function& f) {
  llvm::StringRef name = f.getName();
  if (!name.consume_front("dp.")) return std::nullopt;
  name = name.split('.').first;
  for (std::size_t i = 0; i < std::size(kTable); ++i) {
    if (name == kTable[i].name) return static_cast<Primitive>(i);
  }
  return std::nullopt;
}

std::optional<Primitive> primitive_of(const llvm::Instruction& i) {
  const auto* c = llvm::dyn_cast<llvm::CallInst>(&i);
  const llvm::Function* f = c ? c->getCalledFunction() : nullptr;
  return f ? primitive_of(*f) : std::nullopt;
}

llvm::Value* call(llvm::IRBuilderBase& b, llvm::Module& m, Primitive p, llvm::ArrayRef<llvm::Value*> fixed) {
  TESSERA_ASSERT(!info(p).registers, info(p).name);
  return emit(b, m, p, fixed, {}, 0, nullptr);
}

std::vector<llvm::Value*> call(llvm::IRBuilderBase& b, llvm::Module& m, Primitive p, llvm::ArrayRef<llvm::Value*> fixed,
                               llvm::ArrayRef<llvm::Value*> registers, int outputs, llvm::Type* output) {
  llvm::CallInst* c = emit(b, m, p, fixed, registers, outputs, output);
  std::vector<llvm::Value*> out;
  for (int i = 0; i < outputs; ++i) out.push_back(b.CreateExtractValue(c, static_cast<unsigned>(i)));
  return out;
}

}  // namespace tessera::gpu
