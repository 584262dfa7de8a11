#include "kernel_builder.h"

#include <llvm/IR/Metadata.h>

#include <algorithm>

#include "dsl/dtype.h"

namespace tessera::simt_test {
namespace {

GpuIr empty_module(int threads, std::int64_t shared_bytes, std::vector<GpuTensorMap> maps) {
  GpuIr ir;
  ir.context = std::make_unique<llvm::LLVMContext>();
  ir.module = std::make_unique<llvm::Module>("test", *ir.context);
  ir.entry = "kernel";
  ir.threads = threads;
  ir.shared_bytes = shared_bytes;
  ir.maps = std::move(maps);
  return ir;
}

}  // namespace

KernelBuilder::KernelBuilder(int threads, std::int64_t shared_bytes, int words, std::vector<GpuTensorMap> maps)
    : KernelBuilder(empty_module(threads, shared_bytes, std::move(maps)), words) {}

KernelBuilder::KernelBuilder(GpuIr ir, int words) : b(*ir.context), ir_(std::move(ir)) {
  std::vector<llvm::Type*> types(static_cast<std::size_t>(words) + 1, b.getInt64Ty());
  if (!ir_.maps.empty()) types.push_back(b.getInt64Ty());  // whether they are encoded
  types.insert(types.end(), ir_.maps.size(), b.getPtrTy());
  function_ =
      llvm::Function::Create(llvm::FunctionType::get(b.getVoidTy(), types, false), llvm::GlobalValue::ExternalLinkage, ir_.entry, *ir_.module);
  function_->setCallingConv(llvm::CallingConv::PTX_Kernel);
  function_->addFnAttr("nvvm.reqntid", std::to_string(ir_.threads));
  auto* window = new llvm::GlobalVariable(*ir_.module, llvm::ArrayType::get(b.getInt8Ty(), 0), false, llvm::GlobalValue::ExternalLinkage, nullptr,
                                          "smem", nullptr, llvm::GlobalValue::NotThreadLocal, 3);
  window->setAlignment(llvm::Align(1024));
  b.SetInsertPoint(llvm::BasicBlock::Create(b.getContext(), "entry", function_));
  base = b.CreatePtrToInt(window, b.getInt32Ty());
}

V KernelBuilder::global(int k, V offset) {
  V p = b.CreateIntToPtr(function_->getArg(static_cast<unsigned>(k)), b.getPtrTy(1));
  return b.CreateGEP(b.getInt8Ty(), p, b.CreateSExt(offset, b.getInt64Ty()));
}

V KernelBuilder::load(llvm::Type* t, V p, int align) {
  const auto natural = static_cast<unsigned>(t->getPrimitiveSizeInBits().getFixedValue() / 8);
  return b.CreateAlignedLoad(t, p, llvm::Align(align ? static_cast<unsigned>(align) : natural));
}

void KernelBuilder::store(V v, V p, int align) {
  const auto natural = static_cast<unsigned>(v->getType()->getPrimitiveSizeInBits().getFixedValue() / 8);
  b.CreateAlignedStore(v, p, llvm::Align(align ? static_cast<unsigned>(align) : natural));
}

void KernelBuilder::mark(std::uint32_t begin, std::uint32_t end, std::uint32_t file) {
  const auto number = [&](std::uint32_t n) { return llvm::ConstantAsMetadata::get(b.getInt32(n)); };
  b.GetInsertBlock()->back().setMetadata("tessera.span", llvm::MDNode::get(b.getContext(), {number(begin), number(end), number(file)}));
}

GpuIr KernelBuilder::finish() {
  b.CreateRetVoid();
  return std::move(ir_);
}

SimtResult run(const SimtKernel& kernel, const std::vector<SimtTensor>& tensors, std::int64_t ctas, const SimtOptions& options,
               const std::vector<std::uint64_t>& more) {
  const SimtMemory memory(tensors);
  std::vector<std::uint64_t> frame;
  for (std::size_t i = 0; i < tensors.size(); ++i) frame.push_back(memory.address(i));
  frame.insert(frame.end(), more.begin(), more.end());
  SimtResult result = kernel.run(frame, std::vector<std::int64_t>{ctas}, ctas, memory, options);
  memory.copy_back();
  return result;
}

SimtResult run(GpuIr ir, const std::vector<SimtTensor>& tensors, std::int64_t ctas, const SimtOptions& options,
               const std::vector<std::uint64_t>& more) {
  return run(SimtKernel(std::move(ir)), tensors, ctas, options, more);
}

std::string hazards(const SimtResult& r) {
  std::string out;
  for (const Hazard& h : r.hazards) out += std::string(name(h.kind)) + ": " + h.text + "\n";
  return out;
}

bool has(const SimtResult& r, HazardKind kind) {
  return std::any_of(r.hazards.begin(), r.hazards.end(), [&](const Hazard& h) { return h.kind == kind; });
}

std::uint16_t bf16(float x) { return static_cast<std::uint16_t>(encode_float(DType::BF16, x)); }

}  // namespace tessera::simt_test
