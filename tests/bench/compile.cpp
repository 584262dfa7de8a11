// From text to a callable kernel, without a cache.
#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "tests/bench/cells.h"
#include "tests/bench/measure.h"

namespace tessera::bench {

std::vector<Cell> compile_cells(const Setting& s) {
  const std::string key = "attention_compile_ms", title = "causal attention bf16, D=128, text to callable";
  return {guarded(key, title, [&] {
    std::ifstream in(TESSERA_SOURCE_DIR "/examples/ladder/05_attention.tile");
    std::stringstream text;
    text << in.rdbuf();
    const auto compile = [&] {
      load_source("attention.tile", text.str())
          .kernel("attention", {{"T", ElementType::BF16}, {"D", 128}, {"CAUSAL", true}, {"BM", 128}, {"BN", 128}});
    };
    const auto times = time_in_turns({compile}, s.rounds);
    const double ms = times[0].median * 1e3;
    return measured(key, title, fmt::format("{:.1f} ms", ms), "", ms);
  })};
}

}  // namespace tessera::bench
