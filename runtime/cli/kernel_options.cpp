#include "runtime/cli/kernel_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/winners.h"

namespace tessera::cli {

void add_kernel_options(CLI::App& sub, KernelOptions& o, bool runs) {
  const auto pair = [](const std::string& s) {
    return s.find('=') == std::string::npos || s[0] == '=' ? fmt::format("`{}` is not NAME=VALUE", s) : std::string();
  };
  sub.add_option("FILE", o.file, "source file")->required();
  sub.add_option("--kernel", o.kernel, "kernel of the file; may be left out if there is one only");
  sub.add_option("--const", o.constants, "NAME=VALUE: integer, true, false, element type, struct or fn name")->allow_extra_args(false)->check(pair);
  sub.add_option("--target", o.target, "cpu, interp, interp:exact, cuda, cuda:N, an architecture such as sm_90a, or simt:sm_90a")
      ->capture_default_str();
  sub.add_option("--winners", o.winners, "file of tuned constants; default: FILE with the ending .winners");
  sub.add_option("--print-after", o.print_after, "print the kernel after a pass (`all`: every pass), on stderr")
      ->delimiter(',')
      ->allow_extra_args(false);
  sub.add_flag("--time-passes", o.time_passes, "print how long each pass took, on stderr");
  if (!runs) return;
  sub.add_option("--threads", o.threads, "threads of the cpu; default: all")->check(CLI::Range(1, 1024));
  sub.add_flag("--debug", o.debug, "check the kernel's asserts and claims");
  sub.add_option("--seed", o.seed, "of a simulated GPU: what its order of threads and copies follows from")->capture_default_str();
}

std::map<std::string, std::string> pairs(const std::vector<std::string>& words, const std::string& option) {
  std::map<std::string, std::string> out;
  for (const std::string& w : words) {
    const std::size_t equals = w.find('=');
    if (!out.emplace(w.substr(0, equals), w.substr(equals + 1)).second)
      fail(Code::E0802, fmt::format("{} gives `{}` twice", option, w.substr(0, equals)));
  }
  return out;
}

std::vector<std::int64_t> extents_from_text(const std::string& text, const std::string& what) {
  std::vector<std::int64_t> out;
  const char* at = text.data();
  const char* end = at + text.size();
  if (text.empty()) return out;  // rank 0
  while (true) {
    std::int64_t e = 0;
    const auto [next, error] = std::from_chars(at, end, e);
    if (error != std::errc() || e < 0)
      fail(Code::E0802, fmt::format("`{}` is no list of extents for {}", text, what), "write natural numbers with commas, such as 2,3,4");
    out.push_back(e);
    if (next == end) return out;
    if (*next != ',')
      fail(Code::E0802, fmt::format("`{}` is no list of extents for {}", text, what), "write natural numbers with commas, such as 2,3,4");
    at = next + 1;
  }
}

Consts consts_from_text(const std::vector<std::string>& words) {
  Consts out;
  for (const auto& [name, text] : pairs(words, "--const")) {
    const Constant c = parse_constant(text);
    if (const auto* i = std::get_if<std::int64_t>(&c)) {
      out.set({name, *i});
    } else if (const auto* b = std::get_if<bool>(&c)) {
      out.set({name, *b});
    } else if (const auto* t = std::get_if<DType>(&c)) {
      out.set({name, static_cast<ElementType>(*t)});
    } else {
      const bool word = !text.empty() && !(text[0] >= '0' && text[0] <= '9') &&
                        text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") == std::string::npos &&
                        text != "nan" && text != "inf";
      if (!word)
        fail(Code::E0802, fmt::format("`{}` is no value for the constant `{}`", text, name),
             "write an integer, true, false, an element type, or the name of a struct or fn");
      out.set({name, text});
    }
  }
  return out;
}

std::string kernel_name(const Module& module, const KernelOptions& options) {
  std::vector<std::string> names;
  for (const KernelOutline& k : module.kernels()) names.push_back(k.name);
  if (options.kernel.empty()) {
    if (names.size() == 1) return names.front();
    fail(Code::E0519, fmt::format("`{}` has {} kernels; say which with --kernel", options.file, names.size()),
         names.empty() ? "" : fmt::format("there are {}", fmt::join(names, ", ")));
  }
  if (std::find(names.begin(), names.end(), options.kernel) == names.end()) {
    const std::string near = did_you_mean(options.kernel, names);
    fail(Code::E0519, fmt::format("`{}` has no kernel `{}`", options.file, options.kernel),
         !near.empty()   ? fmt::format("did you mean `{}`?", near)
         : names.empty() ? ""
                         : fmt::format("there are {}", fmt::join(names, ", ")));
  }
  return options.kernel;
}

Module load_timed(const KernelOptions& options, const CompileHooks& hooks) {
  const auto start = std::chrono::steady_clock::now();
  Module module = load(options.file);
  if (hooks.timed) hooks.timed("parse and check", std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  return module;
}

CompileHooks hooks_for(const KernelOptions& options, Report& report) {
  CompileHooks hooks;
  hooks.print_after = options.print_after;
  hooks.print = [](const std::string& pass, const std::string& text) { fmt::print(stderr, "// after {}\n{}\n", pass, text); };
  if (options.time_passes) {
    report.fields["passes"] = llvm::json::Array();
    hooks.timed = [&report](const std::string& pass, double ms) {
      report.remark(fmt::format("{:<16}{:9.3f} ms", pass, ms));
      report.fields["passes"].getAsArray()->push_back(llvm::json::Object{{"pass", pass}, {"ms", ms}});
    };
  }
  return hooks;
}

Scalar scalar_from_text(const Parameter& p, const std::string& text) {
  Scalar s{.dtype = p.dtype};
  const auto unreadable = [&] {
    fail(Code::E0802, fmt::format("`{}` is no value for `{}` of type `{}`", text, p.name, p.nominal.empty() ? name(p.dtype) : p.nominal));
  };
  const auto d = static_cast<DType>(p.dtype);
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (is_bool(d)) {
    if (text != "true" && text != "false") unreadable();
    s.bits = text == "true";
  } else if (is_int(d)) {
    std::int64_t i = 0;
    std::uint64_t u = 0;
    const auto [signed_end, signed_error] = std::from_chars(begin, end, i);
    const auto [unsigned_end, unsigned_error] = std::from_chars(begin, end, u);
    const bool fits_signed = signed_error == std::errc() && signed_end == end;
    const bool fits_unsigned = unsigned_error == std::errc() && unsigned_end == end;
    const bool number = (signed_end == end && signed_error == std::errc::result_out_of_range) ||
                        (unsigned_end == end && unsigned_error == std::errc::result_out_of_range);
    if (!fits_signed && !fits_unsigned && !number) unreadable();
    const bool fits = d == DType::U64 ? fits_unsigned : fits_signed && i >= int_min(d) && i <= int_max(d);
    if (!fits) fail(Code::E0712, fmt::format("{} does not fit `{}` of type `{}`", text, p.name, name(p.dtype)));
    s.bits = d == DType::U64 ? u : static_cast<std::uint64_t>(i);
  } else {
    double x = 0;
    const auto [stop, error] = std::from_chars(begin, end, x);
    if (error == std::errc::result_out_of_range) fail(Code::E0712, fmt::format("{} does not fit `{}` of type `{}`", text, p.name, name(p.dtype)));
    if (error != std::errc() || stop != end) unreadable();
    if (std::isnan(x)) fail(Code::E0802, fmt::format("`{}` cannot be NaN", p.name));
    const double rounded = round_to_float(d, x);
    if (std::isfinite(x) && !std::isfinite(rounded)) fail(Code::E0712, fmt::format("{} does not fit `{}` of type `{}`", text, p.name, name(p.dtype)));
    s.bits = encode_float(d, x);
  }
  return s;
}

AnyKernel uncompiled(const KernelOptions& options, const CompileHooks& hooks, const std::map<std::string, std::int64_t>& sizes) {
  const Module module = load_timed(options, hooks);
  Options o;
  o.target = options.target;
  o.winners = winners_text(options);
  return detail::make_kernel(module.impl(), kernel_name(module, options), consts_from_text(options.constants), o, {},
                             {.hooks = hooks, .sizes = sizes, .compile = false});
}

llvm::json::Object constants_of(const AnyKernel& kernel) {
  llvm::json::Object out;
  for (const auto& [n, value] : kernel.constants()) out[n] = value;
  return out;
}

Context context_for(const KernelOptions& options) {
  const std::optional<TargetName> target = read_target(options.target);
  if (target && target->target == Target::Cuda) return Context::cuda(target->device.value_or(0));
  return Context::cpu(options.threads);
}

std::string winners_text(const KernelOptions& options) {
  if (!options.winners.empty()) return read_file(options.winners, 64 << 20);
  const std::string beside = std::filesystem::path(options.file).replace_extension(".winners").string();
  std::error_code none;
  return std::filesystem::exists(beside, none) ? read_file(beside, 64 << 20) : "";
}

}  // namespace tessera::cli
