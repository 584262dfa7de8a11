// Timings of candidates, one line each in the folder of the cache, so that tuning again measures only what is new.
//
//   line  = key " " seconds " " stage " " text "\n" ;    key: 64 hexadecimal digits, a hash of all that the timing depends on
//   stage = "rough" | "final" ;                          final: timed for long, and its results compared; the last line of a key counts
#pragma once

#include <map>
#include <optional>
#include <string>

#include "runtime/cache/key.h"
#include "tessera/cache.h"

namespace tessera::tuning {

enum class Stage : std::uint8_t { Rough, Final };

class Log {
 public:
  struct Timing {
    double seconds = 0;
    Stage stage = Stage::Rough;
  };
  /// Reads what is there; lines that are no timings do not count. Without a folder nothing is known and nothing kept.
  explicit Log(const Cache& cache);
  std::optional<Timing> find(const cache::Key& key) const;
  /// Appends a line in one piece, so that several processes may share the file. A failure loses the line.
  void add(const cache::Key& key, Timing timing, const std::string& text);

 private:
  std::string path_;
  std::map<std::string, Timing> known_;
};

}  // namespace tessera::tuning
