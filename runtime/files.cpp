#include "runtime/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "runtime/errors.h"

namespace tessera {
namespace {

[[noreturn]] void io_error(const char* what, const std::string& path, int reason) {
  throw MachineError(fmt::format("cannot {} `{}`: {}", what, path, std::strerror(reason)));
}

void write_all(int fd, const void* data, std::size_t bytes, const std::string& path) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd, p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) io_error("write", path, errno);
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

}  // namespace

std::string read_file(const std::string& path, std::uint64_t limit) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) io_error("read", path, errno);
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  struct stat s{};
  if (::fstat(fd, &s) != 0) io_error("read", path, errno);
  if (S_ISDIR(s.st_mode)) io_error("read", path, EISDIR);
  std::string text;
  if (s.st_size > 0) text.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(static_cast<std::uint64_t>(s.st_size), limit)) + 1);
  std::vector<char> buffer(1 << 16);
  while (true) {  // a pipe has no size, so the end of the file is what counts
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) io_error("read", path, errno);
    if (n == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
    if (text.size() > limit) throw MachineError(fmt::format("cannot read `{}`: larger than {} bytes", path, limit));
  }
  return text;
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  struct stat s{};
  if (::stat(path_.c_str(), &s) == 0 && !S_ISREG(s.st_mode)) {
    // A device or a pipe cannot be renamed over; it is written to directly.
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) io_error("write", path_, errno);
    return;
  }
  // Not mkstemp: its files are private, while a result gets the permissions of any new file.
  for (int tries = 0; fd_ < 0; ++tries) {
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) io_error("write", path_, errno);
    temporary_ = fmt::format("{}.{:016x}", path_, random);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || tries == 8)) {
      const int reason = errno;
      temporary_.clear();
      io_error("write", path_, reason);
    }
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t bytes) { write_all(fd_, data, bytes, path_); }

void AtomicFile::commit() {
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0) io_error("write", path_, errno);
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) io_error("write", path_, errno);
  temporary_.clear();
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile f(path);
  f.write(text.data(), text.size());
  f.commit();
}

std::string write_temporary(const std::string& prefix, const std::string& suffix, std::string_view text) {
  const char* folder = std::getenv("TMPDIR");
  std::string path = fmt::format("{}/{}XXXXXX{}", folder && *folder ? folder : "/tmp", prefix, suffix);
  const int fd = ::mkostemps(path.data(), static_cast<int>(suffix.size()), O_CLOEXEC);
  if (fd < 0) io_error("write", path, errno);
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  write_all(fd, text.data(), text.size(), path);
  return path;
}

}  // namespace tessera
