// Kernels with a C++ signature: `auto attention = module.kernel<In<bf16, 4>, In<bf16, 4>, In<bf16, 4>, Out<bf16, 4>, float>("fwd", constants);`
#pragma once

#include <array>
#include <utility>

#include "tessera/module.h"

namespace tessera {

namespace detail {

template <class T>
struct SignatureOf;

template <ViewArgument T>
struct SignatureOf<T> {
  using Parameter = const T&;
  static constexpr SignatureEntry entry{.is_view = true,
                                        .dtype = Element<typename T::element>::type,
                                        .nominal = Element<typename T::element>::nominal,
                                        .access = T::access,
                                        .rank = T::rank};
};
template <ViewArgument T>
struct SignatureOf<std::optional<T>> {
  using Parameter = const std::optional<T>&;
  static constexpr SignatureEntry entry = [] {
    SignatureEntry e = SignatureOf<T>::entry;
    e.may_be_absent = true;
    return e;
  }();
};
template <>
struct SignatureOf<Absent> {
  using Parameter = Absent;
  static constexpr SignatureEntry entry{.is_view = true, .is_absent = true};
};
template <class T>
  requires(ElementLike<T> && !ViewArgument<T>)
struct SignatureOf<T> {
  using Parameter = std::type_identity_t<T>;
  static constexpr SignatureEntry entry{.dtype = Element<T>::type, .nominal = Element<T>::nominal};
};

template <class T>
concept SignaturePart = requires { SignatureOf<T>::entry; };

}  // namespace detail

/// A compiled kernel and its C++ signature: In, Out, InOut, Scatter and Add views, std::optional of them, Absent, and scalars.
/// Thread safety: as AnyKernel.
template <class... Args>
class Kernel {
  static_assert((detail::SignaturePart<Args> && ...), "a kernel's signature is made of In, Out, InOut, Scatter, Add, optional views and scalars");

 public:
  /// Throws Error (E0701, E0702, E0703, E0708, E0711) if the signature does not fit the kernel.
  explicit Kernel(AnyKernel kernel) : kernel_(std::move(kernel)) {
    static constexpr std::array<detail::SignatureEntry, sizeof...(Args)> signature{detail::SignatureOf<Args>::entry...};
    kernel_.check_signature(signature);
  }

  /// Runs the kernel to its end. Throws Error: extents that disagree, violated `where` clauses, strides, overlaps, pointers (E0704 to E0710);
  /// types and ranks need no check any more.
  void operator()(const Context& context, typename detail::SignatureOf<Args>::Parameter... args) const {
    const std::array<Argument, sizeof...(Args)> arguments{Argument(args)...};
    kernel_.launch(context, arguments);
  }

  /// One launch as a node of a CUDA graph that the caller builds; see AnyKernel::node.
  GraphNode node(const Context& context, Graph graph, std::span<const GraphNode> after, typename detail::SignatureOf<Args>::Parameter... args) const {
    const std::array<Argument, sizeof...(Args)> arguments{Argument(args)...};
    return kernel_.node(context, graph, after, arguments);
  }
  GraphNode node(const Context& context, Graph graph, std::initializer_list<GraphNode> after,
                 typename detail::SignatureOf<Args>::Parameter... args) const {
    return node(context, graph, std::span(after.begin(), after.size()), args...);
  }
  /// Other arguments for a node of an instantiated graph; see AnyKernel::update.
  void update(const Context& context, GraphExec exec, GraphNode node, typename detail::SignatureOf<Args>::Parameter... args) const {
    const std::array<Argument, sizeof...(Args)> arguments{Argument(args)...};
    kernel_.update(context, exec, node, arguments);
  }

  const AnyKernel& any() const noexcept { return kernel_; }

 private:
  AnyKernel kernel_;
};

template <class... Args>
  requires(sizeof...(Args) > 0)
Kernel<Args...> Module::kernel(std::string_view name, const Consts& constants, const Options& options) const {
  // An `Absent` in the signature names a form of the kernel; which one is known once its parameters are.
  static constexpr std::array<detail::SignatureEntry, sizeof...(Args)> signature{detail::SignatureOf<Args>::entry...};
  return Kernel<Args...>(kernel_for(name, constants, options, signature));
}

}  // namespace tessera
