#include "runtime/cache/entry.h"

#include "dsl/diagnostic.h"

namespace tessera::cache {
namespace {

constexpr std::string_view magic("tessera\0\1\0\0\0", 12);
constexpr std::size_t key_bytes = 32, most_sections = 64;

void put(std::string& to, std::uint64_t n, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) to += static_cast<char>(n >> (8 * i));
}

std::string_view raw(const Key& key) { return {reinterpret_cast<const char*>(key.bytes.data()), key_bytes}; }

/// Takes the front off `from`; empty if it is shorter.
std::optional<std::string_view> take(std::string_view& from, std::uint64_t bytes) {
  if (bytes > from.size()) return std::nullopt;
  const std::string_view out = from.substr(0, bytes);
  from.remove_prefix(bytes);
  return out;
}

std::optional<std::uint64_t> take_number(std::string_view& from, std::size_t bytes) {
  const std::optional<std::string_view> raw = take(from, bytes);
  if (!raw) return std::nullopt;
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < bytes; ++i) out |= std::uint64_t{static_cast<std::uint8_t>((*raw)[i])} << (8 * i);
  return out;
}

}  // namespace

const char* name(Kind k) {
  switch (k) {
    case Kind::Kernel: return "kernel";
    case Kind::Form: return "form";
    case Kind::Signature: return "signature";
    case Kind::Module: return "module";
  }
  TESSERA_UNREACHABLE("bad kind of entry");
}

std::vector<Kind> all_kinds() { return {Kind::Kernel, Kind::Form, Kind::Signature, Kind::Module}; }

const std::string* Entry::find(std::string_view tag) const {
  for (const Section& s : sections) {
    if (s.tag == tag) return &s.bytes;
  }
  return nullptr;
}

std::string encode(const Entry& entry) {
  std::string out(magic);
  put(out, static_cast<std::uint64_t>(entry.kind), 4);
  out += raw(entry.key);
  put(out, entry.sections.size(), 4);
  for (const Section& s : entry.sections) {
    TESSERA_ASSERT(s.tag.size() == 4, "a tag has four bytes");
    out += s.tag;
    put(out, s.bytes.size(), 8);
    out += s.bytes;
  }
  out += raw(hash(out));
  return out;
}

std::optional<Entry> decode(std::string_view file) {
  if (file.size() < magic.size() + key_bytes || !file.starts_with(magic)) return std::nullopt;
  const std::string_view body = file.substr(0, file.size() - key_bytes);
  if (raw(hash(body)) != file.substr(body.size())) return std::nullopt;
  std::string_view rest = body.substr(magic.size());
  Entry out;
  const std::optional<std::uint64_t> kind = take_number(rest, 4);
  const std::optional<std::string_view> key = take(rest, key_bytes);
  const std::optional<std::uint64_t> count = take_number(rest, 4);
  if (!kind || *kind < 1 || *kind > all_kinds().size() || !key || !count || *count > most_sections) return std::nullopt;
  out.kind = static_cast<Kind>(*kind);
  std::copy(key->begin(), key->end(), out.key.bytes.begin());
  for (std::uint64_t i = 0; i < *count; ++i) {
    const std::optional<std::string_view> tag = take(rest, 4);
    const std::optional<std::uint64_t> length = take_number(rest, 8);
    const std::optional<std::string_view> bytes = length ? take(rest, *length) : std::nullopt;
    if (!tag || !bytes) return std::nullopt;
    out.sections.push_back({std::string(*tag), std::string(*bytes)});
  }
  if (!rest.empty()) return std::nullopt;
  return out;
}

Writer& Writer::number(std::uint64_t n) {
  put(bytes_, n, 8);
  return *this;
}

Writer& Writer::text(std::string_view s) {
  put(bytes_, s.size(), 8);
  bytes_ += s;
  return *this;
}

std::uint64_t Reader::number() {
  const std::optional<std::uint64_t> n = ok_ ? take_number(bytes_, 8) : std::nullopt;
  ok_ = n.has_value();
  return n.value_or(0);
}

std::string Reader::text() {
  const std::uint64_t length = number();
  const std::optional<std::string_view> s = ok_ ? take(bytes_, length) : std::nullopt;
  ok_ = s.has_value();
  return std::string(s.value_or(""));
}

std::size_t Reader::count() {
  const std::uint64_t n = number();
  ok_ = ok_ && n <= bytes_.size();
  return ok_ ? static_cast<std::size_t>(n) : 0;
}

}  // namespace tessera::cache
