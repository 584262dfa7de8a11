// Kernels written by hand in LLVM IR, one per group of device primitives.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <cstring>
#include <string>
#include <vector>

#include "codegen/gpu/compile.h"
#include "codegen/gpu/primitives.h"

namespace tessera::testing {

/// How many registers a primitive takes and gives; floats unless said otherwise.
struct RegisterShape {
  int inputs = 0, outputs = 0;
  int float_inputs = 0;  ///< leading ones of `inputs`
  bool float_outputs = false;
};

inline RegisterShape register_shape(gpu::Primitive p) {
  using enum gpu::Primitive;
  const std::string name = gpu::info(p).name;
  if (name.starts_with("ldmatrix_x")) return {0, name[10] - '0'};
  if (name.starts_with("stmatrix_x4")) return {4, 0};
  if (p == LoadKept) return {0, 4};
  if (p == StoreKept) return {4, 0};
  if (name.starts_with("wgmma_")) return {8, 8, 8, true};
  const bool ints = name.find("_s32_") != std::string::npos;
  const bool small = p == MmaF16K8 || p == MmaBf16K8 || p == MmaS8S8K16;
  return {4 + (small ? 3 : 6), 4, ints ? 0 : 4, !ints};
}

/// A kernel (out: i64, src: i64) that runs each of `primitives` once on values of the thread and stores its results.
inline GpuIr hand_made(const std::vector<gpu::Primitive>& primitives, int threads = 128) {
  GpuIr out;
  out.context = std::make_unique<llvm::LLVMContext>();
  out.module = std::make_unique<llvm::Module>("hand_made", *out.context);
  out.entry = "hand_made";
  out.threads = threads;
  out.shared_bytes = 4096;
  llvm::Module& m = *out.module;
  llvm::IRBuilder<> b(*out.context);
  auto* smem = new llvm::GlobalVariable(m, llvm::ArrayType::get(b.getInt8Ty(), 0), false, llvm::GlobalValue::ExternalLinkage, nullptr, "smem",
                                        nullptr, llvm::GlobalValue::NotThreadLocal, 3, true);
  smem->setAlignment(llvm::Align(1024));
  // A tensor map as a third parameter, by value, where a primitive reads one.
  bool mapped = false;
  for (gpu::Primitive p : primitives) mapped = mapped || std::strchr(gpu::info(p).fixed, 'm');
  std::vector<llvm::Type*> parameters(2, b.getInt64Ty());
  if (mapped) parameters.push_back(b.getPtrTy());
  llvm::Function* f =
      llvm::Function::Create(llvm::FunctionType::get(b.getVoidTy(), parameters, false), llvm::GlobalValue::ExternalLinkage, out.entry, m);
  if (mapped) {
    f->addParamAttr(2, llvm::Attribute::getWithByValType(*out.context, llvm::ArrayType::get(b.getInt8Ty(), kTensorMapBytes)));
    f->addParamAttr(2, llvm::Attribute::getWithAlignment(*out.context, llvm::Align(64)));
    f->addParamAttr(2, llvm::Attribute::get(*out.context, "nvvm.grid_constant"));
  }
  f->setCallingConv(llvm::CallingConv::PTX_Kernel);
  f->addFnAttr("nvvm.reqntid", std::to_string(threads));
  b.SetInsertPoint(llvm::BasicBlock::Create(*out.context, "entry", f));
  llvm::Value* tid = gpu::call(b, m, gpu::Primitive::Tid, {});
  llvm::Value* real = b.CreateSIToFP(tid, b.getFloatTy());
  llvm::Value* address = b.CreateAdd(b.CreatePtrToInt(smem, b.getInt32Ty()), b.CreateShl(tid, 4));
  llvm::Value* source = b.CreateGEP(b.getInt8Ty(), b.CreateIntToPtr(f->getArg(1), b.getPtrTy(1)), b.CreateShl(tid, 4));
  llvm::Value* target = b.CreateGEP(b.getInt8Ty(), b.CreateIntToPtr(f->getArg(0), b.getPtrTy(1)), b.CreateShl(tid, 10));
  // Of the cache, where a primitive takes one.
  llvm::Value* policy = nullptr;
  for (gpu::Primitive p : primitives) {
    if (!policy && std::strchr(gpu::info(p).fixed, 'l')) policy = gpu::call(b, m, gpu::Primitive::CachePolicy, {b.getInt32(1)});
  }
  int slot = 0;
  const auto store = [&](llvm::Value* v) { b.CreateStore(v, b.CreateConstGEP1_32(b.getInt32Ty(), target, static_cast<unsigned>(slot++))); };
  for (gpu::Primitive p : primitives) {
    const gpu::PrimitiveInfo& row = gpu::info(p);
    std::vector<llvm::Value*> fixed;
    const bool memory = std::strncmp(row.name, "cp_async", 8) == 0 || std::strncmp(row.name, "ldm", 3) == 0 || std::strncmp(row.name, "stm", 3) == 0;
    const bool product = std::strncmp(row.name, "wgmma_f32", 9) == 0;
    if (product) {
      // One step that adds to the accumulators: high words of 128-byte swizzles, both operands K-major.
      fixed = {tid, tid};
      for (const unsigned x : {1U, 1U, 0x40000040U, 0x40000040U, 0U, 0U, 2U, 0U, 2U, 0U, 1U}) fixed.push_back(b.getInt32(x));
    }
    for (const char* c = row.fixed; *c && !product; ++c) {
      const bool first = c == row.fixed;
      switch (*c) {
        case 'i':
          fixed.push_back(memory ? (first ? address : b.CreateAnd(tid, row.name[8] == '1' ? 15 : 3)) : first ? tid : b.CreateAnd(tid, 3));
          break;
        case 'c':
          // Registers of a thread, or how many groups may be under way, or a barrier and its threads.
          fixed.push_back(b.getInt32(std::strncmp(row.name, "registers", 9) == 0 ? 64
                                     : std::strcmp(row.fixed, "c") == 0          ? 0
                                     : first                                     ? 1
                                                                                 : static_cast<unsigned>(threads)));
          break;
        case 'f': fixed.push_back(first ? real : b.CreateFNeg(real)); break;
        case 'p': fixed.push_back(source); break;
        case 'l': fixed.push_back(policy); break;
        case 'b': fixed.push_back(b.CreateICmpEQ(tid, b.getInt32(0))); break;
        case 'm': fixed.push_back(f->getArg(2)); break;
      }
    }
    if (!row.registers) {
      llvm::Value* v = gpu::call(b, m, p, fixed);
      if (row.result != 'v') store(v);
      continue;
    }
    const RegisterShape shape = register_shape(p);
    std::vector<llvm::Value*> registers;
    for (int i = 0; i < shape.inputs; ++i)
      registers.push_back(i < shape.float_inputs ? real : b.CreateAdd(tid, b.getInt32(static_cast<unsigned>(i))));
    llvm::Type* output = shape.float_outputs ? b.getFloatTy() : b.getInt32Ty();
    for (llvm::Value* v : gpu::call(b, m, p, fixed, registers, shape.outputs, output)) store(v);
  }
  b.CreateRetVoid();
  return out;
}

}  // namespace tessera::testing
