// How a form of a kernel comes to be: from memory, from the disk, or by compiling.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "codegen/nvptx/ptx.h"
#include "codegen/passes/pipeline.h"
#include "dsl/text.h"
#include "runtime/cache/kernel_key.h"
#include "runtime/cuda_device.h"
#include "runtime/errors.h"
#include "runtime/kernel_impl.h"

namespace tessera::detail {

using cache::Entry;
using cache::Kind;

const Form& KernelImpl::form(std::uint64_t mask) {
  if (const Form* f = find_form(mask)) return *f;
  const std::lock_guard lock(mutex_);
  if (const Form* f = find_form(mask)) return *f;
  auto form = std::make_unique<Form>();
  form->absent = mask;
  guarded(
      [&] {
        if (!recall(*form)) build(*form);
      },
      [&] { return form->source ? ir::print(*form->source) : std::string(); });
  return *forms_.add(std::move(form));
}

cache::Key KernelImpl::form_key(std::uint64_t mask) const {
  cache::Fields fields;
  fields.add("what", "form").add("kernel", link_.key).add("debug", options_.debug ? "1" : "0");
  // A bundle says itself which machine it is for.
  if (!link_.store->portable()) fields.add("machine", cache::machine_inputs(target_.target, target_.gpu, target_.context).key());
  for (const std::string& n : names_of(mask)) fields.add("absent", n);
  return fields.key();
}

bool KernelImpl::recall(Form& form) const {
  if (!link_.store) return false;
  const cache::Key key = form_key(form.absent);
  const std::optional<Entry> entry = link_.store->find(Kind::Form, key);
  if (!entry) return false;
  const std::string* named = entry->find("key ");
  const std::unique_ptr<ir::Kernel> head = cache::head_in(*entry);
  if (!head || !named || named->size() != cache::Key().bytes.size()) {
    link_.store->drop(Kind::Form, key);
    return false;
  }
  cache::Key code;
  std::copy(named->begin(), named->end(), code.bytes.begin());
  cache::InPlace in_place;
  form.executable = cached_code(code, in_place);
  if (!form.executable) return false;
  form.plan = std::make_unique<LaunchPlan>(*head, sources_);
  return true;
}

void KernelImpl::build(Form& form) const {
  form.source = lower(form.absent);
  form.plan = std::make_unique<LaunchPlan>(*form.source, sources_);
  if (!link_.store) return compile_into(form, nullptr);
  const cache::Key key =
      cache::kernel_inputs(cache::machine_inputs(target_.target, target_.gpu, target_.context), *form.source, source_->schedule(), options_.debug)
          .key();
  cache::InPlace in_place;
  form.executable = cached_code(key, in_place);
  if (!form.executable) {
    // Whoever comes second waits for the first and finds its work.
    const cache::Disk::Claim claim = link_.store->claim(key);
    form.executable = cached_code(key, in_place);
    if (!form.executable) compile_into(form, &key);
  }
  if (!form.compiled && !in_place.empty()) {
    form.source->in_place = in_place;
    form.plan = std::make_unique<LaunchPlan>(*form.source, sources_);
  }
  std::vector<cache::Section> sections = cache::head_sections(*form.source);
  sections.insert(sections.begin(), {"key ", std::string(key.bytes.begin(), key.bytes.end())});
  link_.store->put({Kind::Form, form_key(form.absent), std::move(sections)});
}

void KernelImpl::compile_into(Form& form, const cache::Key* key) const {
  Diagnostics diagnostics;
  form.compiled = form.source->clone();
  std::vector<cache::Section> sections;
  form.executable = compile(*form.compiled, sources_, *loader_, compile_options(), diagnostics, key ? &sections : nullptr);
  if (diagnostics.any()) throw to_error(diagnostics, *sources_);
  TESSERA_ASSERT(form.executable, "no code and no diagnostic");
  if (target_.target == Target::Cpu && !form.compiled->in_place.empty()) {
    // The passes have proved where an output may be an input. GPU code does not count on it yet.
    form.source->in_place = form.compiled->in_place;
    form.plan = std::make_unique<LaunchPlan>(*form.source, sources_);
  }
  load(*form.executable);
  if (!key) return;
  ++link_.store->counts.compiled;
  sections.push_back(cache::in_place_section(form.source->in_place));
  link_.store->put({Kind::Kernel, *key, std::move(sections)});
  if (!options_.debug) link_.store->remember(*key, form.executable);
}

CompileOptions KernelImpl::compile_options() const {
  CompileOptions out{target_.target, target_.gpu, options_.debug, hooks_, source_->schedule(), options_.seed};
  // Kept for the next process, which then waits for no assembler, nor for the driver's own cache. Another ptxas than the driver's would make other
  // code.
  out.machine_code = link_.store && link_.store->on() && target_.context && target_.context->is_cuda() && target_.context->gpu()->has_ptxas();
  return out;
}

std::unique_ptr<ir::Kernel> KernelImpl::after_passes(std::uint64_t mask) const {
  std::unique_ptr<ir::Kernel> kernel = lower(mask);
  Diagnostics diagnostics;
  run_target_free_passes(*kernel, diagnostics, {.gpu = target_.target == Target::Cuda || target_.target == Target::Simt});
  if (diagnostics.any()) throw to_error(diagnostics, *sources_);
  return kernel;
}

void KernelImpl::load(const Executable& code) const {
  if (!target_.context) return;
  const auto start = std::chrono::steady_clock::now();
  code.prepare(*target_.context);
  if (hooks_.timed) hooks_.timed("load", std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
}

std::shared_ptr<const Executable> KernelImpl::cached_code(const cache::Key& key, cache::InPlace& in_place) const {
  cache::Store& store = *link_.store;
  const std::optional<Entry> entry = store.find(Kind::Kernel, key);
  if (!entry) return nullptr;
  const std::optional<cache::InPlace> pairs = cache::in_place_of(*entry);
  try {
    if (std::shared_ptr<const Executable> code = pairs ? store.loaded(key) : nullptr) {
      load(*code);
      in_place = *pairs;
      ++store.counts.from_memory;
      return code;
    }
    std::shared_ptr<const Executable> code;
    if (target_.target == Target::Cpu) {
      if (std::optional<CpuObject> o = cache::cpu_object(*entry)) code = linked(std::move(*o), loader_->get(), sources_);
    } else if (std::optional<GpuObject> o = cache::gpu_object(*entry)) {
      code = on_gpu(std::move(*o), name(), sources_);
    }
    if (code && pairs) {
      load(*code);
      in_place = *pairs;
      ++store.counts.from_disk;
      if (!options_.debug) store.remember(key, code);
      return code;
    }
  } catch (const MachineError&) {
    if (store.portable()) throw;  // nothing else can be made of a bundle
    // Code that cannot be loaded is made again, and if that cannot be loaded either, its error is told.
  } catch (const InternalError&) {}
  store.drop(Kind::Kernel, key);
  return nullptr;
}

}  // namespace tessera::detail
