#include "tessera/context.h"

#include <fmt/format.h>

#include "runtime/cpu_pool.h"
#include "runtime/cuda_device.h"
#include "runtime/errors.h"
#include "tessera/stream.h"

namespace tessera {

Context Context::cpu(int threads) {
  return guarded([&] {
    if (threads < 0 || threads > 1024) fail(Code::E0802, fmt::format("a context cannot have {} threads", threads));
    return Context(std::make_shared<detail::CpuPool>(threads == 0 ? detail::available_processors() : threads));
  });
}

Context Context::cuda(int device) {
  return guarded([&] { return Context(std::make_shared<const cuda::Device>(cuda::Driver::system(), device)); });
}

Context Context::best() {
  try {
    return cuda();
  } catch (const Error& e) {
    if (e.kind() != Error::Kind::Machine) throw;
  }
  return cpu();
}

Context Context::on(const Stream& stream) const {
  return guarded([&] {
    const Context& other = stream.context();
    if (other.is_cuda() != is_cuda() || (is_cuda() && other.gpu_->context() != gpu_->context()))
      fail(Code::E0802, fmt::format("a stream of {} cannot serve {}", other.target(), target()));
    Context out = *this;
    out.stream_ = other.stream_;
    return out;
  });
}

void Context::synchronize() const {
  guarded([&] {
    if (gpu_) gpu_->synchronize(static_cast<CUstream_st*>(raw_stream()));
  });
}

int Context::device() const noexcept { return gpu_ ? gpu_->ordinal() : -1; }

int Context::threads() const noexcept { return pool_ ? pool_->threads() : 0; }

std::string Context::target() const { return gpu_ ? fmt::format("cuda:{}", gpu_->ordinal()) : "cpu"; }

std::string Context::description() const {
  if (gpu_) return fmt::format("{}, {}, {}", target(), gpu_->properties().name, gpu_->target().name());
  return fmt::format("cpu, {} thread{}", threads(), threads() == 1 ? "" : "s");
}

Location Context::location() const noexcept { return gpu_ ? Location::cuda(gpu_->ordinal()) : Location::host(); }

}  // namespace tessera
