// Names of cache entries: hashes of everything that an entry depends on, and of nothing else.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::cache {

/// A BLAKE3 hash of 32 bytes.
struct Key {
  std::array<std::uint8_t, 32> bytes{};
  auto operator<=>(const Key&) const = default;
  std::string hex() const;
};
Key hash(std::string_view bytes);

/// Named inputs in order. The hash is over their count and, for each, the lengths and bytes of name and value, so that no bytes can move from one
/// input to the next without a change.
class Fields {
 public:
  using List = std::vector<std::pair<std::string, std::string>>;

  explicit Fields(List list = {}) : list_(std::move(list)) {}
  Fields& add(std::string name, std::string value) {
    list_.emplace_back(std::move(name), std::move(value));
    return *this;
  }
  Fields& add(std::string name, const Key& key) { return add(std::move(name), key.hex()); }
  Key key() const;
  const List& list() const { return list_; }

 private:
  List list_;
};

/// What this very library is: the build id that the linker has put into it, as text. Empty if there is none; then nothing can be cached.
const std::string& build_id();
/// "22.1.8"
std::string llvm_version();

}  // namespace tessera::cache
