#include "tests/kernels/harness_cpu.h"

#include <cstdlib>

#include "tessera/tessera.h"

namespace tessera::test {

namespace {

ElementType element_type(DType t) {
  for (int i = 0; i <= static_cast<int>(ElementType::Idx); ++i) {
    const auto e = static_cast<ElementType>(i);
    if (std::string(tessera::name(e)) == tessera::name(t)) return e;
  }
  throw std::runtime_error("no such element type");
}

ConstValue value_of(const Constant& c) {
  if (const auto* t = std::get_if<DType>(&c)) return element_type(*t);
  if (const auto* i = std::get_if<std::int64_t>(&c)) return *i;
  if (const auto* b = std::get_if<bool>(&c)) return *b;
  return std::get<std::string>(c);
}

Context compiled_context() {
  const std::string target = compiled_target();
  if (!target.starts_with("cuda")) return Context::cpu(2);
  return Context::cuda(target.starts_with("cuda:") ? std::atoi(target.c_str() + 5) : 0);
}

class Kernels {
 public:
  const AnyKernel& get(const Call& call) {
    std::string key = call.file + " " + call.kernel;
    for (const auto& [n, c] : call.constants) key += " " + n + "=" + str(c);
    for (const auto& [n, b] : call.tensors) key += " " + n;  // other optional views make another form
    auto at = kernels_.find(key);
    if (at == kernels_.end()) {
      const Module module = load(source_root() + "/" + call.file);
      Options options;
      options.target = compiled_code();
      if (context_.is_cuda()) options.context = context_;
      options.absent = absent_views(module, call);
      at = kernels_.emplace(key, module.kernel(call.kernel, consts_of(call.constants), options)).first;
    }
    return at->second;
  }
  const Context& context() const { return context_; }

 private:
  std::map<std::string, AnyKernel> kernels_;
  Context context_ = compiled_context();
};

}  // namespace

std::vector<std::string> absent_views(const Module& module, const Call& call) {
  std::vector<std::string> absent;
  for (const KernelOutline& k : module.kernels()) {
    if (k.name != call.kernel) continue;
    for (const auto& p : k.parameters) {
      if (p.type.ends_with("?") && !call.tensors.contains(p.name)) absent.push_back(p.name);
    }
  }
  return absent;
}

Consts consts_of(const Constants& constants) {
  Consts out;
  for (const auto& [n, c] : constants) std::visit([&](const auto& v) { out.set({n, v}); }, value_of(c));
  return out;
}

std::string compiled_target() {
  const char* target = std::getenv("TESSERA_TEST_TARGET");
  return target && *target ? target : "cpu";
}

std::string compiled_code() {
  const char* code = std::getenv("TESSERA_TEST_CODE");
  return code && *code ? code : compiled_target();
}

namespace {

Scalar scalar_of(const Parameter& p, double v) {
  const DType t = *dtype_from_name(tessera::name(p.dtype));
  return {.dtype = p.dtype, .bits = is_float(t) ? encode_float(t, v) : static_cast<std::uint64_t>(static_cast<std::int64_t>(v))};
}

}  // namespace

void launch_on_gpu(const AnyKernel& kernel, const Context& gpu, const std::map<std::string, double>& scalars,
                   std::map<std::string, Buffer>& tensors) {
  std::map<std::string, DeviceBuffer> on_device;
  std::map<std::string, Argument> arguments;
  for (const Parameter& p : kernel.parameters()) {
    if (!p.is_view) {
      arguments.emplace(p.name, scalar_of(p, scalars.at(p.name)));
      continue;
    }
    const auto b = tensors.find(p.name);
    if (b == tensors.end()) continue;
    const DeviceBuffer& memory = on_device.emplace(p.name, DeviceBuffer(gpu, b->second.bytes.size())).first->second;
    memory.copy_from(std::as_bytes(std::span(b->second.bytes)), gpu);
    arguments.emplace(p.name, memory.tensor(p.dtype, std::span<const std::int64_t>(b->second.dims)));
  }
  kernel.launch(gpu, arguments);
  for (const auto& [n, memory] : on_device) memory.copy_to(std::as_writable_bytes(std::span(tensors.at(n).bytes)), gpu);
}

void launch_on_cpu(const AnyKernel& kernel, const Context& cpu, const std::map<std::string, double>& scalars,
                   std::map<std::string, Buffer>& tensors) {
  std::map<std::string, Argument> arguments;
  for (const Parameter& p : kernel.parameters()) {
    if (!p.is_view) {
      arguments.emplace(p.name, scalar_of(p, scalars.at(p.name)));
    } else if (const auto b = tensors.find(p.name); b != tensors.end()) {
      arguments.emplace(p.name, Tensor(static_cast<void*>(b->second.bytes.data()), p.dtype, std::span<const std::int64_t>(b->second.dims)));
    }
  }
  kernel.launch(cpu, arguments);
}

void run_cpu(const Call& call, std::map<std::string, Buffer>& tensors) {
  static Kernels compiled;
  const AnyKernel& kernel = compiled.get(call);
  if (compiled.context().is_cuda()) {
    launch_on_gpu(kernel, compiled.context(), call.scalars, tensors);
    return;
  }
  launch_on_cpu(kernel, compiled.context(), call.scalars, tensors);
}

}  // namespace tessera::test
