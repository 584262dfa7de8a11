#include "runtime/cli/tune_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <sstream>

#include "runtime/cache/disk.h"
#include "runtime/cache/store.h"

namespace tessera::cli {

TuneLog::TuneLog(const Cache& cache) {
  if (!cache.on()) return;
  path_ = cache.folder() + "/" + cache::tune_log;
  const std::optional<std::string> text = cache.store()->disk().read(cache::tune_log);
  std::istringstream lines(text.value_or(""));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t key = line.find(' '), end = line.find(' ', key == std::string::npos ? key : key + 1);
    if (key != 64 || end == std::string::npos) continue;
    double seconds = 0;
    const auto [stop, error] = std::from_chars(line.data() + key + 1, line.data() + end, seconds);
    if (error == std::errc() && stop == line.data() + end && seconds > 0) known_[line.substr(0, key)] = seconds;
  }
}

std::optional<double> TuneLog::seconds(const cache::Key& key) const {
  const auto at = known_.find(key.hex());
  return at == known_.end() ? std::nullopt : std::optional(at->second);
}

void TuneLog::add(const cache::Key& key, double seconds, const std::string& text) {
  known_[key.hex()] = seconds;
  if (path_.empty()) return;
  const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  std::string line = fmt::format("{} {} {}", key.hex(), seconds, text);
  for (char& c : line) c = c == '\n' ? ' ' : c;
  line += '\n';
  // A line cut short by a full disk is no timing to the next reader.
  if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) known_.erase(key.hex());
  ::close(fd);
}

}  // namespace tessera::cli
