// The page of `tessera tune --html`.
#pragma once

#include <string>
#include <vector>

#include "runtime/work.h"
#include "tessera/tune.h"

namespace tessera::cli {

/// Something else that computes the same, and how long it takes.
struct Rival {
  std::string name;
  double seconds = 0;
};
/// NAME=SECONDS. Throws Error (E0802).
std::vector<Rival> rivals_from_text(const std::vector<std::string>& words);

struct TunePage {
  std::string kernel, device, target;
  std::vector<std::string> sizes;
  std::vector<Rival> rivals;
  Work work;
};
/// One HTML file with its drawings inside: the candidates by time, what the estimate said of them, and where they stand under the roofline.
std::string tune_page(const TunePage& page, const TuneResult& result, const Context& context);

}  // namespace tessera::cli
