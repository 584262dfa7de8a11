#include "dsl/frame.h"

#include <fmt/format.h>

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera {

FrameLayout frame_layout(const ir::Kernel& kernel) {
  FrameLayout layout;
  layout.params.resize(kernel.params.size());
  auto take = [&](std::size_t n) {
    std::size_t at = layout.words;
    layout.words += n;
    return at;
  };
  for (std::size_t i = 0; i < kernel.params.size(); ++i) {
    const ir::Param& p = kernel.params[i];
    if (!p.is_view || !p.present) continue;
    FrameSlot& slot = layout.params[i];
    slot.base = take(p.peers > 0 ? static_cast<std::size_t>(p.peers) : 1);
    slot.extents = take(p.dims.size());
    slot.strides = take(p.dims.size());
  }
  for (std::size_t i = 0; i < kernel.params.size(); ++i)
    if (!kernel.params[i].is_view) layout.params[i].base = take(1);
  for (std::size_t i = 0; i < kernel.symbols.size(); ++i) layout.symbols.push_back(take(1));
  return layout;
}

std::vector<std::int64_t> grid_counts(const ir::Kernel& kernel, const FrameLayout& layout, const std::vector<std::uint64_t>& frame) {
  auto value = [&](const std::string& name) -> std::optional<std::int64_t> {
    auto it = std::find(kernel.symbols.begin(), kernel.symbols.end(), name);
    if (it == kernel.symbols.end()) return std::nullopt;
    return static_cast<std::int64_t>(frame.at(layout.symbols.at(static_cast<std::size_t>(it - kernel.symbols.begin()))));
  };
  std::vector<std::int64_t> counts;
  for (const ir::GridAxis& axis : kernel.grid) {
    auto n = axis.count.eval(value);
    TESSERA_ASSERT(n, fmt::format("grid axis `{}`: `{}` has no value", axis.name, axis.count.str()));
    counts.push_back(std::max<std::int64_t>(*n, 0));
  }
  return counts;
}

}  // namespace tessera
