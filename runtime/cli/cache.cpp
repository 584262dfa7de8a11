// tessera cache info|clear|verify: the folder of compiled kernels.
#include <fmt/format.h>

#include "runtime/cli/commands.h"
#include "tessera/cache.h"

namespace tessera::cli {
namespace {

struct CacheOptions {
  std::string action = "info";
  std::string folder;
};

void show_info(const Cache& cache, Report& report) {
  const CacheInfo info = cache.info();
  report.fields["folder"] = info.folder;
  report.fields["files"] = static_cast<std::int64_t>(info.files);
  report.fields["kernels"] = static_cast<std::int64_t>(info.kernels);
  report.fields["bytes"] = static_cast<std::int64_t>(info.bytes);
  report.line(fmt::format("{}: {} kernel{} in {} files, {:.2f} MB", info.folder, info.kernels, info.kernels == 1 ? "" : "s", info.files,
                          static_cast<double>(info.bytes) * 1e-6));
}

void run(const CacheOptions& options, Report& report) {
  const Cache cache = options.folder.empty() ? Cache::standard() : Cache::at(options.folder);
  if (!cache.on()) {
    report.fields["folder"] = "";
    report.line("the cache is off (TESSERA_CACHE=off, or neither XDG_CACHE_HOME nor HOME names a folder)");
    return;
  }
  if (options.action == "info") return show_info(cache, report);
  if (options.action == "clear") {
    const std::uint64_t removed = cache.clear();
    report.fields["removed"] = static_cast<std::int64_t>(removed);
    report.line(fmt::format("{}: {} file{} removed", cache.folder(), removed, removed == 1 ? "" : "s"));
    return;
  }
  const std::vector<std::string> broken = cache.verify();
  llvm::json::Array names;
  for (const std::string& n : broken) {
    names.push_back(n);
    report.line(fmt::format("removed {}: damaged, or of another version of the format", n));
  }
  report.fields["removed"] = std::move(names);
  show_info(cache, report);
}

}  // namespace

void add_cache(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("cache", "the folder of compiled kernels: what it holds; empty it; check it and remove what is damaged");
  auto o = std::make_shared<CacheOptions>();
  sub->add_option("ACTION", o->action, "info, clear or verify")->check(CLI::IsMember({"info", "clear", "verify"}))->capture_default_str();
  sub->add_option("--folder", o->folder, "default: TESSERA_CACHE, else tessera in XDG_CACHE_HOME, else in ~/.cache");
  sub->callback([&action, o] { action = [o](Report& r) { run(*o, r); }; });
}

}  // namespace tessera::cli
