// tessera::Cache.
#include <cstdlib>

#include "runtime/cache/store.h"
#include "runtime/errors.h"
#include "tessera/cache.h"

namespace tessera {
namespace {

std::string from_environment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value ? value : "";
}

std::string standard_folder() {
  const std::string own = from_environment("TESSERA_CACHE"), xdg = from_environment("XDG_CACHE_HOME"), home = from_environment("HOME");
  if (own == "off") return "";
  if (!own.empty()) return own;
  if (xdg.starts_with('/')) return xdg + "/tessera";  // the specification has relative paths ignored
  return home.starts_with('/') ? home + "/.cache/tessera" : "";
}

}  // namespace

Cache Cache::standard() {
  return guarded([] { return Cache(cache::Store::of(standard_folder())); });
}

Cache Cache::off() {
  return guarded([] { return Cache(cache::Store::of("")); });
}

Cache Cache::at(const std::string& folder, const CacheLimits& limits) {
  return guarded([&] { return Cache(cache::Store::of(folder, {.bytes = limits.bytes, .age = limits.age})); });
}

bool Cache::on() const noexcept { return store_->on(); }

std::string Cache::folder() const { return store_->on() ? store_->disk().folder() : ""; }

CacheInfo Cache::info() const {
  return guarded([&] {
    CacheInfo out{folder()};
    for (const cache::File& f : store_->disk().files()) {
      ++out.files;
      out.bytes += f.bytes;
      if (f.name.ends_with(std::string(".") + cache::name(cache::Kind::Kernel))) ++out.kernels;
    }
    return out;
  });
}

CacheCounts Cache::counts() const {
  const cache::Store::Counts& c = store_->counts;
  return {c.from_memory, c.from_disk, c.compiled, c.broken};
}

std::uint64_t Cache::clear() const {
  return guarded([&] {
    const std::vector<cache::File> all = store_->disk().files();
    for (const cache::File& f : all) store_->disk().remove(f.name);
    return static_cast<std::uint64_t>(all.size());
  });
}

std::vector<std::string> Cache::verify() const {
  return guarded([&] {
    std::vector<std::string> out;
    for (const cache::File& f : store_->disk().files()) {
      const std::optional<std::string> bytes = store_->disk().read(f.name);
      const std::optional<cache::Entry> entry = bytes ? cache::decode(*bytes) : std::nullopt;
      if (entry && f.name == cache::Store::file_name(entry->kind, entry->key)) continue;
      out.push_back(f.name);
      store_->disk().remove(f.name);
    }
    return out;
  });
}

}  // namespace tessera
