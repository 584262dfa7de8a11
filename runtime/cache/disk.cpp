#include "runtime/cache/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

namespace tessera::cache {
namespace {

constexpr std::string_view half_written = "tmp-", locks = "locks", pruned = "pruned";
constexpr std::uint64_t largest_file = std::uint64_t{1} << 30;
constexpr auto abandoned = std::chrono::hours(1);

long result(long r) { return r < 0 ? -errno : r; }

std::chrono::system_clock::time_point time_of(const struct stat& s) {
  return std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
      std::chrono::seconds(s.st_mtim.tv_sec) + std::chrono::nanoseconds(s.st_mtim.tv_nsec)));
}

/// Time that has passed since; none if the clock has been set back meanwhile.
std::chrono::system_clock::duration since(std::chrono::system_clock::time_point t) {
  return std::max(std::chrono::system_clock::now() - t, std::chrono::system_clock::duration::zero());
}

/// Nobody else can put bytes there.
bool ours_alone(const struct stat& s) { return s.st_uid == ::geteuid() && (s.st_mode & (S_IWGRP | S_IWOTH)) == 0; }

/// Makes missing folders, each for its owner only. The error number, or 0.
int make_folders(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); true; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST && errno != EISDIR) {
      struct stat s{};
      if (const int reason = errno; ::stat(part.c_str(), &s) != 0) return reason;
    }
    if (slash == std::string::npos) return 0;
  }
}

}  // namespace

long FileCalls::open(const char* path, int flags, mode_t mode) { return result(::open(path, flags, mode)); }
long FileCalls::read(int fd, void* to, std::size_t bytes) { return result(::read(fd, to, bytes)); }
long FileCalls::write(int fd, const void* from, std::size_t bytes) { return result(::write(fd, from, bytes)); }
long FileCalls::close(int fd) { return result(::close(fd)); }
long FileCalls::rename(const char* from, const char* to) { return result(::rename(from, to)); }
long FileCalls::unlink(const char* path) { return result(::unlink(path)); }

Disk::Disk(std::string folder, Limits limits, Warn warn, std::shared_ptr<FileCalls> calls)
    : folder_(std::move(folder)), limits_(limits), warn_(std::move(warn)), calls_(std::move(calls)) {}

void Disk::trouble(const std::string& what, int reason) {
  if (!usable_.exchange(false)) return;
  if (warn_) warn_(fmt::format("the cache in `{}` is not used: {}{}{}", folder_, what, reason ? ": " : "", reason ? std::strerror(reason) : ""));
}

bool Disk::check_folder(bool may_be_missing) {
  if (folder_.empty()) return false;
  if (checked_) return true;
  struct stat s{};
  if (::stat(folder_.c_str(), &s) != 0) {
    if (errno != ENOENT || !may_be_missing) trouble("it cannot be opened", errno);
    return false;
  }
  if (!S_ISDIR(s.st_mode)) return trouble("it is no folder", 0), false;
  if (!ours_alone(s)) return trouble("it is another user's, or others can write to it, and what lies there is run", 0), false;
  return checked_ = true;
}

bool Disk::make_folder() {
  if (check_folder(true)) return true;
  if (!usable_) return false;
  if (const int reason = make_folders(folder_)) return trouble("it cannot be made", reason), false;
  return check_folder(false);
}

std::optional<std::string> Disk::read(const std::string& name) {
  if (!usable_ || !check_folder(true)) return std::nullopt;
  const long fd = calls_->open(path(name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
  if (fd == -ENOENT || fd == -ELOOP) return std::nullopt;
  if (fd < 0) return trouble(fmt::format("`{}` cannot be opened", name), static_cast<int>(-fd)), std::nullopt;
  struct Closer {
    FileCalls& calls;
    int fd;
    ~Closer() { calls.close(fd); }
  } closer{*calls_, static_cast<int>(fd)};
  struct stat s{};
  if (::fstat(closer.fd, &s) != 0) return trouble(fmt::format("`{}` cannot be read", name), errno), std::nullopt;
  if (!S_ISREG(s.st_mode) || !ours_alone(s) || static_cast<std::uint64_t>(s.st_size) > largest_file) return std::nullopt;
  std::string out(static_cast<std::size_t>(s.st_size), '\0');
  std::size_t filled = 0;
  while (filled < out.size()) {
    const long n = calls_->read(closer.fd, out.data() + filled, out.size() - filled);
    if (n == -EINTR) continue;
    if (n < 0) return trouble(fmt::format("`{}` cannot be read", name), static_cast<int>(-n)), std::nullopt;
    if (n == 0) break;  // cut short meanwhile: the checksum will say so
    filled += static_cast<std::size_t>(n);
  }
  out.resize(filled);
  if (since(time_of(s)) > std::chrono::hours(24)) ::futimens(closer.fd, nullptr);  // used today; a failure makes it look older than it is
  return out;
}

void Disk::write(const std::string& name, std::string_view bytes) {
  if (!usable_ || !make_folder()) return;
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) return;
  const std::string temporary = path(fmt::format("{}{}-{:016x}", half_written, ::getpid(), random));
  const auto failed = [&](const char* what, long reason) { trouble(fmt::format("`{}` cannot be {}", name, what), static_cast<int>(-reason)); };
  const long fd = calls_->open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd == -EEXIST) return;
  if (fd < 0) return failed("made", fd);
  long reason = 0;
  while (!bytes.empty() && reason == 0) {
    const long n = calls_->write(static_cast<int>(fd), bytes.data(), bytes.size());
    if (n == -EINTR) continue;
    if (n <= 0) {
      reason = n == 0 ? -ENOSPC : n;
    } else {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  // Some file systems tell only here that the bytes found no place.
  if (const long closed = calls_->close(static_cast<int>(fd)); reason == 0) reason = closed;
  if (reason == 0) reason = calls_->rename(temporary.c_str(), path(name).c_str());
  if (reason < 0) {
    calls_->unlink(temporary.c_str());
    return failed("written", reason);
  }
  if (prune_is_due()) prune();
}

void Disk::remove(const std::string& name) {
  if (!usable_) return;
  const long r = calls_->unlink(path(name).c_str());
  if (r < 0 && r != -ENOENT) trouble(fmt::format("`{}` cannot be removed", name), static_cast<int>(-r));
}

std::vector<File> Disk::files() {
  std::vector<File> out;
  if (!usable_ || !check_folder(true)) return out;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(folder_.c_str()), ::closedir);
  if (!folder) return out;
  while (const dirent* d = ::readdir(folder.get())) {
    const std::string_view name = d->d_name;
    if (name.starts_with('.') || name.starts_with(half_written) || name == locks || name == pruned || name == tune_log) continue;
    struct stat s{};
    if (::fstatat(::dirfd(folder.get()), d->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(s.st_mode)) continue;
    out.push_back({d->d_name, static_cast<std::uint64_t>(s.st_size), time_of(s)});
  }
  return out;
}

bool Disk::prune_is_due() {
  struct stat s{};
  if (::stat(path(std::string(pruned)).c_str(), &s) != 0) return true;
  const auto passed = std::chrono::system_clock::now() - time_of(s);
  return passed > limits_.pause || passed < std::chrono::seconds(-5);  // a clock that was set back must not put it off for years
}

void Disk::prune() {
  if (!usable_ || !check_folder(true)) return;
  const long stamp = calls_->open(path(std::string(pruned)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (stamp >= 0) {
    ::futimens(static_cast<int>(stamp), nullptr);
    calls_->close(static_cast<int>(stamp));
  }
  std::vector<File> all = files();
  std::sort(all.begin(), all.end(), [](const File& a, const File& b) { return a.used > b.used; });
  std::uint64_t kept = 0;
  for (const File& f : all) {
    kept += f.bytes;
    if (kept > limits_.bytes || since(f.used) > limits_.age) calls_->unlink(path(f.name).c_str());
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(folder_.c_str()), ::closedir);
  if (!folder) return;
  while (const dirent* d = ::readdir(folder.get())) {
    struct stat s{};
    if (!std::string_view(d->d_name).starts_with(half_written) || ::fstatat(::dirfd(folder.get()), d->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (since(time_of(s)) > abandoned) calls_->unlink(path(d->d_name).c_str());
  }
}

Disk::Claim::~Claim() {
  if (fd_ >= 0) ::close(fd_);  // and with it the lock, as when the process is killed
}

Disk::Claim Disk::claim(const Key& key, std::chrono::milliseconds patience) {
  if (!usable_ || !make_folder()) return Claim(-1);
  const int fd = ::open(path(std::string(locks)).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Claim(-1);
  // One byte of an empty file for each key: locks of a file's description exclude threads too, and need no file a key that would remain.
  std::uint64_t at = 0;
  std::memcpy(&at, key.bytes.data(), sizeof at);
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(at >> 2);
  lock.l_len = 1;
  const auto start = std::chrono::steady_clock::now();
  for (auto wait = std::chrono::milliseconds(1); ::fcntl(fd, F_OFD_SETLK, &lock) != 0; wait = std::min(2 * wait, std::chrono::milliseconds(20))) {
    if ((errno != EAGAIN && errno != EACCES && errno != EINTR) || std::chrono::steady_clock::now() - start > patience) break;
    std::this_thread::sleep_for(wait);
  }
  return Claim(fd);
}

}  // namespace tessera::cache
