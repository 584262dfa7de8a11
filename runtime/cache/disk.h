// The folder of the disk cache. Nothing here is needed for right results: what cannot be read is made again, what cannot be written is not kept.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cache/key.h"

namespace tessera::cache {

/// The system calls whose failures a test can choose. Each returns what the system does, or the negative error number.
class FileCalls {
 public:
  virtual ~FileCalls() = default;
  virtual long open(const char* path, int flags, mode_t mode);
  virtual long read(int fd, void* to, std::size_t bytes);
  virtual long write(int fd, const void* from, std::size_t bytes);
  virtual long close(int fd);
  virtual long rename(const char* from, const char* to);
  virtual long unlink(const char* path);
};

struct Limits {
  std::uint64_t bytes = std::uint64_t{512} << 20;          ///< of all files together
  std::chrono::seconds age = std::chrono::hours(24 * 90);  ///< since an entry was last used
  std::chrono::seconds pause = std::chrono::minutes(10);   ///< between two looks at the folder
};

/// The file of timings that `tessera tune` keeps beside the entries.
inline constexpr const char* tune_log = "tune.log";

/// One file of the folder.
struct File {
  std::string name;
  std::uint64_t bytes = 0;
  std::chrono::system_clock::time_point used;
};

/// Files by name in one folder, which is made when something is written first. Thread safe, and safe among processes: a file appears whole under its
/// name or not at all, and lives on for those who have it open. After the first trouble (a folder or disk that cannot be used) nothing is found and
/// nothing kept any more.
class Disk {
 public:
  using Warn = std::function<void(const std::string&)>;
  /// `warn` is told about trouble, once.
  Disk(std::string folder, Limits limits, Warn warn, std::shared_ptr<FileCalls> calls = std::make_shared<FileCalls>());

  const std::string& folder() const { return folder_; }
  bool usable() const { return usable_; }

  /// The bytes of a file; empty if there is none.
  std::optional<std::string> read(const std::string& name);
  void write(const std::string& name, std::string_view bytes);
  void remove(const std::string& name);
  /// Entries only: neither what is half written nor the files of locks and of timings.
  std::vector<File> files();
  /// Removes what is too old and then what was used longest ago, until the rest fits; also what a killed process left half written.
  void prune();

  /// While it lives, no other holder of the same key does, in any process; several may hold it after all where locks do not work, or one takes longer
  /// than `patience`. So it spares work and decides nothing.
  class Claim {
   public:
    explicit Claim(int fd) : fd_(fd) {}
    Claim(Claim&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
    Claim& operator=(Claim&&) = delete;
    ~Claim();

   private:
    int fd_;
  };
  Claim claim(const Key& key, std::chrono::milliseconds patience = std::chrono::seconds(60));

 private:
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  /// Makes the folder if need be. False, with trouble, if it is no folder of ours alone.
  bool make_folder();
  bool check_folder(bool may_be_missing);
  void trouble(const std::string& what, int reason);
  bool prune_is_due();

  std::string folder_;
  Limits limits_;
  Warn warn_;
  std::shared_ptr<FileCalls> calls_;
  std::atomic<bool> usable_ = true, checked_ = false;
};

}  // namespace tessera::cache
