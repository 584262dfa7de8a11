#include "tessera/dlpack.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "runtime/errors.h"

namespace tessera {
namespace {

using namespace dlpack;

struct Mapping {
  ElementType type;
  std::uint8_t code;
  std::uint8_t bits;
};
constexpr Mapping mappings[] = {
    {ElementType::Bool, kDLBool, 8},
    {ElementType::I8, kDLInt, 8},
    {ElementType::I16, kDLInt, 16},
    {ElementType::I32, kDLInt, 32},
    {ElementType::I64, kDLInt, 64},
    {ElementType::U8, kDLUInt, 8},
    {ElementType::U16, kDLUInt, 16},
    {ElementType::U32, kDLUInt, 32},
    {ElementType::U64, kDLUInt, 64},
    {ElementType::F16, kDLFloat, 16},
    {ElementType::BF16, kDLBfloat, 16},
    {ElementType::F32, kDLFloat, 32},
    {ElementType::F64, kDLFloat, 64},
    {ElementType::E4M3, kDLFloat8_e4m3fn, 8},
    {ElementType::E5M2, kDLFloat8_e5m2, 8},
    {ElementType::E8M0, kDLFloat8_e8m0fnu, 8},
    {ElementType::E2M1, kDLFloat4_e2m1fn, 4},
    {ElementType::I4, kDLInt, 4},
    {ElementType::U4, kDLUInt, 4},
    {ElementType::Idx, kDLInt, 64},
};

/// What an exported tensor needs until its deleter is called.
struct Export {
  DLManagedTensorVersioned managed{};
  std::vector<std::int64_t> shape, strides;
  std::shared_ptr<void> owner;
};

}  // namespace

Tensor from_dlpack(const DLTensor& t) {
  Location location;  // pinned and managed memory is of both sides
  switch (t.device.device_type) {
    case kDLCPU: location = Location::host(); break;
    case kDLCUDA: location = Location::cuda(t.device.device_id); break;
    case kDLCUDAHost:
    case kDLCUDAManaged: break;
    default:
      fail(Code::E0804,
           fmt::format("the tensor lies on a device of type {}, neither in the host's memory nor on an NVIDIA GPU", t.device.device_type));
  }
  if (t.ndim < 0 || t.ndim > max_rank) fail(Code::E0703, fmt::format("a tensor has {} axes; at most {} are supported", t.ndim, max_rank));
  const auto* m = std::find_if(std::begin(mappings), std::end(mappings),
                               [&](const Mapping& m) { return m.code == t.dtype.code && m.bits == t.dtype.bits && t.dtype.lanes == 1; });
  if (m == std::end(mappings)) {
    fail(Code::E0702,
         fmt::format("DLPack type (code {}, {} bits, {} lanes) has no counterpart in the language", t.dtype.code, t.dtype.bits, t.dtype.lanes));
  }
  if (t.ndim > 0 && t.shape == nullptr) fail(Code::E0703, "a DLPack tensor with axes has no shape");
  const std::span<const std::int64_t> shape(t.shape, static_cast<std::size_t>(t.ndim));
  for (std::int64_t e : shape) {
    if (e < 0) fail(Code::E0706, fmt::format("a DLPack tensor has the negative extent {}", e));
  }
  Tensor out(static_cast<void*>(t.data ? static_cast<char*>(t.data) + t.byte_offset : nullptr), m->type, shape);
  if (t.strides) std::copy_n(t.strides, t.ndim, out.strides.begin());
  out.location = location;
  return out;
}

Borrowed::Borrowed(DLManagedTensorVersioned* t)
    : owner_(t), release_([](void* p) {
        auto* m = static_cast<DLManagedTensorVersioned*>(p);
        if (m->deleter) m->deleter(m);
      }) {
  try {
    // Only the first fields are sure to mean the same in another major version.
    if (t->version.major != major_version) fail(Code::E0804, fmt::format("DLPack {}.{} is not supported", t->version.major, t->version.minor));
    tensor_ = from_dlpack(t->dl_tensor);
    if ((t->flags & flag_subbyte_padded) && bits(tensor_.dtype) < 8) fail(Code::E0804, "sub-byte elements with a byte each are not supported");
    tensor_.read_only = (t->flags & flag_read_only) != 0;
  } catch (...) {
    release_(owner_);
    throw;
  }
}

Borrowed::Borrowed(DLManagedTensor* t)
    : owner_(t), release_([](void* p) {
        auto* m = static_cast<DLManagedTensor*>(p);
        if (m->deleter) m->deleter(m);
      }) {
  try {
    tensor_ = from_dlpack(t->dl_tensor);
  } catch (...) {
    release_(owner_);
    throw;
  }
}

DLManagedTensorVersioned* to_dlpack(const Tensor& t, std::shared_ptr<void> owner) {
  return guarded([&] {
    auto e = std::make_unique<Export>();
    e->shape.assign(t.extents.begin(), t.extents.begin() + t.rank);
    e->strides.assign(t.strides.begin(), t.strides.begin() + t.rank);
    e->owner = std::move(owner);
    const auto* m = std::find_if(std::begin(mappings), std::end(mappings), [&](const Mapping& m) { return m.type == t.dtype; });
    e->managed.version = {major_version, minor_version};
    e->managed.manager_ctx = e.get();
    e->managed.deleter = [](DLManagedTensorVersioned* self) { delete static_cast<Export*>(self->manager_ctx); };
    e->managed.flags = t.read_only ? flag_read_only : 0;
    const bool on_gpu = t.location.kind == Location::Kind::Cuda;
    e->managed.dl_tensor = {
        t.data, {on_gpu ? kDLCUDA : kDLCPU, on_gpu ? t.location.device : 0}, t.rank, {m->code, m->bits, 1}, e->shape.data(), e->strides.data(), 0};
    return &e.release()->managed;
  });
}

}  // namespace tessera
