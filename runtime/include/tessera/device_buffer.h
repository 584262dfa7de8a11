// Memory that kernels of a context can read and write.
#pragma once

#include <cstddef>
#include <span>

#include "tessera/context.h"
#include "tessera/view.h"

namespace tessera {

/// Memory of a GPU, or of the host for a CPU context; at a multiple of 64 bytes (GPU: 256), uninitialised. Movable. Freeing it waits for the GPU if
/// need be. Copies are queued on the stream of the context that is given. Thread safety: as the memory of a vector.
class TESSERA_API DeviceBuffer {
 public:
  DeviceBuffer() = default;
  /// Throws Error (Machine) if memory runs out.
  DeviceBuffer(const Context& context, std::size_t bytes);

  void* data() const noexcept { return memory_.get(); }
  std::size_t bytes() const noexcept { return bytes_; }
  Location location() const noexcept { return location_; }

  /// Queues a copy of host memory into the first bytes. `from` may be reused when the call returns, unless it is pinned: then after the copy.
  /// Throws Error: (User) if there are more bytes than the buffer has or the context is another device's, (Machine).
  void copy_from(std::span<const std::byte> from, const Context& on) const;
  /// Queues a copy of all of `from`, a buffer of the same device. Throws as above.
  void copy_from(const DeviceBuffer& from, const Context& on) const;
  /// Copies the first bytes to the host, after what is queued on the context's stream, and waits. Throws as copy_from.
  void copy_to(std::span<std::byte> to, const Context& on) const;
  /// The same without waiting: `to` holds the bytes once the stream has been synchronised, and must live until then. Throws as copy_from.
  void copy_to_async(std::span<std::byte> to, const Context& on) const;
  /// Queues setting every byte. Throws as copy_from.
  void fill(std::uint8_t value, const Context& on) const;

  /// The memory as a compact, row-major tensor. Throws Error: E0704 if it is too small, E0703.
  Tensor tensor(ElementType dtype, std::span<const std::int64_t> extents) const;
  template <class T, int R>
  View<T, R> view(const std::array<std::int64_t, static_cast<std::size_t>(R)>& extents) const {
    const Tensor t = tensor(Element<std::remove_const_t<T>>::type, extents);
    return View<T, R>(static_cast<typename View<T, R>::Storage*>(t.data), extents).at(location_);
  }

 private:
  void check(std::size_t bytes, const Context& on) const;

  std::shared_ptr<void> memory_;
  std::size_t bytes_ = 0;
  Location location_;
};

}  // namespace tessera
