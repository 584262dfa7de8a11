#include "runtime/kernel_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "runtime/cuda_device.h"
#include "runtime/errors.h"

namespace tessera::detail {
namespace {

std::vector<Parameter> public_parameters(const ir::Kernel& kernel) {
  std::vector<Parameter> out;
  for (const ir::Param& p : kernel.params) {
    Parameter q{p.name, p.is_view, static_cast<ElementType>(p.dtype), p.nominal, static_cast<Access>(p.mode), p.optional, p.strided, {}};
    for (const Sym& d : p.dims) q.dims.push_back(d.str());
    out.push_back(std::move(q));
  }
  return out;
}

std::unique_ptr<ir::Kernel> recall_signature(cache::Store& store, const cache::Key& key) {
  const std::optional<cache::Entry> entry = store.find(cache::Kind::Signature, key);
  if (!entry) return nullptr;
  std::unique_ptr<ir::Kernel> out = cache::head_in(*entry);
  if (!out) store.drop(cache::Kind::Signature, key);
  return out;
}

}  // namespace

static_assert(static_cast<int>(Access::In) == static_cast<int>(ir::Mode::In) && static_cast<int>(Access::Out) == static_cast<int>(ir::Mode::Out) &&
              static_cast<int>(Access::InOut) == static_cast<int>(ir::Mode::InOut) &&
              static_cast<int>(Access::Scatter) == static_cast<int>(ir::Mode::Scatter) &&
              static_cast<int>(Access::Add) == static_cast<int>(ir::Mode::Add));

ResolvedTarget resolve_target(const Options& options) {
  const std::optional<Context>& context = options.context;
  const std::string text = !options.target.empty() ? options.target : context ? context->target() : "cpu";
  const std::optional<TargetName> named = read_target(text);
  if (!named) fail(Code::E0802, fmt::format("there is no target `{}`", text), target_names());
  ResolvedTarget out{named->target == Target::Simt ? named->gpu->name() : text, named->target, named->gpu, std::nullopt};
  if (named->target != Target::Cuda) {
    if (context && context->is_cuda()) fail(Code::E0802, fmt::format("target `{}` does not run on {}", text, context->target()));
    return out;
  }
  if (context) {
    if (!context->is_cuda() || (text.starts_with("cuda:") && *named->device != context->device()))
      fail(Code::E0802, fmt::format("target `{}` does not run on {}", text, context->target()));
    out.context = context;
  } else if (named->device) {
    out.context = Context::cuda(*named->device);
  }
  if (!out.gpu) out.gpu = out.context->gpu()->target();
  out.name = out.gpu->name();
  return out;
}

KernelImpl::KernelImpl(std::unique_ptr<const KernelSource> source, std::shared_ptr<const SourceMap> sources, std::shared_ptr<LazyLoader> loader,
                       Options options, const ResolvedTarget& target, CompileHooks hooks, CacheLink link)
    : source_(std::move(source)),
      sources_(std::move(sources)),
      loader_(std::move(loader)),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      target_(target),
      link_(std::move(link)) {
  if (link_.store) signature_ = recall_signature(*link_.store, link_.key);
  if (!signature_) {
    Diagnostics diagnostics;
    const auto start = std::chrono::steady_clock::now();
    signature_ = source_->lower(std::nullopt, diagnostics);
    if (hooks_.timed) hooks_.timed("lower", std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    if (diagnostics.any()) throw to_error(diagnostics, *sources_);
    TESSERA_ASSERT(signature_, "no kernel and no diagnostic");
    if (link_.store) link_.store->put({cache::Kind::Signature, link_.key, cache::head_sections(*signature_)});
    whole_signature_ = true;
  }
  parameters_ = public_parameters(*signature_);
  for (std::size_t i = 0; i < signature_->params.size(); ++i) {
    if (signature_->params[i].optional) optional_.push_back(i);
  }
  TESSERA_ASSERT(optional_.size() < 64, "more optional views than a mask has bits");
}

void KernelImpl::refuse(Code code, Span span, const std::string& message, const std::string& help) const {
  Diagnostic d;
  d.code = code;
  d.span = span;
  d.message = message;
  d.help = help;
  throw to_error(d, *sources_);
}

std::uint64_t KernelImpl::mask_of(const std::vector<std::string>& absent) const {
  std::uint64_t mask = 0;
  for (const std::string& n : absent) {
    const auto at = std::find_if(optional_.begin(), optional_.end(), [&](std::size_t i) { return parameters_[i].name == n; });
    if (at != optional_.end()) {
      mask |= std::uint64_t{1} << (at - optional_.begin());
      continue;
    }
    const auto p = std::find_if(parameters_.begin(), parameters_.end(), [&](const Parameter& p) { return p.name == n; });
    if (p == parameters_.end()) refuse(Code::E0709, signature_->span, fmt::format("kernel `{}` has no parameter `{}`", name(), n));
    refuse(Code::E0708, signature_->params[static_cast<std::size_t>(p - parameters_.begin())].span, fmt::format("`{}` is not optional", n));
  }
  return mask;
}

std::vector<std::string> KernelImpl::names_of(std::uint64_t mask) const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < optional_.size(); ++i) {
    if (mask >> i & 1) out.push_back(parameters_[optional_[i]].name);
  }
  return out;
}

std::unique_ptr<ir::Kernel> KernelImpl::lower(std::uint64_t mask) const {
  if (optional_.empty() && whole_signature_) return signature_->clone();
  Diagnostics diagnostics;
  std::unique_ptr<ir::Kernel> kernel = source_->lower(names_of(mask), diagnostics);
  if (diagnostics.any()) throw to_error(diagnostics, *sources_);
  TESSERA_ASSERT(kernel, "no kernel and no diagnostic");
  return kernel;
}

const Form* KernelImpl::find_form(std::uint64_t mask) const {
  const std::unique_ptr<Form>* at = forms_.find([&](const std::unique_ptr<Form>& f) { return f->absent == mask; });
  return at ? at->get() : nullptr;
}

const Form& KernelImpl::form_for(const Context& context, std::span<const Argument> arguments) {
  std::uint64_t mask = 0;
  if (arguments.size() == parameters_.size()) {
    for (std::size_t i = 0; i < optional_.size(); ++i) {
      if (arguments[optional_[i]].is_absent()) mask |= std::uint64_t{1} << i;
    }
  }
  if (const Form* f = find_form(mask)) return *f;
  if (options_.on_miss == OnMiss::Fail)
    refuse(Code::E0708, signature_->span, fmt::format("kernel `{}` is not prepared for these absent views", name()),
           "call prepare() with their names first");
  if (context.is_cuda() && context.gpu()->capturing(static_cast<CUstream_st*>(context.raw_stream())))
    refuse(Code::E0708, signature_->span, fmt::format("kernel `{}` is not prepared for these absent views, and a graph is being captured", name()),
           "call prepare() before the capture");
  return form(mask);
}

void KernelImpl::launch(const Context& context, std::span<const Argument> arguments) {
  const Form& f = form_for(context, arguments);
  std::optional<cuda::Current> current;  // entered once for all that the launch asks the driver
  if (context.is_cuda()) current.emplace(*context.gpu());
  const Launch launch = f.plan->bind(arguments, context);
  f.executable->run(context, launch, options_.print);
}

GraphNode KernelImpl::add_node(const Context& context, Graph graph, std::span<const GraphNode> after, std::span<const Argument> arguments) {
  const Form& f = form_for(context, arguments);
  return f.executable->add_node(context, graph, after, f.plan->bind(arguments, context));
}

void KernelImpl::update_node(const Context& context, GraphExec exec, GraphNode node, std::span<const Argument> arguments) {
  const Form& f = form_for(context, arguments);
  f.executable->update_node(context, exec, node, f.plan->bind(arguments, context));
}

std::vector<Argument> KernelImpl::in_order(const std::map<std::string, Argument>& arguments) const {
  std::vector<Argument> out(parameters_.size(), Argument(absent));
  for (const auto& [n, a] : arguments) {
    const auto at = std::find_if(parameters_.begin(), parameters_.end(), [&](const Parameter& p) { return p.name == n; });
    if (at == parameters_.end()) {
      std::vector<std::string> names;
      for (const Parameter& p : parameters_) names.push_back(p.name);
      const std::string near = did_you_mean(n, names);
      refuse(Code::E0709, signature_->span, fmt::format("kernel `{}` has no parameter `{}`", name(), n),
             near.empty() ? "" : fmt::format("did you mean `{}`?", near));
    }
    out[static_cast<std::size_t>(at - parameters_.begin())] = a;
  }
  return out;
}

void KernelImpl::check_signature(std::span<const SignatureEntry> signature) const {
  if (signature.size() != parameters_.size()) {
    refuse(Code::E0701, signature_->span,
           fmt::format("kernel `{}` has {} parameters, but the signature has {}", name(), parameters_.size(), signature.size()));
  }
  const auto type_text = [](ElementType t, std::string_view nominal) {
    return nominal.empty() ? std::string(tessera::name(t)) : std::string(nominal);
  };
  for (std::size_t i = 0; i < signature.size(); ++i) {
    const SignatureEntry& s = signature[i];
    const Parameter& p = parameters_[i];
    const Span span = signature_->params[i].span;
    if (s.is_view != p.is_view)
      refuse(Code::E0702, span,
             fmt::format("`{}` is a {}, but the signature has a {}", p.name, p.is_view ? "view" : "scalar", s.is_view ? "view" : "scalar"));
    if ((s.is_absent || s.may_be_absent) && !p.optional) refuse(Code::E0708, span, fmt::format("`{}` is not optional", p.name));
    if (s.is_absent) continue;
    const bool idx = p.dtype == ElementType::Idx && s.dtype == ElementType::I64;
    if ((s.dtype != p.dtype && !idx) || s.nominal != p.nominal) {
      refuse(Code::E0702, span,
             fmt::format("`{}` has type `{}`, but the signature has `{}`", p.name, type_text(p.dtype, p.nominal), type_text(s.dtype, s.nominal)));
    }
    if (!p.is_view) continue;
    if (static_cast<std::size_t>(s.rank) != p.dims.size())
      refuse(Code::E0703, span, fmt::format("`{}` has {} axes, but the signature has {}", p.name, p.dims.size(), s.rank));
    if (s.access != p.access) {
      const auto mode = [](Access a) { return ir::name(static_cast<ir::Mode>(a)); };
      refuse(Code::E0711, span, fmt::format("`{}` has mode `{}`, but the signature has `{}`", p.name, mode(p.access), mode(s.access)));
    }
  }
}

namespace {

class GivenIr : public KernelSource {
 public:
  explicit GivenIr(std::unique_ptr<ir::Kernel> kernel) : kernel_(std::move(kernel)) {}
  std::unique_ptr<ir::Kernel> lower(const std::optional<std::vector<std::string>>&, Diagnostics&) const override { return kernel_->clone(); }

 private:
  std::unique_ptr<ir::Kernel> kernel_;
};

}  // namespace

AnyKernel kernel_from_ir(std::unique_ptr<ir::Kernel> kernel, std::shared_ptr<const SourceMap> sources, const Options& options,
                         const CompileHooks& hooks) {
  return guarded([&] {
    auto impl = std::make_shared<KernelImpl>(std::make_unique<const GivenIr>(std::move(kernel)), std::move(sources), std::make_shared<LazyLoader>(),
                                             options, resolve_target(options), hooks);
    impl->form(0);
    return AnyKernel(std::move(impl));
  });
}

}  // namespace tessera::detail
