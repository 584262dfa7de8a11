#include "dsl/type.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>

#include "dsl/diagnostic.h"

namespace tessera::ir {

std::int64_t TileType::elements() const {
  std::int64_t n = 1;
  for (std::int64_t d : dims)
    if (__builtin_mul_overflow(n, d, &n)) return std::numeric_limits<std::int64_t>::max();
  return n;
}

const char* name(Mode m) {
  switch (m) {
    case Mode::In: return "in";
    case Mode::Out: return "out";
    case Mode::InOut: return "inout";
    case Mode::Scatter: return "scatter";
    case Mode::Add: return "add";
  }
  TESSERA_UNREACHABLE("Mode");
}

std::string str(const TileType& t) {
  if (t.dims.empty()) return tessera::name(t.dtype);
  return fmt::format("{}[{}]", tessera::name(t.dtype), fmt::join(t.dims, ", "));
}

std::string str(const Type& t) {
  if (is_tile(t)) return str(tile(t));
  if (is_range(t)) return fmt::format("range<{}>", range(t).size);
  const ViewType& v = view(t);
  if (v.mode == Mode::In) return fmt::format("view<{}, {}>", tessera::name(v.dtype), v.rank);
  return fmt::format("view<{}, {}, {}>", tessera::name(v.dtype), v.rank, name(v.mode));
}

bool broadcast(const Dims& a, const Dims& b, Dims& out) {
  if (a.empty() || b.empty()) {
    out = a.empty() ? b : a;
    return true;
  }
  if (a.size() != b.size()) return false;
  Dims result(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && a[i] != 1 && b[i] != 1) return false;
    result[i] = a[i] == 1 ? b[i] : a[i];
  }
  out = std::move(result);
  return true;
}

}  // namespace tessera::ir
