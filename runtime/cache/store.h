// The inside of tessera::Cache: what this process has loaded, then the folder.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "runtime/cache/disk.h"
#include "runtime/cache/entry.h"

namespace tessera {
class Executable;
}

namespace tessera::cache {

/// Entries by key. Thread safe. Without a folder it keeps nothing, neither on disk nor in memory.
class Store {
 public:
  explicit Store(std::string folder, Limits limits = {}, Disk::Warn warn = {}, std::shared_ptr<FileCalls> calls = std::make_shared<FileCalls>());

  /// Entries in memory alone, whose names depend neither on this build of the library nor on a driver: what bundles are made of. `read_only`: put()
  /// keeps nothing, and a broken entry is not removed.
  explicit Store(std::vector<Entry> entries, bool read_only);

  /// The process's store for a folder; one that lives as long as the process, so that trouble is told once. Warnings go to stderr.
  static std::shared_ptr<Store> of(const std::string& folder, Limits limits = {});

  bool on() const { return on_; }
  bool portable() const { return portable_; }
  /// Those of a portable store.
  std::vector<Entry> entries() const;
  Disk& disk() { return disk_; }

  /// The entry, if its file is sound; one that is not is removed and counts as none.
  std::optional<Entry> find(Kind kind, const Key& key);
  void put(const Entry& entry);
  void drop(Kind kind, const Key& key);
  Disk::Claim claim(const Key& key) { return portable_ ? Disk::Claim(-1) : disk_.claim(key); }

  /// Code that a kernel of this process still uses.
  std::shared_ptr<const Executable> loaded(const Key& key);
  void remember(const Key& key, const std::shared_ptr<const Executable>& code);

  static std::string file_name(Kind kind, const Key& key) { return key.hex() + "." + name(kind); }

  /// Of kernels, by this process.
  struct Counts {
    std::atomic<std::uint64_t> from_memory = 0, from_disk = 0, compiled = 0, broken = 0;
  } counts;

 private:
  bool on_, portable_ = false, read_only_ = false;
  Disk disk_;
  mutable std::mutex mutex_;  ///< of loaded_ and entries_
  std::map<std::pair<Kind, Key>, Entry> entries_;
  std::map<Key, std::weak_ptr<const Executable>> loaded_;
};

}  // namespace tessera::cache
