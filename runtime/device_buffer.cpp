#include "tessera/device_buffer.h"

#include <fmt/format.h>

#include <cstring>
#include <new>

#include "runtime/cuda_device.h"
#include "runtime/errors.h"

namespace tessera {
namespace {

cuda::DevicePointer address(const void* p) { return reinterpret_cast<cuda::DevicePointer>(p); }
CUstream_st* stream_of(const Context& c) { return static_cast<CUstream_st*>(c.raw_stream()); }

}  // namespace

DeviceBuffer::DeviceBuffer(const Context& context, std::size_t bytes) : bytes_(bytes), location_(context.location()) {
  guarded([&] {
    const std::size_t at_least_one = std::max<std::size_t>(bytes, 1);  // an empty tensor has an address too
    if (!context.is_cuda()) {
      memory_ =
          std::shared_ptr<void>(::operator new(at_least_one, std::align_val_t{64}), [](void* p) { ::operator delete(p, std::align_val_t{64}); });
      return;
    }
    const std::shared_ptr<const cuda::Device>& gpu = context.gpu();
    memory_ = std::shared_ptr<void>(reinterpret_cast<void*>(gpu->allocate(at_least_one)), [gpu](void* p) { gpu->release(address(p)); });
  });
}

void DeviceBuffer::check(std::size_t bytes, const Context& on) const {
  if (bytes > bytes_) fail(Code::E0704, fmt::format("{} bytes do not fit a buffer of {}", bytes, bytes_));
  if (on.location() != location_) fail(Code::E0802, fmt::format("a buffer of another device cannot be copied on {}", on.target()));
}

void DeviceBuffer::copy_from(std::span<const std::byte> from, const Context& on) const {
  guarded([&] {
    check(from.size(), on);
    if (from.empty()) return;
    if (!on.is_cuda()) {
      std::memcpy(data(), from.data(), from.size());
      return;
    }
    const cuda::Current current(*on.gpu());
    on.gpu()->api().check(on.gpu()->api().copy_to_device(address(data()), from.data(), from.size(), stream_of(on)), "copying to a GPU");
  });
}

void DeviceBuffer::copy_from(const DeviceBuffer& from, const Context& on) const {
  guarded([&] {
    check(from.bytes(), on);
    from.check(0, on);
    if (from.bytes() == 0) return;
    if (!on.is_cuda()) {
      std::memcpy(data(), from.data(), from.bytes());
      return;
    }
    const cuda::Current current(*on.gpu());
    on.gpu()->api().check(on.gpu()->api().copy_on_device(address(data()), address(from.data()), from.bytes(), stream_of(on)), "copying on a GPU");
  });
}

void DeviceBuffer::copy_to_async(std::span<std::byte> to, const Context& on) const {
  guarded([&] {
    check(to.size(), on);
    if (to.empty()) return;
    if (!on.is_cuda()) {
      std::memcpy(to.data(), data(), to.size());
      return;
    }
    const cuda::Current current(*on.gpu());
    on.gpu()->api().check(on.gpu()->api().copy_to_host(to.data(), address(data()), to.size(), stream_of(on)), "copying from a GPU");
  });
}

void DeviceBuffer::copy_to(std::span<std::byte> to, const Context& on) const {
  copy_to_async(to, on);
  on.synchronize();
}

void DeviceBuffer::fill(std::uint8_t value, const Context& on) const {
  guarded([&] {
    check(0, on);
    if (bytes_ == 0) return;
    if (!on.is_cuda()) {
      std::memset(data(), value, bytes_);
      return;
    }
    const cuda::Current current(*on.gpu());
    on.gpu()->api().check(on.gpu()->api().memset8(address(data()), value, bytes_, stream_of(on)), "filling memory of a GPU");
  });
}

Tensor DeviceBuffer::tensor(ElementType dtype, std::span<const std::int64_t> extents) const {
  return guarded([&] {
    const int width = bits(dtype);
    Tensor t(data(), dtype, extents);
    detail::check_span(width < 8 ? bytes_ : bytes_ / static_cast<std::size_t>(width / 8), extents.data(), t.rank, width);
    t.location = location_;
    return t;
  });
}

}  // namespace tessera
