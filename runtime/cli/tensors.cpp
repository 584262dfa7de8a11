#include "runtime/cli/tensors.h"

#include <fmt/format.h>

#include "dsl/dtype.h"
#include "runtime/errors.h"

namespace tessera::cli {

std::vector<std::int64_t> shape_as(const TensorEntry& e, const Parameter& p) {
  const bool packed = bits(p.dtype) < 8;
  // What files cannot name they hold as the integer of the same width.
  const ElementType held = packed || (p.dtype == ElementType::E8M0 && e.dtype == ElementType::U8) ? ElementType::U8
                           : p.dtype == ElementType::Idx                                          ? ElementType::I64
                                                                                                  : p.dtype;
  if (e.dtype != held) {
    fail(Code::E0702, fmt::format("tensor `{}` has elements of type `{}`, but the kernel takes `{}`{}", e.name, name(e.dtype),
                                  p.nominal.empty() ? name(p.dtype) : p.nominal, packed ? ", two of which lie in one `u8`" : ""));
  }
  if (e.shape.size() != p.dims.size()) {
    fail(Code::E0703, fmt::format("tensor `{}` has {} axes, but the kernel takes {}", e.name, e.shape.size(), p.dims.size()));
  }
  std::vector<std::int64_t> shape = e.shape;
  if (packed && !shape.empty()) shape.back() *= 2;
  return shape;
}

HostTensor load_as(const SafetensorsFile& file, const TensorEntry& entry, const Parameter& parameter) {
  HostTensor t(parameter.dtype, shape_as(entry, parameter));
  file.read(entry, t.bytes());
  return t;
}

TensorData to_file(const std::string& name, const HostTensor& t) {
  TensorData d{name, t.dtype(), t.extents(), t.bytes()};
  if (bits(d.dtype) < 8) {
    d.dtype = ElementType::U8;
    if (!d.shape.empty()) d.shape.back() = (d.shape.back() + 1) / 2;
  }
  if (d.dtype == ElementType::Idx) d.dtype = ElementType::I64;
  return d;
}

}  // namespace tessera::cli
