#include "runtime/cache/bundle.h"

#include "codegen/cpu/target.h"

namespace tessera::cache {
namespace {

constexpr std::string_view magic("tesserab\1\0\0\0", 12);
constexpr std::string_view mark = magic.substr(0, 8);
constexpr std::size_t checksum_bytes = 32;

std::string raw(const Key& key) { return std::string(key.bytes.begin(), key.bytes.end()); }

/// The key that hex() has written; false if it is none.
bool read_key(const std::string& text, Key& out) {
  if (text.size() != 2 * out.bytes.size() || text.find_first_not_of("0123456789abcdef") != std::string::npos) return false;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (std::size_t i = 0; i < out.bytes.size(); ++i) out.bytes[i] = static_cast<std::uint8_t>(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
  return true;
}

}  // namespace

const char* source_id() {
  return
#include "runtime/source_id.inc"
      ;
}

BundleFile empty_bundle(const std::string& target) {
  BundleFile out;
  out.from = source_id();
  out.llvm = llvm_version();
  out.target = target;
  if (target == "cpu") out.machine = CpuTarget::host().key();
  return out;
}

std::string encode(const BundleFile& bundle) {
  Writer w;
  w.text(bundle.from).text(bundle.llvm).text(bundle.target).text(bundle.machine).number(bundle.kernels.size());
  for (const BundleKernel& k : bundle.kernels) {
    w.text(k.name).text(k.key.hex()).number(k.constants.size());
    for (const auto& [name, value] : k.constants) w.text(name).text(value);
    w.number(k.forms.size());
    for (const std::vector<std::string>& absent : k.forms) {
      w.number(absent.size());
      for (const std::string& view : absent) w.text(view);
    }
  }
  w.number(bundle.entries.size());
  for (const Entry& e : bundle.entries) w.text(encode(e));
  std::string out(magic);
  out += w.take();
  return out + raw(hash(out));
}

std::optional<BundleFile> decode_bundle(std::string_view file, std::string& why) {
  if (!file.starts_with(mark)) return why = "it is no bundle", std::nullopt;
  if (!file.starts_with(magic)) return why = "it has another version of the form", std::nullopt;
  const std::optional<BundleFile> damaged;
  why = "it is damaged: its bytes are not those that were written";
  if (file.size() < magic.size() + checksum_bytes) return damaged;
  const std::string_view body = file.substr(0, file.size() - checksum_bytes);
  if (raw(hash(body)) != file.substr(body.size())) return damaged;
  Reader r(body.substr(magic.size()));
  BundleFile out;
  out.from = r.text();
  out.llvm = r.text();
  out.target = r.text();
  out.machine = r.text();
  out.kernels.resize(r.count());
  for (BundleKernel& k : out.kernels) {
    k.name = r.text();
    if (!read_key(r.text(), k.key)) return damaged;
    k.constants.resize(r.count());
    for (auto& [name, value] : k.constants) {
      name = r.text();
      value = r.text();
    }
    k.forms.resize(r.count());
    for (std::vector<std::string>& absent : k.forms) {
      absent.resize(r.count());
      for (std::string& view : absent) view = r.text();
    }
  }
  for (std::size_t i = r.count(); i > 0 && r.ok(); --i) {
    std::optional<Entry> e = decode(r.text());
    if (!e) return damaged;
    out.entries.push_back(*std::move(e));
  }
  if (!r.done()) return damaged;
  why.clear();
  return out;
}

}  // namespace tessera::cache
