// From text to a callable kernel: without a cache, and from the disk.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/bench/cells.h"
#include "tests/bench/measure.h"

namespace tessera::bench {
namespace {

std::string text_of(const std::string& file) {
  std::ifstream in(TESSERA_SOURCE_DIR "/" + file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// A folder that goes with its owner.
struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "tessera-bench-XXXXXX").string();
  Folder() {
    if (!::mkdtemp(path.data())) throw std::runtime_error("no temporary folder");
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

/// The median of loads that find everything on disk, each from load() in a live Context to launchable; for a GPU without the driver's module load.
Cell warm(const std::string& key, const std::string& title, const Options& options, int rounds) {
  return guarded(key, title, [&] {
    const Folder folder;
    const Cache cache = Cache::at(folder.path);
    const std::string text = text_of("kernels/attention/flash.tile");
    const auto load = [&] {
      load_source("flash.tile", text, cache)
          .kernel("flash_causal", {{"T", ElementType::BF16}, {"D", 128}, {"BM", 128}, {"BN", 64}},
                  {.target = options.target, .context = options.context, .absent = {"lse", "sink"}});
    };
    load();
    const auto times = time_in_turns({load}, 10 * rounds);
    const CacheCounts counts = cache.counts();
    if (counts.compiled != 1 || counts.from_memory != 0) throw WrongResult("a load compiled, or found the code in memory");
    const double ms = times[0].median * 1e3;
    return measured(key, title, fmt::format("{:.2f} ms", ms), "", ms);
  });
}

}  // namespace

std::vector<Cell> compile_cells(const Setting& s) {
  const std::string key = "attention_compile_ms", title = "causal attention bf16, D=128, text to callable";
  return {guarded(key, title,
                  [&] {
                    const std::string text = text_of("examples/ladder/05_attention.tile");
                    const auto compile = [&] {
                      load_source("attention.tile", text, Cache::off())
                          .kernel("attention", {{"T", ElementType::BF16}, {"D", 128}, {"CAUSAL", true}, {"BM", 128}, {"BN", 128}});
                    };
                    const auto times = time_in_turns({compile}, s.rounds);
                    const double ms = times[0].median * 1e3;
                    return measured(key, title, fmt::format("{:.1f} ms", ms), "", ms);
                  }),
          warm("attention_warm_cpu_ms", "flash_causal bf16, D=128, warm from disk, CPU", {.context = Context::cpu(1)}, s.rounds),
          warm("attention_warm_gpu_ms", "the same for sm_90a, the driver's part left out", {.target = "sm_90a"}, s.rounds)};
}

}  // namespace tessera::bench
