// tessera tune FILE: which candidate of a kernel's `tune` block is the fastest on this machine (tessera::tune), on random tensors.
#include "tessera/tune.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "runtime/cache/key.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/invocation.h"
#include "runtime/cli/oracle.h"
#include "runtime/cli/tune_html.h"
#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/winners.h"

namespace tessera::cli {
namespace {

constexpr int interrupted_exit = 130;  // what shells give a command that SIGINT ended

struct TuneCommand {
  InvocationOptions invocation;
  std::vector<std::string> sizes, rivals;
  std::string out, html;
  TuneOptions how;
  bool warm = false;
};

/// While it lives, the first SIGINT is noted, and a second one ends the process as usual. A process that was told to ignore it goes on to.
class Interrupts {
 public:
  Interrupts() {
    noted() = false;
    struct sigaction mine{};
    mine.sa_handler = [](int) { noted() = true; };
    mine.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(SIGINT, nullptr, &before_);
    if (before_.sa_handler != SIG_IGN) ::sigaction(SIGINT, &mine, nullptr);
  }
  ~Interrupts() { ::sigaction(SIGINT, &before_, nullptr); }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// A signal handler sees nothing but what outlives it.
  static std::atomic<bool>& noted() {
    static std::atomic<bool> flag = false;
    return flag;
  }

 private:
  struct sigaction before_{};
};

/// A bar with the time that is left, on a terminal only.
class Bar {
 public:
  explicit Bar(bool quiet) : shown_(!quiet && ::isatty(STDERR_FILENO) != 0) {}
  ~Bar() {
    if (shown_) fmt::print(stderr, "\r\x1b[K");
  }
  Bar(const Bar&) = delete;
  Bar& operator=(const Bar&) = delete;
  void show(const TuneProgress& p) const {
    if (!shown_) return;
    constexpr std::size_t width = 24;
    const std::size_t full = p.all > 0 ? width * p.done / p.all : 0;
    const std::string left = p.done > 0 ? fmt::format(", about {:.0f} s left", p.seconds_left) : "";
    fmt::print(stderr, "\r\x1b[K[{}{}] {}/{}{}  {}", std::string(full, '#'), std::string(width - full, '-'), p.done, p.all, left, p.text);
    std::fflush(stderr);
  }

 private:
  bool shown_;
};

/// The kernel's first candidate, which gives the tensors: their shapes do not depend on tuned constants.
InvocationOptions with_first_candidate(InvocationOptions o, const Module& module, const std::string& kernel) {
  Diagnostics diagnostics;
  const Constants given = detail::to_constants(consts_from_text(o.kernel.constants));
  const std::vector<Constants> candidates = tune_candidates(module.impl().program(), kernel, given, diagnostics);
  if (diagnostics.any()) throw to_error(diagnostics, *module.impl().sources());
  if (!candidates.empty()) {
    for (const auto& [n, v] : candidates.front()) o.kernel.constants.push_back(fmt::format("{}={}", n, str(v)));
  }
  return o;
}

llvm::json::Object constants_json(const TunedCandidate& c) {
  llvm::json::Object out;
  for (const auto& [n, v] : c.constants) out[n] = v;
  return out;
}

void report_candidates(const TuneResult& r, Report& report) {
  llvm::json::Array tried;
  for (const TunedCandidate& c : r.candidates) {
    llvm::json::Object o{{"constants", constants_json(c)}, {"estimate_s", c.estimate_s}, {"launches", c.launches}, {"known", c.known}};
    if (!c.dropped.empty()) {
      o["dropped"] = c.dropped;
      report.line(fmt::format("  {:<28} dropped: {}", c.text, c.dropped));
    } else if (c.median_s > 0) {
      o["median_s"] = c.median_s;
      o["fastest_s"] = c.fastest_s;
      o["spread"] = c.spread;
      o["final"] = c.final;
      report.line(fmt::format("  {:<28} {:10.2f} us{}{}{}", c.text, c.median_s * 1e6,
                              c.launches > 0 ? fmt::format(", spread {:.1f} %", c.spread * 100) : "", c.known ? ", known" : "",
                              c.final ? ", final" : ""));
    } else {
      report.line(fmt::format("  {:<28} not measured", c.text));
    }
    tried.push_back(std::move(o));
  }
  report.fields["candidates"] = std::move(tried);
  report.fields["stopped"] = r.stopped;
  report.fields["throttled"] = r.throttled;
  report.fields["spent_s"] = r.spent_s;
  report.fields["compile_s"] = r.compile_s;
  report.fields["compile_wall_s"] = r.compile_wall_s;
  if (r.throttled) report.line("the machine became slower while it was measured (throttled, or busy): ranks are of launches near each other in time");
}

void finish(const TuneCommand& o, const TuneResult& r, const std::string& kernel, const std::string& checked, Report& report) {
  const TunedCandidate& best = r.candidates.at(static_cast<std::size_t>(r.winner));
  report.line(fmt::format("checked against {}", checked));
  report.line(fmt::format("winner, {:.2f} us: {}", best.median_s * 1e6, r.line));
  if (!o.out.empty()) {
    std::error_code none;
    const std::string before = std::filesystem::exists(o.out, none) ? read_file(o.out, 64 << 20) : "";
    write_file(o.out, with_winner(before, parse_winners(r.line, "").at(0), o.out));
  }
  report.fields["kernel"] = kernel;
  report.fields["checked"] = checked;
  report.fields["winner"] = constants_json(best);
  report.fields["median_s"] = best.median_s;
  report.fields["line"] = r.line;
}

void run(TuneCommand o, Report& report) {
  const std::string& target = o.invocation.kernel.target;
  if (target != "cpu" && target != "cuda" && !target.starts_with("cuda:")) {
    report.error(Usage, "usage", fmt::format("--target {}: times of it would mean nothing; tune for cpu, cuda or cuda:N", target));
    return;
  }
  o.invocation.sizes = sizes_from_text(o.sizes);
  o.invocation.random_inputs = true;
  o.how.cold = !o.warm;
  const std::vector<Rival> rivals = rivals_from_text(o.rivals);
  const Module module = load_timed(o.invocation.kernel, {});
  const std::string kernel = kernel_name(module, o.invocation.kernel);
  InvocationOptions first = with_first_candidate(o.invocation, module, kernel);
  first.compile = false;
  Invocation call(first, report);
  const std::string device = call.context().is_cuda() ? call.context().description() : fmt::format("cpu, {} threads", call.context().threads());
  report.line(fmt::format("{} on {}", kernel, device));
  report.fields["device"] = device;

  std::optional<Oracle> oracle;
  const Bar bar(report.json);
  const Interrupts interrupts;
  o.how.sizes = call.sizes();
  if (!o.invocation.in.empty()) o.how.data = cache::hash(read_file(o.invocation.in)).hex();
  o.how.stop = [] { return Interrupts::noted().load(); };
  o.how.progress = [&](const TuneProgress& p) { bar.show(p); };
  o.how.check = [&](const AnyKernel& k) {
    if (!oracle) {
      InvocationOptions of_first = first;
      of_first.compile = true;
      oracle.emplace(of_first, report);
    }
    return oracle->objection(k);
  };
  Options options;
  options.target = target;
  const TuneResult r = tune(module, kernel, consts_from_text(o.invocation.kernel.constants), call.context(), call.arguments(), o.how, options);
  report_candidates(r, report);
  if (!o.html.empty()) {
    const Work work = call.work();
    write_file(o.html, tune_page({kernel, device, target, o.sizes, rivals, work}, r, call.context()));
  }
  if (r.stopped) {
    std::size_t there = 0;
    for (const TunedCandidate& c : r.candidates) there += c.median_s > 0;
    report.error(interrupted_exit, "interrupted", fmt::format("interrupted; {} timings are kept: run it again to measure the rest", there));
    return;
  }
  if (r.winner < 0) fail(Code::E0802, fmt::format("no candidate of `{}` is left", kernel), "the report says why each was dropped");
  finish(o, r, kernel, oracle ? oracle->description() : "what it was when it was first timed", report);
}

}  // namespace

void add_tune(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("tune", "find the fastest constants of a kernel's tune block on this machine");
  auto o = std::make_shared<TuneCommand>();
  add_kernel_options(*sub, o->invocation.kernel, true);
  add_random_inputs(*sub, o->invocation, o->sizes);
  sub->add_option("-o,--out", o->out, "winners file to put the winner into; its other lines are kept");
  sub->add_option("--seconds", o->how.seconds, "how long the last few candidates are timed; default: 1.2 on a GPU, 0.8 on a CPU")
      ->check(CLI::Range(0.0, 600.0));
  sub->add_flag("--warm", o->warm, "on a GPU: leave its L2 cache as the launch before has left it");
  sub->add_flag("--again", o->how.again, "measure all candidates, also those whose time an earlier run has kept");
  sub->add_flag("--exhaustive", o->how.exhaustive, "leave none out, and time each for --seconds");
  sub->add_option("--jobs", o->how.threads, "candidates compiled at the same time; default: all processors")->check(CLI::Range(1, 1024));
  sub->add_option("--html", o->html, "write a page with the candidates, the roofline and the rivals, for a browser without a network");
  sub->add_option("--rival", o->rivals, "NAME=SECONDS: what else computes this, for the page")->allow_extra_args(false);
  sub->callback([&action, o] { action = [o](Report& r) { run(*o, r); }; });
}

}  // namespace tessera::cli
