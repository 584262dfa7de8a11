#include "runtime/cli/invocation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "runtime/cuda_device.h"
#include "runtime/errors.h"
#include "tessera/stream.h"

namespace tessera::cli {
namespace {

bool reads(const Parameter& p) { return p.access == Access::In || p.access == Access::InOut || p.access == Access::Add; }
bool writes(const Parameter& p) { return p.access != Access::In; }

const Parameter& parameter(const AnyKernel& kernel, const std::string& name, const char* option, bool view) {
  std::vector<std::string> names;
  for (const Parameter& p : kernel.parameters()) {
    if (p.name == name && p.is_view == view) return p;
    if (p.is_view == view) names.push_back(p.name);
  }
  const std::string near = did_you_mean(name, names);
  fail(Code::E0709, fmt::format("{}: kernel `{}` has no {} `{}`", option, kernel.name(), view ? "view" : "scalar", name),
       !near.empty()   ? fmt::format("did you mean `{}`?", near)
       : names.empty() ? ""
                       : fmt::format("there are {}", fmt::join(names, ", ")));
}

}  // namespace

SymbolValues sizes_from_text(const std::vector<std::string>& words) {
  SymbolValues out;
  for (const auto& [symbol, text] : pairs(words, "--size")) {
    const std::vector<std::int64_t> value = extents_from_text(text, fmt::format("`{}`", symbol));
    out[symbol] = value.empty() ? 0 : value[0];
  }
  return out;
}

void add_random_inputs(CLI::App& sub, InvocationOptions& o, std::vector<std::string>& sizes) {
  sub.add_option("--size", sizes, "B=1,H=8,Sq=2048: values of the launch symbols")->delimiter(',')->allow_extra_args(false);
  sub.add_option("--arg", o.scalars, "NAME=VALUE: a scalar; default 1")->allow_extra_args(false);
  sub.add_option("--in", o.in, "safetensors file with inputs that must not be random, such as page tables");
  sub.add_option("--shape", o.shapes, "NAME=2,3,4: extents of a view")->allow_extra_args(false);
  sub.add_option("--without", o.without, "leave out an optional output")->delimiter(',')->allow_extra_args(false);
  sub.add_option("--with", o.with, "make up an optional input too, which is left out else")->delimiter(',')->allow_extra_args(false);
}

Invocation::Invocation(const InvocationOptions& options, Report& report) {
  const CompileHooks hooks = hooks_for(options.kernel, report);
  const Module module = load_timed(options.kernel, hooks);
  context_ = context_for(options.kernel);
  Options o;
  o.target = options.kernel.target;
  if (context_->is_cuda()) o.context = context_;
  o.debug = options.kernel.debug;
  o.seed = options.kernel.seed;
  o.winners = winners_text(options.kernel);
  const std::string name = kernel_name(module, options.kernel);
  // Nothing is compiled before the inputs are read: which views are absent says which form is needed.
  kernel_ = detail::make_kernel(module.impl(), name, consts_from_text(options.kernel.constants), o, {},
                                {.hooks = hooks, .sizes = options.sizes, .compile = false});
  read_inputs(options);
  find_symbols(options);
  read_scalars(options);
  dry_ = options.dry;
  if (dry_) return;
  make_tensors(options);
  dry_ = !options.compile;  // what follows from the kernel follows from its uncompiled form
  if (options.compile) kernel_->prepare(*context_, absent_);
  if (context_->is_cuda()) move_to_device();
}

void Invocation::read_inputs(const InvocationOptions& options) {
  for (const std::string& n : options.without) {
    if (!parameter(*kernel_, n, "--without", true).optional) fail(Code::E0708, fmt::format("`{}` is not optional", n));
  }
  for (const std::string& n : options.with) {
    if (!parameter(*kernel_, n, "--with", true).optional) fail(Code::E0708, fmt::format("`{}` is not optional", n));
    if (std::find(options.without.begin(), options.without.end(), n) != options.without.end())
      fail(Code::E0802, fmt::format("`{}` is named by --with and by --without", n));
  }
  std::optional<SafetensorsFile> file;
  if (!options.in.empty()) file.emplace(options.in);
  for (const Parameter& p : kernel_->parameters()) {
    if (!p.is_view) continue;
    const bool without = std::find(options.without.begin(), options.without.end(), p.name) != options.without.end();
    const bool with = std::find(options.with.begin(), options.with.end(), p.name) != options.with.end();
    const TensorEntry* entry = file && !without && p.access != Access::Out ? file->find(p.name) : nullptr;
    if (entry) {
      HostTensor t = load_as(*file, *entry, p);
      shapes_[p.name] = t.extents();
      tensors_.emplace(p.name, std::move(t));
    } else if (without || (p.optional && reads(p) && !with)) {
      absent_.push_back(p.name);
    } else if (reads(p) && !options.random_inputs) {
      std::vector<std::string> names;
      if (file) {
        for (const TensorEntry& e : file->tensors()) names.push_back(e.name);
      }
      const std::string near = did_you_mean(p.name, names);
      fail(Code::E0708,
           options.in.empty() ? fmt::format("tensor `{}` is missing: give it with --in", p.name)
                              : fmt::format("tensor `{}` is missing in `{}`", p.name, options.in),
           near.empty() ? "" : fmt::format("did you mean to name `{}` so?", near));
    }
  }
}

void Invocation::find_symbols(const InvocationOptions& options) {
  for (const auto& [n, text] : pairs(options.shapes, "--shape")) {
    const Parameter& p = parameter(*kernel_, n, "--shape", true);
    const std::vector<std::int64_t> shape = extents_from_text(text, fmt::format("`{}`", n));
    if (shape.size() != p.dims.size()) fail(Code::E0703, fmt::format("`{}` has {} axes, but --shape gives {}", n, p.dims.size(), shape.size()));
    if (const auto t = shapes_.find(n); t != shapes_.end() && t->second != shape) {
      fail(Code::E0704,
           fmt::format("`{}` has shape [{}] in `{}`, but --shape gives [{}]", n, fmt::join(t->second, ", "), options.in, fmt::join(shape, ", ")));
    }
    shapes_[n] = shape;
  }
  const ir::Kernel& signature = kernel_->impl().signature();
  for (const auto& [symbol, value] : options.sizes) {
    if (std::find(signature.symbols.begin(), signature.symbols.end(), symbol) == signature.symbols.end()) {
      const std::string near = did_you_mean(symbol, signature.symbols);
      fail(Code::E0802, fmt::format("--size: kernel `{}` has no symbol `{}`", signature.name, symbol),
           near.empty() ? fmt::format("there are {}", fmt::join(signature.symbols, ", ")) : fmt::format("did you mean `{}`?", near));
    }
  }
  symbols_ = infer_symbols(signature, shapes_, options.sizes);
}

void Invocation::make_tensors(const InvocationOptions& options) {
  const ir::Kernel& signature = kernel_->impl().signature();
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i < signature.params.size(); ++i) {
    const Parameter& p = kernel_->parameters()[i];
    if (!p.is_view || tensors_.contains(p.name) || std::find(absent_.begin(), absent_.end(), p.name) != absent_.end()) continue;
    std::optional<std::vector<std::int64_t>> shape;
    if (const auto given = shapes_.find(p.name); given != shapes_.end()) {
      shape = given->second;
    } else {
      shape = extents(signature.params[i], symbols_);
    }
    const bool with = std::find(options.with.begin(), options.with.end(), p.name) != options.with.end();
    if (!shape && p.optional && !with) {
      absent_.push_back(p.name);
      continue;
    }
    if (!shape) {
      fail(Code::E0708, fmt::format("the shape [{}] of `{}` does not follow from what is given", fmt::join(p.dims, ", "), p.name),
           options.random_inputs ? "name its symbols with --size, such as --size B=1,H=8" : fmt::format("give it with --shape {}=..", p.name));
    }
    HostTensor t(p.dtype, *shape);
    if (reads(p) && options.random_inputs) t.fill_random(random, 8);
    // An output that is not written whole must show: its bytes are those of NaN and of -1.
    if (p.access == Access::Out && !t.bytes().empty()) std::memset(t.bytes().data(), 0xff, t.bytes().size());
    tensors_.emplace(p.name, std::move(t));
  }
}

void Invocation::read_scalars(const InvocationOptions& options) {
  for (const auto& [n, text] : pairs(options.scalars, "--arg")) scalars_.emplace(n, scalar_from_text(parameter(*kernel_, n, "--arg", false), text));
  for (const Parameter& p : kernel_->parameters()) {
    if (p.is_view || scalars_.contains(p.name)) continue;
    if (!options.random_inputs) fail(Code::E0708, fmt::format("scalar `{}` is missing: give it with --arg {}=VALUE", p.name, p.name));
    scalars_.emplace(p.name, scalar_from_text(p, p.dtype == ElementType::Bool ? "true" : "1"));
  }
}

Work Invocation::work() const {
  const std::uint64_t mask = kernel_->impl().mask_of(absent_);
  if (dry_) return count_work(*kernel_->impl().lower(mask), sizes());
  if (const auto& compiled = kernel_->impl().form(mask).compiled) return count_work(*compiled, sizes());
  return count_work(*kernel_->impl().after_passes(mask), sizes());
}

SymbolValues Invocation::sizes() const {
  SymbolValues out = symbols_;
  for (const auto& [n, s] : scalars_) {
    if (s.dtype == ElementType::Idx) out.emplace(n, static_cast<std::int64_t>(s.bits));
  }
  return out;
}

std::vector<Argument> Invocation::arguments() const {
  std::map<std::string, Argument> arguments;
  for (const auto& [n, t] : tensors_) {
    arguments.emplace(n, context_->is_cuda() ? on_device_.at(n).tensor(t.dtype(), t.extents()) : t.tensor());
  }
  for (const auto& [n, s] : scalars_) arguments.emplace(n, s);
  return kernel_->impl().in_order(arguments);
}

void Invocation::launch() const {
  kernel_->launch(*context_, arguments());
  context_->synchronize();
}

void Invocation::move_to_device() {
  for (const Parameter& p : kernel_->parameters()) {
    const auto t = tensors_.find(p.name);
    if (t == tensors_.end()) continue;
    DeviceBuffer b(*context_, t->second.bytes().size());
    b.copy_from(t->second.bytes(), *context_);
    on_device_.emplace(p.name, std::move(b));
  }
}

void Invocation::fetch() {
  if (!context_->is_cuda()) return;
  for (const Parameter* p : written()) on_device_.at(p->name).copy_to(tensors_.at(p->name).bytes(), *context_);
}

std::vector<const Parameter*> Invocation::written() const {
  std::vector<const Parameter*> out;
  for (const Parameter& p : kernel_->parameters()) {
    if (p.is_view && writes(p) && tensors_.contains(p.name)) out.push_back(&p);
  }
  return out;
}

namespace {

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times.size() % 2 ? times[times.size() / 2] : (times[times.size() / 2 - 1] + times[times.size() / 2]) / 2;
}

}  // namespace

double Invocation::median_seconds(double seconds, bool cold) {
  if (context_->is_cuda()) return median_seconds_on_gpu(seconds, cold);
  std::map<std::string, HostTensor> before;
  for (const Parameter* p : written()) {
    if (p->access != Access::Out) before.emplace(p->name, tensors_.at(p->name).copy());
  }
  const auto set_back = [&] {
    for (const auto& [n, t] : before) {
      if (!t.bytes().empty()) std::memcpy(tensors_.at(n).bytes().data(), t.bytes().data(), t.bytes().size());
    }
  };
  launch();  // pages, caches and threads are warm afterwards
  std::vector<double> times;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto start = now();
  while (times.size() < 5 || (times.size() < 1000 && std::chrono::duration<double>(now() - start).count() < seconds)) {
    set_back();
    const auto t = now();
    launch();
    times.push_back(std::chrono::duration<double>(now() - t).count());
  }
  return median(std::move(times));
}

double Invocation::median_seconds_on_gpu(double seconds, bool cold) {
  const Context& gpu = *context_;
  const std::vector<Argument> given = arguments();
  std::map<std::string, DeviceBuffer> before;
  for (const Parameter* p : written()) {
    if (p->access == Access::Out) continue;
    const DeviceBuffer& now = on_device_.at(p->name);
    before.emplace(p->name, DeviceBuffer(gpu, now.bytes())).first->second.copy_from(now, gpu);
  }
  const auto set_back = [&] {
    for (const auto& [n, b] : before) on_device_.at(n).copy_from(b, gpu);
  };
  // Writing more than the cache holds drives everything else out of it.
  const DeviceBuffer flush(gpu, cold ? std::max<std::size_t>(2 * static_cast<std::size_t>(gpu.gpu()->properties().l2_bytes), 64 << 20) : 0);
  const auto batch_seconds = [&](int launches) {
    Event start(gpu, Event::Timing::On), end(gpu, Event::Timing::On);
    set_back();
    if (cold) flush.fill(0, gpu);
    start.record(gpu);
    for (int i = 0; i < launches; ++i) kernel_->launch(gpu, given);
    end.record(gpu);
    end.synchronize();
    return Event::elapsed_ms(start, end) * 1e-3 / launches;
  };
  launch();
  // Launches that need nothing between them are timed in a row of about two milliseconds, so that what a launch costs the host is hidden.
  const double once = batch_seconds(1);
  const int row = cold || !before.empty() ? 1 : static_cast<int>(std::clamp(2e-3 / std::max(once, 1e-6), 1.0, 200.0));
  std::vector<double> times;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto begin = now();
  while (times.size() < 5 || (times.size() < 1000 && std::chrono::duration<double>(now() - begin).count() < seconds))
    times.push_back(batch_seconds(row));
  set_back();
  launch();
  fetch();
  return median(std::move(times));
}

}  // namespace tessera::cli
