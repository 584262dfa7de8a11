#include "runtime/tune/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <sstream>

#include "runtime/cache/disk.h"
#include "runtime/cache/store.h"

namespace tessera::tuning {
namespace {

constexpr std::size_t key_digits = 64;
const char* name(Stage s) { return s == Stage::Rough ? "rough" : "final"; }

std::optional<double> positive(const std::string& text) {
  double out = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && stop == text.data() + text.size() && out > 0 ? std::optional(out) : std::nullopt;
}

}  // namespace

Log::Log(const Cache& cache) {
  if (!cache.on() || cache.folder().empty()) return;
  path_ = cache.folder() + "/" + cache::tune_log;
  std::istringstream lines(cache.store()->disk().read(cache::tune_log).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key, seconds, stage;
    words >> key >> seconds >> stage;
    const std::optional<double> time = positive(seconds);
    if (key.size() != key_digits || !time || (stage != name(Stage::Rough) && stage != name(Stage::Final))) continue;
    known_[key] = {*time, stage == name(Stage::Final) ? Stage::Final : Stage::Rough};
  }
}

std::optional<Log::Timing> Log::find(const cache::Key& key) const {
  const auto at = known_.find(key.hex());
  return at == known_.end() ? std::nullopt : std::optional(at->second);
}

void Log::add(const cache::Key& key, Timing timing, const std::string& text) {
  known_[key.hex()] = timing;
  if (path_.empty()) return;
  const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  std::string line = fmt::format("{} {} {} {}", key.hex(), timing.seconds, name(timing.stage), text);
  for (char& c : line) c = c == '\n' ? ' ' : c;
  line += '\n';
  // A line cut short by a full disk is no timing to the next reader.
  if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) known_.erase(key.hex());
  ::close(fd);
}

}  // namespace tessera::tuning
