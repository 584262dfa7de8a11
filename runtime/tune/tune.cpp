// tessera::tune: candidates of a `tune` block as entrants of a search.
#include "tessera/tune.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "runtime/cache/kernel_key.h"
#include "runtime/errors.h"
#include "runtime/kernel_impl.h"
#include "runtime/parallel.h"
#include "runtime/tune/estimate.h"
#include "runtime/tune/log.h"
#include "runtime/tune/search.h"
#include "runtime/tune/subject.h"
#include "runtime/winners.h"

namespace tessera {
namespace tuning {
namespace {

/// Candidates that the estimate puts further behind are not tried, as far as that leaves some; the first of the file always is.
constexpr double most_behind = 2.5;
constexpr std::size_t always_tried = 4, tried_share = 2;  // at least that many, and at most one of two

/// Whether another candidate may fare better: budgets, limits of the target, an assembler that refuses the code.
bool is_the_candidates(const Error& e) {
  if (e.kind() == Error::Kind::Machine) return true;
  return e.code().starts_with("E06") || e.code() == "E0804" || e.code() == "E0509";
}

std::string reason(const Error& e) { return e.kind() == Error::Kind::Machine ? e.message() : fmt::format("{}: {}", e.code(), e.message()); }

Consts public_consts(const Constants& constants) {
  Consts out;
  for (const auto& [n, v] : constants) {
    if (const auto* i = std::get_if<std::int64_t>(&v)) out.set({n, *i});
    if (const auto* b = std::get_if<bool>(&v)) out.set({n, *b});
    if (const auto* t = std::get_if<DType>(&v)) out.set({n, static_cast<ElementType>(*t)});
    if (const auto* s = std::get_if<std::string>(&v)) out.set({n, *s});
  }
  return out;
}

double thread_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
double wall_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Candidate {
  Constants constants;
  std::string text;
  std::optional<AnyKernel> kernel;  ///< made, if it could be
  bool compiled = false, spills = false;
};

class Tuner : public Field {
 public:
  Tuner(const Module& module, std::string kernel, const Consts& given, const Context& context, std::span<const Argument> arguments,
        const TuneOptions& how, const Options& options, const Cache& cache)
      : module_(module), name_(std::move(kernel)), given_(detail::to_constants(given)), context_(context), how_(how), options_(options), log_(cache) {
    if (context_.is_cuda()) options_.context = context_;
    const detail::ResolvedTarget target = detail::resolve_target(options_);
    if (target.target != Target::Cpu && target.target != Target::Cuda)
      fail(Code::E0802, fmt::format("times of the target `{}` would mean nothing", options_.target), "tune for the CPU or a GPU");
    target_ = target.name;
    seconds_ = how_.seconds > 0 ? how_.seconds : target.target == Target::Cuda ? 1.2 : 0.8;
    machine_key_ = cache::machine_inputs(target.target, target.gpu, options_.context).key();
    Diagnostics diagnostics;
    for (Constants& c : tune_candidates(module_.impl().program(), name_, given_, diagnostics)) {
      std::vector<std::string> words;
      for (const auto& [n, v] : c) words.push_back(fmt::format("{}={}", n, str(v)));
      candidates_.push_back({std::move(c), fmt::format("{}", fmt::join(words, " ")), {}, false, false});
    }
    if (diagnostics.any()) throw to_error(diagnostics, *module_.impl().sources());
    if (candidates_.empty() || candidates_.front().constants.empty()) refuse_empty();
    make_kernels();
    const AnyKernel& any = *std::find_if(candidates_.begin(), candidates_.end(), [](const Candidate& c) { return c.kernel.has_value(); })->kernel;
    if (any.parameters().size() != arguments.size())
      fail(Code::E0701, fmt::format("kernel `{}` has {} parameters, but there are {} arguments", name_, any.parameters().size(), arguments.size()));
    subject_.emplace(context_, any.parameters(), arguments);
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      if (arguments[i].is_absent()) absent_.push_back(any.parameters()[i].name);
    }
    find_sizes(any);
  }

  TuneResult run() {
    rank();
    std::vector<Entrant*> to_compile;
    for (Entrant& e : entrants_) {
      if (e.dropped.empty() && !e.known) to_compile.push_back(&e);
    }
    compile(to_compile);
    if (std::none_of(entrants_.begin(), entrants_.end(), [](const Entrant& e) { return e.dropped.empty(); })) {
      // Spills are slow, not wrong: where nothing else is left, the best of those.
      for (Entrant& e : entrants_) {
        if (candidates_[e.id].spills) e.dropped.clear();
      }
    }
    SearchResult found;
    if (stop()) {
      found.stopped = true;
    } else {
      // A GPU at its power limit needs longer than a tenth of a second with one kernel to come to that kernel's clock.
      SearchOptions options{.seconds = seconds_, .exhaustive = how_.exhaustive};
      if (context_.is_cuda()) {
        options.passes = 3;
        options.by_median = true;
      }
      found = search(entrants_, *this, options);
    }
    return result(found);
  }

  // --- Field
  std::vector<double> time(Entrant& e, double seconds, int least, double hopeless) override {
    compile({&e});
    if (!e.dropped.empty()) return {};
    return subject_->time(*candidates_[e.id].kernel, seconds, least, hopeless, how_.cold);
  }

  bool check(Entrant& e) override {
    compile({&e});
    if (!e.dropped.empty()) return false;
    const AnyKernel& kernel = *candidates_[e.id].kernel;
    if (how_.check) e.dropped = how_.check(kernel);
    if (!e.dropped.empty()) return false;
    subject_->set_back();
    subject_->poison();
    kernel.launch(context_, subject_->arguments());
    Results here = subject_->fetch();
    if (first_.empty()) {
      first_ = std::move(here);
      return true;
    }
    const std::string text = difference(here, first_, tolerance_for(kernel.parameters()));
    if (!text.empty()) e.dropped = "unlike the first candidate: " + text;
    return text.empty();
  }

  bool stop() override { return how_.stop && how_.stop(); }

  void told(const Entrant& e, std::size_t done, std::size_t all) override {
    log_.add(timing_key(e.id), {e.median, e.final ? Stage::Final : Stage::Rough}, description(e.id));
    if (!how_.progress) return;
    const double spent = wall_seconds() - start_;
    how_.progress({done, all, candidates_[e.id].text, spent / static_cast<double>(done) * static_cast<double>(all - done)});
  }

 private:
  [[noreturn]] void refuse_empty() const {
    // A constant that is missing or unknown is why no candidate fits; making the kernel says so.
    detail::make_kernel(module_.impl(), name_, public_consts(given_), {.target = "interp"}, {}, {.compile = false});
    if (candidates_.empty()) fail(Code::E0802, fmt::format("no candidate of `{}` fits these constants", name_));
    fail(Code::E0802, fmt::format("there is nothing to choose: `{}` has no `tune` block, or its constants are all given", name_));
  }

  /// Made, not compiled.
  void make_kernels() {
    entrants_.resize(candidates_.size());
    std::vector<std::optional<Error>> errors(candidates_.size());
    parallel_for(candidates_.size(), how_.threads, [&](std::size_t i) {
      Candidate& c = candidates_[i];
      Constants all = given_;
      all.insert(c.constants.begin(), c.constants.end());
      entrants_[i].id = i;
      try {
        c.kernel = guarded([&] { return detail::make_kernel(module_.impl(), name_, public_consts(all), options_, {}, {.compile = false}); });
      } catch (const Error& error) {
        if (!is_the_candidates(error)) throw;
        errors[i] = error;
        entrants_[i].dropped = reason(error);
      }
    });
    if (std::all_of(errors.begin(), errors.end(), [](const auto& e) { return e.has_value(); })) throw *errors.front();
  }

  void find_sizes(const AnyKernel& kernel) {
    Shapes shapes;
    const std::vector<Parameter>& ps = kernel.parameters();
    for (std::size_t i = 0; i < ps.size(); ++i) {
      if (const Tensor* t = subject_->arguments()[i].tensor())
        shapes[ps[i].name] = std::vector<std::int64_t>(t->extents.begin(), t->extents.begin() + t->rank);
    }
    sizes_ = infer_symbols(kernel.impl().signature(), shapes, how_.sizes);
    for (std::size_t i = 0; i < ps.size(); ++i) {
      const Scalar* s = subject_->arguments()[i].scalar();
      if (s && ps[i].dtype == ElementType::Idx) sizes_.emplace(ps[i].name, static_cast<std::int64_t>(s->bits));
    }
  }

  /// Estimates, the order that follows from them, whom they leave out, and who is known.
  void rank() {
    const Machine machine = machine_of(context_);
    parallel_for(entrants_.size(), how_.threads, [&](std::size_t i) {
      Entrant& e = entrants_[i];
      if (!e.dropped.empty()) return;
      try {
        guarded([&] {
          const detail::KernelImpl& impl = candidates_[e.id].kernel->impl();
          const std::unique_ptr<ir::Kernel> ir = impl.lower(impl.mask_of(absent_));
          e.estimate = estimate(count_effort(*ir, sizes_), machine, products_of_16_bits(*ir));
        });
      } catch (const Error& error) {
        if (!is_the_candidates(error)) throw;
        e.dropped = reason(error);
      }
    });
    std::stable_sort(entrants_.begin(), entrants_.end(), [](const Entrant& a, const Entrant& b) { return a.estimate < b.estimate; });
    double best = 0;
    std::size_t alive = 0, tried = 0;
    for (const Entrant& e : entrants_) {
      if (!e.dropped.empty()) continue;
      ++alive;
      if (best == 0) best = e.estimate;
    }
    for (Entrant& e : entrants_) {
      if (!e.dropped.empty()) continue;
      const bool hopeless = tried >= always_tried && (e.estimate > most_behind * best || tried >= std::max(always_tried, alive / tried_share));
      if (!how_.exhaustive && hopeless && e.id != 0) {
        e.dropped = fmt::format("left out: estimated at {:.2f} of the best", e.estimate / best);
        continue;
      }
      ++tried;
      const std::optional<Log::Timing> known = !how_.again ? log_.find(timing_key(e.id)) : std::nullopt;
      if (!known || (how_.exhaustive && known->stage != Stage::Final)) continue;
      e.known = true;
      e.median = known->seconds;
      e.final = known->stage == Stage::Final;
    }
  }

  /// In parallel; also their spills, which drop them. Those that are compiled already cost nothing.
  void compile(const std::vector<Entrant*>& wanted) {
    std::vector<Entrant*> left;
    for (Entrant* e : wanted) {
      if (!candidates_[e->id].compiled) left.push_back(e);
    }
    if (left.empty()) return;
    std::size_t done = 0;
    std::mutex mutex;  // of what is told and added up
    const double begun = wall_seconds();
    parallel_for(left.size(), how_.threads, [&](std::size_t i) {
      if (stop()) return;
      Entrant& e = *left[i];
      const double start = thread_seconds();
      try {
        guarded([&] { compile_one(e); });
      } catch (const Error& error) {
        if (!is_the_candidates(error)) throw;
        e.dropped = reason(error);
      }
      const std::lock_guard lock(mutex);
      compile_seconds_ += thread_seconds() - start;
      ++done;
      if (how_.progress && left.size() > 1) how_.progress({0, left.size() - done, "compiling " + candidates_[e.id].text, 0});
    });
    compile_wall_ += wall_seconds() - begun;
  }

  void compile_one(Entrant& e) {
    Candidate& c = candidates_[e.id];
    detail::KernelImpl& impl = c.kernel->impl();
    const detail::Form& form = impl.form(impl.mask_of(absent_));
    form.executable->prepare(context_);
    c.compiled = true;
    const std::optional<AssembledCode> code = form.executable->assembled(context_);
    if (!code || code->local_bytes == 0) return;
    c.spills = true;
    e.dropped = fmt::format("{} bytes of local memory a thread, {} registers", code->local_bytes, code->registers);
  }

  std::string device() const { return context_.is_cuda() ? context_.description() : fmt::format("cpu, {} threads", context_.threads()); }
  std::string description(std::size_t id) const { return fmt::format("{} {} {}", name_, target_, candidates_[id].text); }

  /// Names everything that a timing depends on, as far as it is known.
  cache::Key timing_key(std::size_t id) const {
    cache::Fields fields;
    fields.add("what", "timing").add("sources", module_.impl().key()).add("kernel", name_).add("machine", machine_key_).add("device", device());
    for (const Constants* constants : {&given_, &candidates_[id].constants}) {
      for (const auto& [n, v] : *constants) fields.add("constant", n).add("value", str(v));
    }
    for (const Argument& a : subject_->arguments()) {
      std::string text = "absent";
      if (const Tensor* t = a.tensor()) {
        const auto rank = static_cast<std::size_t>(t->rank);
        text = fmt::format("{} {} {}", tessera::name(t->dtype), fmt::join(std::span(t->extents).first(rank), ","),
                           fmt::join(std::span(t->strides).first(rank), ","));
      } else if (const Scalar* s = a.scalar()) {
        text = fmt::format("{} {}", tessera::name(s->dtype), s->bits);
      }
      fields.add("argument", text);
    }
    for (const auto& [n, v] : how_.sizes) fields.add("size", n).add("value", std::to_string(v));
    return fields.add("data", how_.data).add("cold", how_.cold ? "1" : "0").add("seconds", fmt::format("{}", seconds_)).key();
  }

  TuneResult result(const SearchResult& found) {
    TuneResult out;
    out.stopped = found.stopped;
    out.throttled = found.throttled;
    for (const Entrant& e : entrants_) {
      TunedCandidate c;
      for (const auto& [n, v] : candidates_[e.id].constants) c.constants.emplace_back(n, str(v));
      c.text = candidates_[e.id].text;
      c.estimate_s = e.estimate;
      c.median_s = e.median;
      c.fastest_s = e.fastest;
      c.spread = e.spread;
      c.launches = e.launches;
      c.known = e.known;
      c.final = e.final && e.dropped.empty();
      c.dropped = e.dropped;
      if (c.final && c.launches > 0) log_.add(timing_key(e.id), {e.median, Stage::Final}, description(e.id));
      out.candidates.push_back(std::move(c));
    }
    if (!found.stopped && found.winner >= 0) {
      out.winner = found.winner;
      Entrant& best = entrants_[static_cast<std::size_t>(found.winner)];
      if (best.launches > 0) {
        subject_->set_back();
        candidates_[best.id].kernel->launch(context_, subject_->arguments());
      }
      Constants all = given_;
      all.insert(candidates_[best.id].constants.begin(), candidates_[best.id].constants.end());
      const Program& program = module_.impl().program();
      Winner w{name_, winners_target(target_), winner_hash(program, name_, target_), winner_keys(program, name_, all, sizes_), {}};
      for (const auto& [n, v] : candidates_[best.id].constants) w.choices.emplace(n, str(v));
      out.line = with_winner("#\n", w, "").substr(2);
      out.line.pop_back();
    }
    subject_->set_back();
    context_.synchronize();
    out.spent_s = wall_seconds() - start_;
    out.compile_s = compile_seconds_;
    out.compile_wall_s = compile_wall_;
    return out;
  }

  Module module_;
  std::string name_;
  Constants given_;
  Context context_;
  const TuneOptions& how_;
  double seconds_ = 0;
  Options options_;
  std::string target_;
  cache::Key machine_key_;
  std::vector<Candidate> candidates_;  ///< in the order of the file, which entrants name by number
  std::vector<Entrant> entrants_;
  std::optional<Subject> subject_;
  std::vector<std::string> absent_;
  SymbolValues sizes_;
  Results first_;
  Log log_;
  double compile_seconds_ = 0, compile_wall_ = 0;
  const double start_ = wall_seconds();
};

}  // namespace
}  // namespace tuning

TuneResult tune(const Module& module, std::string_view kernel, const Consts& constants, const Context& context, std::span<const Argument> arguments,
                const TuneOptions& how, const Options& options, const Cache& cache) {
  return guarded([&] { return tuning::Tuner(module, std::string(kernel), constants, context, arguments, how, options, cache).run(); });
}

}  // namespace tessera
