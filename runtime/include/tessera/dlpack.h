// Tensors from and to other libraries through DLPack, without copies.
#pragma once

#include <memory>
#include <utility>

#include "tessera/dlpack_abi.h"
#include "tessera/view.h"

namespace tessera {

/// The tensor that `t` describes; it owns nothing. Strides may be null. Throws Error: E0702 for an element type the language lacks or vector
/// lanes, E0703 for more than max_rank axes, E0706 for a negative extent, E0804 for memory neither of the host nor of an NVIDIA GPU. A tensor on a
/// GPU may still be being written: launch on the stream that its producer was told of, or make the launch's stream wait for it (Stream::wait_for).
/// Thread safety: any thread.
TESSERA_API Tensor from_dlpack(const dlpack::DLTensor& t);

/// The same for the DLTensor of a dlpack.h that the host includes itself.
template <class T>
  requires(!std::is_same_v<T, dlpack::DLTensor> &&
           requires(const T& t) {
             t.shape;
             t.strides;
             t.byte_offset;
           })
Tensor from_dlpack(const T& t) {
  return from_dlpack(dlpack::DLTensor{t.data,
                                      {static_cast<std::int32_t>(t.device.device_type), t.device.device_id},
                                      t.ndim,
                                      {t.dtype.code, t.dtype.bits, t.dtype.lanes},
                                      const_cast<std::int64_t*>(t.shape),
                                      const_cast<std::int64_t*>(t.strides),
                                      t.byte_offset});
}

/// A tensor that another library lent: its deleter runs when this goes. Movable. Thread safety: as the memory it names.
class TESSERA_API Borrowed {
 public:
  /// Takes the tensor over; on an error it is given back before the exception leaves. Throws as from_dlpack, and E0804 for a major version other
  /// than 1 or padded sub-byte elements. A read-only tensor gives a Tensor that no kernel may write.
  explicit Borrowed(dlpack::DLManagedTensorVersioned* t);
  explicit Borrowed(dlpack::DLManagedTensor* t);
  Borrowed(Borrowed&& o) noexcept : tensor_(o.tensor_), owner_(std::exchange(o.owner_, nullptr)), release_(o.release_) {}
  Borrowed& operator=(Borrowed&& o) noexcept {
    std::swap(tensor_, o.tensor_);
    std::swap(owner_, o.owner_);
    std::swap(release_, o.release_);
    return *this;
  }
  ~Borrowed() {
    if (owner_) release_(owner_);
  }

  const Tensor& tensor() const { return tensor_; }

 private:
  Tensor tensor_;
  void* owner_ = nullptr;
  void (*release_)(void*) = nullptr;
};

/// Lends `t` to another library, which calls the deleter when done; `owner` keeps the memory alive until then. Memory whose location is not stated
/// counts as the host's. Throws Error (Machine) if memory runs out. Thread safety: any thread.
TESSERA_API dlpack::DLManagedTensorVersioned* to_dlpack(const Tensor& t, std::shared_ptr<void> owner);

}  // namespace tessera
