#include "tessera/module.h"

#include <fmt/format.h>

#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/kernel_impl.h"
#include "runtime/winners.h"

namespace tessera {

Constants detail::to_constants(const Consts& consts) {
  Constants out;
  for (const auto& [name, value] : consts.values()) {
    if (const auto* t = std::get_if<ElementType>(&value)) {
      out.emplace(name, static_cast<DType>(*t));
    } else if (const auto* i = std::get_if<std::int64_t>(&value)) {
      out.emplace(name, *i);
    } else if (const auto* b = std::get_if<bool>(&value)) {
      out.emplace(name, *b);
    } else {
      out.emplace(name, std::get<std::string>(value));
    }
  }
  return out;
}

AnyKernel detail::make_kernel(const ModuleImpl& module, const std::string& name, const Consts& consts, const Options& options,
                              std::span<const SignatureEntry> signature, const MakeOptions& more) {
  const std::shared_ptr<const Program>& program = module.shared_program();
  Diagnostics diagnostics;
  const std::vector<Winner> winners = parse_winners(options.winners, "winners");
  const ResolvedTarget target = resolve_target(options);
  const Constants constants = choose_tuned(*program, name, target.name, to_constants(consts), winners, more.sizes, diagnostics);
  if (diagnostics.any()) throw to_error(diagnostics, *module.sources());
  const auto instantiate_form = [program, name, constants](const std::optional<std::vector<std::string>>& absent, Diagnostics& ds) {
    return absent ? instantiate(*program, name, constants, *absent, ds) : instantiate_signature(*program, name, constants, ds);
  };
  const Schedule schedule = schedule_for(*program, name, schedule_family(target.target, target.gpu));
  auto impl = std::make_shared<KernelImpl>(instantiate_form, schedule, module.sources(), module.loader(), options, target, more.hooks);
  std::vector<std::string> left_out = options.absent;
  if (!signature.empty()) {
    impl->check_signature(signature);
    for (std::size_t i = 0; i < signature.size(); ++i) {
      if (signature[i].is_absent) left_out.push_back(impl->parameters()[i].name);
    }
  }
  const std::uint64_t mask = impl->mask_of(left_out);
  if (more.compile) impl->form(mask);
  return AnyKernel(std::move(impl));
}

AnyKernel Module::kernel(std::string_view name, const Consts& constants, const Options& options) const {
  return kernel_for(name, constants, options, {});
}

AnyKernel Module::kernel_for(std::string_view name, const Consts& constants, const Options& options,
                             std::span<const detail::SignatureEntry> signature) const {
  return guarded([&] { return detail::make_kernel(*impl_, std::string(name), constants, options, signature, {}); });
}

std::vector<KernelOutline> Module::kernels() const {
  return guarded([&] {
    std::vector<KernelOutline> out;
    for (const KernelInfo& k : tessera::kernels(impl_->program())) {
      KernelOutline o{k.name, {}, {}};
      for (const ConstantInfo& c : k.constants) o.constants.push_back({c.name, c.kind, c.has_default, c.tuned});
      for (const ParameterInfo& p : k.parameters) o.parameters.push_back({p.name, p.type});
      out.push_back(std::move(o));
    }
    return out;
  });
}

Module load_source(const std::string& name, const std::string& text) { return load_source(name, text, {}); }

Module load_source(const std::string& name, const std::string& text, const std::map<std::string, std::string>& imports) {
  return guarded([&] {
    const ImportResolver resolve = [&imports, beside = import_beside(name)](const std::string& path) -> std::optional<ModuleText> {
      if (const auto at = imports.find(path); at != imports.end()) return ModuleText{path + ".tile", at->second};
      return beside(path);
    };
    LoadResult r = load_program(name, text, resolve);
    if (r.diagnostics.any()) throw to_error(r.diagnostics, *r.sources);
    TESSERA_ASSERT(r.program, "no program and no diagnostic");
    return Module(std::make_shared<const detail::ModuleImpl>(std::move(r.program), std::move(r.sources)));
  });
}

Module load(const std::string& path) {
  return guarded([&] { return load_source(path, read_file(path, 64 << 20)); });
}

}  // namespace tessera
