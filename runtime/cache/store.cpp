#include "runtime/cache/store.h"

#include <fmt/format.h>

#include "runtime/executable.h"

namespace tessera::cache {

Store::Store(std::string folder, Limits limits, Disk::Warn warn, std::shared_ptr<FileCalls> calls)
    : on_(!folder.empty() && !build_id().empty()), disk_(std::move(folder), limits, std::move(warn), std::move(calls)) {}

Store::Store(std::vector<Entry> entries, bool read_only) : on_(true), portable_(true), read_only_(read_only), disk_("", {}, {}) {
  for (Entry& e : entries) entries_.insert_or_assign({e.kind, e.key}, std::move(e));
}

std::vector<Entry> Store::entries() const {
  const std::lock_guard lock(mutex_);
  std::vector<Entry> out;
  for (const auto& [name, e] : entries_) out.push_back(e);
  return out;
}

std::shared_ptr<Store> Store::of(const std::string& folder, Limits limits) {
  // One a folder and process, whoever asks: what has been loaded is shared, and a warning given once. Never destroyed, as kernels may outlive main().
  static std::mutex& mutex = *new std::mutex;
  static auto& stores = *new std::map<std::string, std::shared_ptr<Store>>;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Store>& at = stores[folder];
  if (!at) at = std::make_shared<Store>(folder, limits, [](const std::string& text) { fmt::print(stderr, "tessera: warning: {}\n", text); });
  return at;
}

std::optional<Entry> Store::find(Kind kind, const Key& key) {
  if (!on_) return std::nullopt;
  if (portable_) {
    const std::lock_guard lock(mutex_);
    const auto at = entries_.find({kind, key});
    return at == entries_.end() ? std::nullopt : std::optional(at->second);
  }
  const std::string name = file_name(kind, key);
  const std::optional<std::string> bytes = disk_.read(name);
  if (!bytes) return std::nullopt;
  std::optional<Entry> entry = decode(*bytes);
  if (entry && entry->kind == kind && entry->key == key) return entry;
  ++counts.broken;
  disk_.remove(name);
  return std::nullopt;
}

void Store::put(const Entry& entry) {
  if (portable_) {
    const std::lock_guard lock(mutex_);
    if (!read_only_) entries_.insert_or_assign({entry.kind, entry.key}, entry);
    return;
  }
  if (on_) disk_.write(file_name(entry.kind, entry.key), encode(entry));
}

void Store::drop(Kind kind, const Key& key) {
  if (!on_ || portable_) return;
  ++counts.broken;
  disk_.remove(file_name(kind, key));
}

std::shared_ptr<const Executable> Store::loaded(const Key& key) {
  const std::lock_guard lock(mutex_);
  const auto at = loaded_.find(key);
  if (at == loaded_.end()) return nullptr;
  std::shared_ptr<const Executable> code = at->second.lock();
  if (!code) loaded_.erase(at);
  return code;
}

void Store::remember(const Key& key, const std::shared_ptr<const Executable>& code) {
  if (!on_) return;
  const std::lock_guard lock(mutex_);
  loaded_[key] = code;
}

}  // namespace tessera::cache
