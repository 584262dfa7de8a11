#include "tessera/view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/errors.h"

namespace tessera {

void detail::check_span(std::size_t elements, const std::int64_t* extents, int rank, int bits) {
  const std::span<const std::int64_t> dims(extents, static_cast<std::size_t>(rank));
  std::int64_t need = 1;
  bool empty = false;
  for (std::int64_t e : dims) {
    if (e < 0) fail(Code::E0704, fmt::format("a view has the negative extent {}", e));
    empty |= e == 0;
  }
  for (std::int64_t e : dims) {
    if (!empty && __builtin_mul_overflow(need, e, &need)) fail(Code::E0704, fmt::format("extents [{}] overflow 64 bits", fmt::join(dims, ", ")));
  }
  if (empty) return;
  const std::int64_t places = bits == 4 ? (need + 1) / 2 : need;  // sub-byte views lie in memory of bytes, two elements each
  if (static_cast<std::uint64_t>(places) > elements) {
    fail(Code::E0704, fmt::format("a span of {} {} is too short for extents [{}], which need {}", elements, bits == 4 ? "bytes" : "elements",
                                  fmt::join(dims, ", "), places));
  }
}

Tensor::Tensor(void* data, ElementType dtype, std::span<const std::int64_t> shape) : data(data), dtype(dtype) {
  if (shape.size() > static_cast<std::size_t>(max_rank))
    fail(Code::E0703, fmt::format("a tensor has {} axes; at most {} are supported", shape.size(), max_rank));
  rank = static_cast<int>(shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    extents[i] = shape[i];
    strides[i] = stride;
    // An overflow here belongs to a tensor that cannot exist; the launch checks refuse it by its extents.
    if (shape[i] > 1 && __builtin_mul_overflow(stride, shape[i], &stride)) stride = INT64_MAX;
  }
}

Tensor::Tensor(const void* data, ElementType dtype, std::span<const std::int64_t> shape) : Tensor(const_cast<void*>(data), dtype, shape) {
  read_only = true;
}

}  // namespace tessera
