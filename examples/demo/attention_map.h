// The attention weights of one layer as one self-contained page.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tensors.h"

namespace demo {

struct AttentionMap {
  std::vector<std::string> tokens;                         ///< as many as there are rows and columns
  std::string lead;                                        ///< one sentence under the title
  std::vector<std::pair<std::string, std::string>> facts;  ///< name, value
  std::string source;                                      ///< the kernel, shown at the foot
  int head = 0;                                            ///< chosen at first
  int from = 0;                                            ///< the token chosen at first
};

/// `weights` is [1, H, S, S]. `page` is the text of attention_map.html, whose placeholder is replaced by the data. Throws std::runtime_error if the
/// shapes disagree.
std::string render(const AttentionMap& map, const Owned<float>& weights, const std::string& page);

}  // namespace demo
