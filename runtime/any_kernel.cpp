#include "runtime/errors.h"
#include "runtime/kernel_impl.h"
#include "runtime/shapes.h"

namespace tessera {

const std::string& AnyKernel::name() const noexcept { return impl_->name(); }
const std::vector<Parameter>& AnyKernel::parameters() const noexcept { return impl_->parameters(); }
const std::vector<std::pair<std::string, std::string>>& AnyKernel::constants() const noexcept { return impl_->constants(); }

void AnyKernel::launch(const Context& context, std::span<const Argument> arguments) const {
  guarded([&] { impl_->launch(context, arguments); });
}

void AnyKernel::launch(const Context& context, const std::map<std::string, Argument>& arguments) const {
  guarded([&] { impl_->launch(context, impl_->in_order(arguments)); });
}

GraphNode AnyKernel::node(const Context& context, Graph graph, std::span<const GraphNode> after, std::span<const Argument> arguments) const {
  return guarded([&] { return impl_->add_node(context, graph, after, arguments); });
}

void AnyKernel::update(const Context& context, GraphExec exec, GraphNode node, std::span<const Argument> arguments) const {
  guarded([&] { impl_->update_node(context, exec, node, arguments); });
}

void AnyKernel::prepare(const std::vector<std::string>& absent) const {
  guarded([&] { impl_->form(impl_->mask_of(absent)); });
}

void AnyKernel::prepare(const Context& context, const std::vector<std::string>& absent) const {
  guarded([&] { impl_->form(impl_->mask_of(absent)).executable->prepare(context); });
}

std::map<std::string, std::vector<std::int64_t>> AnyKernel::infer_extents(const std::map<std::string, std::vector<std::int64_t>>& known) const {
  return guarded([&] {
    Shapes out = known;
    const SymbolValues symbols = infer_symbols(impl_->signature(), known);
    for (const ir::Param& p : impl_->signature().params) {
      if (!p.is_view || out.contains(p.name)) continue;
      if (const auto e = extents(p, symbols)) out.emplace(p.name, *e);
    }
    return out;
  });
}

void AnyKernel::check_signature(std::span<const detail::SignatureEntry> signature) const {
  guarded([&] { impl_->check_signature(signature); });
}

}  // namespace tessera
