// tessera bundle FILE..: kernels compiled ahead of time, in one file that tessera::load_bundle reads.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "runtime/bundle.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/invocation.h"
#include "runtime/errors.h"
#include "runtime/files.h"

namespace tessera::cli {
namespace {

struct BundleOptions {
  std::vector<std::string> files, kernels, constants, sizes, without;
  std::string target = "cpu", winners, out;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    if (comma > at) out.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return out;
}

/// Every choice of one value of each list, as words for consts_from_text.
std::vector<std::vector<std::string>> choices(const std::map<std::string, std::vector<std::string>>& lists, const KernelOutline& kernel) {
  std::vector<std::vector<std::string>> out{{}};
  for (const KernelOutline::Constant& c : kernel.constants) {
    const auto at = lists.find(c.name);
    if (at == lists.end()) continue;
    std::vector<std::vector<std::string>> more;
    for (const auto& before : out) {
      for (const std::string& value : at->second) {
        more.push_back(before);
        more.back().push_back(c.name + "=" + value);
      }
    }
    out = std::move(more);
  }
  return out;
}

std::vector<BundleRequest> requests_of(const BundleOptions& o) {
  std::map<std::string, std::vector<std::string>> lists;
  for (const auto& [name, text] : pairs(o.constants, "--const")) {
    lists[name] = split(text);
    if (lists[name].empty()) fail(Code::E0802, fmt::format("--const gives `{}` no value", name));
  }
  BundleRequest common;
  common.sizes = sizes_from_text(o.sizes);
  for (const std::string& form : o.without) common.forms.push_back(split(form));
  std::vector<BundleRequest> out;
  std::set<std::string> found, used, all;
  for (const std::string& file : o.files) {
    BundleRequest r = common;
    r.file = file;
    r.winners = winners_text({.file = file, .winners = o.winners});
    for (const KernelOutline& k : load(file).kernels()) {
      all.insert(k.name);
      if (!o.kernels.empty() && std::find(o.kernels.begin(), o.kernels.end(), k.name) == o.kernels.end()) continue;
      found.insert(k.name);
      for (const KernelOutline::Constant& c : k.constants) used.insert(c.name);
      r.kernel = k.name;
      for (const std::vector<std::string>& words : choices(lists, k)) {
        r.constants = consts_from_text(words);
        out.push_back(r);
      }
    }
  }
  for (const std::string& name : o.kernels) {
    if (!found.contains(name)) fail(Code::E0519, fmt::format("there is no kernel `{}`", name), fmt::format("there are {}", fmt::join(all, ", ")));
  }
  for (const auto& [name, values] : lists) {
    if (!used.contains(name)) fail(Code::E0511, fmt::format("none of the kernels has a constant `{}`", name));
  }
  return out;
}

void bundle(const BundleOptions& o, Report& report) {
  const std::vector<BundleRequest> requests = requests_of(o);
  if (requests.empty()) fail(Code::E0519, "the files have no kernels");
  const cache::BundleFile made = make_bundle(requests, o.target);
  const std::string bytes = cache::encode(made);
  write_file(o.out, bytes);
  llvm::json::Array kernels;
  for (const cache::BundleKernel& k : made.kernels) {
    std::vector<std::string> words;
    llvm::json::Object constants;
    for (const auto& [n, v] : k.constants) {
      words.push_back(n + "=" + v);
      constants[n] = v;
    }
    llvm::json::Array forms;
    std::vector<std::string> shown;
    for (const auto& absent : k.forms) {
      forms.push_back(llvm::json::Array(absent));
      shown.push_back(absent.empty() ? "all views" : fmt::format("without {}", fmt::join(absent, ", ")));
    }
    report.line(fmt::format("{} {}{}", k.name, fmt::join(words, " "),
                            k.forms.size() == 1 && k.forms[0].empty() ? "" : fmt::format(": {}", fmt::join(shown, "; "))));
    kernels.push_back(llvm::json::Object{{"kernel", k.name}, {"constants", std::move(constants)}, {"without", std::move(forms)}});
  }
  report.line(fmt::format("{}: {} kernels for {}, {:.2f} MB", o.out, made.kernels.size(), o.target, static_cast<double>(bytes.size()) * 1e-6));
  const auto machine_code = std::count_if(made.entries.begin(), made.entries.end(), [](const cache::Entry& e) { return e.find("cubn") != nullptr; });
  const bool text = std::any_of(made.entries.begin(), made.entries.end(), [](const cache::Entry& e) { return e.find("ptx ") != nullptr; });
  if (text && machine_code == 0)
    report.line("  as text, which the driver assembles when it is loaded: no ptxas on PATH, in CUDA_HOME or in /usr/local/cuda takes it");
  report.fields["machine_code"] = machine_code;
  report.fields["file"] = o.out;
  report.fields["target"] = o.target;
  report.fields["bytes"] = static_cast<std::int64_t>(bytes.size());
  report.fields["kernels"] = std::move(kernels);
}

}  // namespace

void add_bundle(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("bundle", "compile kernels into one read-only file, which a program loads and launches without compiling");
  auto o = std::make_shared<BundleOptions>();
  sub->add_option("FILE", o->files, "source files")->required();
  sub->add_option("--target", o->target, "cpu (of this machine), or an architecture such as sm_90a")->capture_default_str();
  sub->add_option("-o,--out", o->out, "the bundle")->required();
  sub->add_option("--kernel", o->kernels, "kernels; default: all of the files")->delimiter(',')->allow_extra_args(false);
  sub->add_option("--const", o->constants, "NAME=VALUE, or NAME=VALUE,VALUE for each of several; one that a kernel does not have is not its")
      ->allow_extra_args(false);
  sub->add_option("--size", o->sizes, "B=1,H=8: launch symbols that tuned constants are chosen by")->delimiter(',')->allow_extra_args(false);
  sub->add_option("--without", o->without, "VIEW,VIEW: a form without these optional views; may be repeated; default: every form")
      ->allow_extra_args(false);
  sub->add_option("--winners", o->winners, "file of tuned constants; default: FILE with the ending .winners");
  sub->callback([&action, o] { action = [o](Report& r) { bundle(*o, r); }; });
}

}  // namespace tessera::cli
