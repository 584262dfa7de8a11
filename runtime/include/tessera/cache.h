// Compiled kernels on disk, so that the next process loads in about a millisecond what this one has compiled.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tessera/export.h"

namespace tessera {

namespace cache {
class Store;
}

/// How large the folder of a cache may grow. Files that were used longest ago go first; a look at the folder is taken every ten minutes at most, when
/// something is written.
struct CacheLimits {
  std::uint64_t bytes = std::uint64_t{512} << 20;
  std::chrono::hours age{24 * 90};  ///< since an entry was last used
};

/// What lies in the folder of a cache.
struct CacheInfo {
  std::string folder;  ///< empty: the cache is off
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
  std::uint64_t kernels = 0;  ///< of the files: machine code; the others say which source makes which code
};

/// How this process has come by its kernels.
struct CacheCounts {
  std::uint64_t from_memory = 0;  ///< code that another kernel of the process uses already
  std::uint64_t from_disk = 0;
  std::uint64_t compiled = 0;
  std::uint64_t broken = 0;  ///< entries found damaged, or refused by a driver; removed and made again
};

/// Where load() looks before it parses, and Module::kernel() before it compiles: what the process has loaded, then a folder. An entry is named by all
/// that it depends on (source, constants, schedule, options, target, this very library, driver), so none is ever out of date; one that is damaged is
/// made again. Trouble of any kind (no space, a read-only disk, a folder that others can write to) means that the folder is not used, and one warning
/// on stderr. Processes and threads may share a folder. A cheap handle. Thread safety: any thread.
class TESSERA_API Cache {
 public:
  /// As the environment says: the folder TESSERA_CACHE, or none if that is `off`; else tessera in XDG_CACHE_HOME, else in ~/.cache.
  static Cache standard();
  /// Parse and compile every time.
  static Cache off();
  /// Makes the folder when something is written first, readable by its owner only. One and the same folder has the limits it was first asked for
  /// with.
  static Cache at(const std::string& folder, const CacheLimits& limits = {});

  bool on() const noexcept;
  /// Empty if it is off.
  std::string folder() const;
  CacheInfo info() const;
  CacheCounts counts() const;
  /// Removes all entries; gives how many there were.
  std::uint64_t clear() const;
  /// Reads every entry, removes those that are damaged or that another version of the format wrote, and gives their names.
  std::vector<std::string> verify() const;

  /// For the library's own use.
  explicit Cache(std::shared_ptr<cache::Store> store) : store_(std::move(store)) {}
  const std::shared_ptr<cache::Store>& store() const noexcept { return store_; }

 private:
  std::shared_ptr<cache::Store> store_;
};

}  // namespace tessera
