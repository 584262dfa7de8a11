// Timings of candidates, one line each in the folder of the cache, so that tuning again measures only what is new.
//
//   line = key " " seconds " " text "\n" ;      key: 64 hexadecimal digits, a hash of all that the timing depends on
#pragma once

#include <map>
#include <optional>
#include <string>

#include "runtime/cache/key.h"
#include "tessera/cache.h"

namespace tessera::cli {

class TuneLog {
 public:
  /// Reads what is there; lines that are no timings do not count. Without a folder nothing is known and nothing kept.
  explicit TuneLog(const Cache& cache);
  std::optional<double> seconds(const cache::Key& key) const;
  /// Appends a line in one piece, so that several processes may share the file. A failure loses the line.
  void add(const cache::Key& key, double seconds, const std::string& text);

 private:
  std::string path_;
  std::map<std::string, double> known_;
};

}  // namespace tessera::cli
