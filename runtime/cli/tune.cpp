// tessera tune FILE: which candidate of a kernel's `tune` block is the fastest on this machine. Every candidate is tried, and its results are
// compared before it may win. All are timed briefly, then the faster half in turns for longer, and so on until three are left; timings are kept in
// the folder of the cache, and what is known is not measured again.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "runtime/cache/kernel_key.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/invocation.h"
#include "runtime/cli/oracle.h"
#include "runtime/cli/tune_log.h"
#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/winners.h"

namespace tessera::cli {
namespace {

struct TuneOptions {
  InvocationOptions invocation;
  std::vector<std::string> sizes;
  std::string out;
  double seconds = 0.2;
  bool cold = false;
  bool again = false;
};

struct Candidate {
  Constants constants;
  std::string text;     ///< "BM=64 BN=128"
  std::string dropped;  ///< why it cannot win; empty: it may
  bool spills = false;
  bool known = false;  ///< timed and compared in an earlier run
  double seconds = 0;
};

/// Whether another candidate may fare better: budgets, limits of the target, an assembler that refuses the code.
bool is_the_candidates(const Error& e) {
  if (e.kind() == Error::Kind::Machine) return true;
  return e.code().starts_with("E06") || e.code() == "E0804" || e.code() == "E0509";
}

class Tuner {
 public:
  Tuner(const TuneOptions& options, Report& report) : options_(options), report_(report), module_(load_timed(options.invocation.kernel, {})) {
    // Trouble with the device is no candidate's fault.
    Options o;
    o.target = options.invocation.kernel.target;
    const Context context = context_for(options.invocation.kernel);
    if (context.is_cuda()) o.context = context;
    target_ = detail::resolve_target(o).name;
    device_ = context.is_cuda() ? context.description() : fmt::format("cpu, {} threads", context.threads());
    kernel_ = kernel_name(module_, options.invocation.kernel);
    machine_ = cache::machine_inputs(context.is_cuda() ? Target::Cuda : Target::Cpu, detail::resolve_target(o).gpu, o.context).key();
    fixed_ = detail::to_constants(consts_from_text(options.invocation.kernel.constants));
    Diagnostics diagnostics;
    for (Constants& c : tune_candidates(module_.impl().program(), kernel_, fixed_, diagnostics)) {
      std::vector<std::string> words;
      for (const auto& [n, v] : c) words.push_back(fmt::format("{}={}", n, str(v)));
      candidates_.push_back({std::move(c), fmt::format("{}", fmt::join(words, " ")), "", false, 0});
    }
    if (diagnostics.any()) throw to_error(diagnostics, *module_.impl().sources());
  }

  void run() {
    if (candidates_.empty() || candidates_.front().constants.empty()) refuse_empty();
    read_inputs_once();
    report_.line(fmt::format("{} on {}: {} candidates", kernel_, device_, candidates_.size()));
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      show_progress(i);
      recall_or_measure(candidates_[i]);
      hide_progress();
      tell(candidates_[i]);
    }
    std::vector<Candidate*> legal = survivors();
    if (legal.empty()) {
      // Spills are slow, not wrong: where nothing else is left, the best of those.
      for (Candidate& c : candidates_) {
        if (!c.spills) continue;
        measure(c, true);
        tell(c);
      }
      legal = survivors();
    }
    if (legal.empty()) {
      report_candidates();
      fail(Code::E0802, fmt::format("no candidate of `{}` is left", kernel_), "the report says why each was dropped");
    }
    // The clock of a machine drifts while it works: the faster half is asked again, near each other in time, until few are left; those for longest.
    for (bool last = false; !last && legal.size() > 1;) {
      last = legal.size() <= most_finalists;
      legal.resize(last ? legal.size() : std::max(most_finalists, (legal.size() + 1) / 2));
      for (Candidate* c : legal) c->seconds = std::min(c->seconds, seconds_of(*c, last ? 1 : 0.5));
      std::sort(legal.begin(), legal.end(), faster);
    }
    report_candidates();
    finish(**std::min_element(legal.begin(), legal.end(), faster));
  }

 private:
  static constexpr std::size_t most_finalists = 3;

  static bool faster(const Candidate* a, const Candidate* b) { return a->seconds < b->seconds; }

  [[noreturn]] void refuse_empty() const {
    // A constant that is missing or unknown is why no candidate fits; making the kernel says so.
    detail::make_kernel(module_.impl(), kernel_, consts_from_text(options_.invocation.kernel.constants), {.target = "interp"}, {},
                        {.compile = false});
    if (candidates_.empty()) fail(Code::E0802, fmt::format("no candidate of `{}` fits these constants", kernel_));
    fail(Code::E0802, fmt::format("there is nothing to choose: `{}` has no `tune` block, or --const gives all of its names", kernel_));
  }

  /// Trouble with the inputs is no candidate's fault either.
  void read_inputs_once() {
    InvocationOptions o = options_of(candidates_.front());
    o.dry = true;
    try {
      guarded([&] { sizes_ = Invocation(o, report_).sizes(); });
    } catch (const Error& e) {
      if (e.kind() == Error::Kind::Machine || !is_the_candidates(e)) throw;
    }
  }

  InvocationOptions options_of(const Candidate& c) const {
    InvocationOptions o = options_.invocation;
    for (const auto& [n, v] : c.constants) o.kernel.constants.push_back(fmt::format("{}={}", n, str(v)));
    return o;
  }

  /// `share` of the time that --seconds gives.
  double seconds_of(const Candidate& c, double share) {
    Invocation call(options_of(c), report_);
    return call.median_seconds(share * options_.seconds, options_.cold);
  }

  /// Names everything that a timing depends on, as far as it is known.
  cache::Key timing_key(const Candidate& c) const {
    const InvocationOptions& o = options_.invocation;
    cache::Fields fields;
    fields.add("what", "timing").add("sources", module_.impl().key()).add("kernel", kernel_).add("machine", machine_).add("device", device_);
    for (const Constants* constants : {&fixed_, &c.constants}) {
      for (const auto& [n, v] : *constants) fields.add("constant", n).add("value", str(v));
    }
    for (const auto& [n, v] : o.sizes) fields.add("size", n).add("value", std::to_string(v));
    for (const std::vector<std::string>* words : {&o.shapes, &o.scalars, &o.with, &o.without}) {
      fields.add("words", std::to_string(words->size()));
      for (const std::string& w : *words) fields.add("word", w);
    }
    return fields.add("cold", options_.cold ? "1" : "0").add("seconds", fmt::format("{}", options_.seconds)).key();
  }

  void recall_or_measure(Candidate& c) {
    const bool keeps = options_.invocation.in.empty();  // what lies in a file of tensors may change
    const cache::Key key = timing_key(c);
    if (const std::optional<double> known = keeps && !options_.again ? log_.seconds(key) : std::nullopt) {
      c.known = true;
      c.seconds = *known;
      return;
    }
    measure(c, false);
    if (keeps && c.dropped.empty()) log_.add(key, c.seconds, fmt::format("{} {} {}", kernel_, target_, c.text));
  }

  /// On a terminal: how far it is and how long the rest may take.
  void show_progress(std::size_t done) const {
    if (!terminal_ || report_.json) return;
    const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const std::string left =
        done == 0 ? "" : fmt::format(", about {:.0f} s left", spent / static_cast<double>(done) * static_cast<double>(candidates_.size() - done));
    fmt::print(stderr, "\r\x1b[K{}/{}: {}{}", done + 1, candidates_.size(), candidates_[done].text, left);
  }
  void hide_progress() const {
    if (terminal_ && !report_.json) fmt::print(stderr, "\r\x1b[K");
  }

  void measure(Candidate& c, bool spills_too) {
    c.dropped.clear();
    const InvocationOptions given = options_of(c);
    std::optional<Invocation> call;
    try {
      guarded([&] { call.emplace(given, report_); });
    } catch (const Error& e) {
      if (!is_the_candidates(e)) throw;
      c.dropped = e.kind() == Error::Kind::Machine ? e.message() : fmt::format("{}: {}", e.code(), e.message());
      return;
    }
    if (const std::optional<AssembledCode> code = call->assembled(); code && code->local_bytes > 0) {
      c.spills = true;
      c.dropped = fmt::format("{} bytes of local memory a thread, {} registers", code->local_bytes, code->registers);
      if (!spills_too) return;
      c.dropped.clear();
    }
    if (!oracle_) oracle_.emplace(given, report_);
    if (c.dropped = oracle_->objection(given, *call, report_); !c.dropped.empty()) return;
    c.seconds = call->median_seconds(0.25 * options_.seconds, options_.cold);
    sizes_ = call->sizes();
  }

  std::vector<Candidate*> survivors() {
    std::vector<Candidate*> out;
    for (Candidate& c : candidates_) {
      if (c.dropped.empty()) out.push_back(&c);
    }
    std::sort(out.begin(), out.end(), faster);
    return out;
  }

  void tell(const Candidate& c) const {
    report_.line(c.dropped.empty() ? fmt::format("  {:<28} {:10.2f} us{}", c.text, c.seconds * 1e6, c.known ? ", known" : "")
                                   : fmt::format("  {:<28} dropped: {}", c.text, c.dropped));
  }

  void report_candidates() const {
    llvm::json::Array tried;
    for (const Candidate& c : candidates_) {
      llvm::json::Object o{{"constants", constants_json(c)}};
      if (c.dropped.empty()) {
        o["median_s"] = c.seconds;
        o["known"] = c.known;
      } else {
        o["dropped"] = c.dropped;
      }
      tried.push_back(std::move(o));
    }
    report_.fields["candidates"] = std::move(tried);
  }

  void finish(const Candidate& best) {
    Constants all = fixed_;
    all.insert(best.constants.begin(), best.constants.end());
    Winner winner{kernel_, target_, winner_keys(module_.impl().program(), kernel_, all, sizes_), {}};
    for (const auto& [n, v] : best.constants) winner.choices.emplace(n, str(v));
    const std::string line = with_winner("#\n", winner, "").substr(2);
    const std::string checked = oracle_ ? oracle_->description() : "what it was when it was first timed";
    report_.line(fmt::format("checked against {}", checked));
    report_.line(fmt::format("winner, {:.2f} us: {}", best.seconds * 1e6, line.substr(0, line.size() - 1)));
    if (!options_.out.empty()) {
      std::error_code none;
      const std::string before = std::filesystem::exists(options_.out, none) ? read_file(options_.out, 64 << 20) : "";
      write_file(options_.out, with_winner(before, winner, options_.out));
    }
    report_.fields["kernel"] = kernel_;
    report_.fields["target"] = target_;
    report_.fields["device"] = device_;
    report_.fields["checked"] = checked;
    report_.fields["winner"] = constants_json(best);
    report_.fields["median_s"] = best.seconds;
    report_.fields["line"] = line.substr(0, line.size() - 1);
  }

  static llvm::json::Object constants_json(const Candidate& c) {
    llvm::json::Object out;
    for (const auto& [n, v] : c.constants) out[n] = str(v);
    return out;
  }

  const TuneOptions& options_;
  Report& report_;
  Module module_;
  std::string kernel_, target_, device_;
  cache::Key machine_;
  Constants fixed_;
  std::vector<Candidate> candidates_;
  TuneLog log_{Cache::standard()};
  const bool terminal_ = ::isatty(STDERR_FILENO) != 0;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<Oracle> oracle_;
  SymbolValues sizes_;
};

void tune(TuneOptions options, Report& report) {
  const std::string& target = options.invocation.kernel.target;
  if (target != "cpu" && target != "cuda" && !target.starts_with("cuda:")) {
    report.error(Usage, "usage", fmt::format("--target {}: times of it would mean nothing; tune for cpu, cuda or cuda:N", target));
    return;
  }
  options.invocation.sizes = sizes_from_text(options.sizes);
  options.invocation.random_inputs = true;
  Tuner(options, report).run();
}

}  // namespace

void add_tune(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("tune", "find the fastest constants of a kernel's tune block on this machine");
  auto o = std::make_shared<TuneOptions>();
  add_kernel_options(*sub, o->invocation.kernel, true);
  add_random_inputs(*sub, o->invocation, o->sizes);
  sub->add_option("-o,--out", o->out, "winners file to put the winner into; its other lines are kept");
  sub->add_option("--seconds", o->seconds, "how long to repeat each candidate")->check(CLI::Range(0.0, 600.0))->capture_default_str();
  sub->add_flag("--cold", o->cold, "on a GPU: empty its L2 cache before each launch");
  sub->add_flag("--again", o->again, "measure all candidates, also those whose time an earlier run has kept");
  sub->callback([&action, o] { action = [o](Report& r) { tune(*o, r); }; });
}

}  // namespace tessera::cli
