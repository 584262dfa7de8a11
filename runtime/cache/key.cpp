#include "runtime/cache/key.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/Support/BLAKE3.h>

#include <cstring>

namespace tessera::cache {
namespace {

Key to_key(const llvm::BLAKE3Result<32>& hash) {
  Key out;
  std::copy(hash.begin(), hash.end(), out.bytes.begin());
  return out;
}

std::string hex_of(const std::uint8_t* bytes, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += fmt::format("{:02x}", bytes[i]);
  return out;
}

/// Looks for the note in the loaded file that this code is a part of.
struct Search {
  std::uintptr_t inside = 0;
  std::string found;
};

void read_notes(const std::uint8_t* at, std::size_t bytes, std::size_t alignment, std::string& found) {
  const std::size_t step = std::max<std::size_t>(alignment, 4);
  const auto padded = [step](std::size_t n) { return (n + step - 1) / step * step; };
  while (bytes >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, at, sizeof note);
    const std::size_t name = sizeof note, description = padded(name + note.n_namesz), end = padded(description + note.n_descsz);
    if (end > bytes) return;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(at + name, "GNU", 4) == 0) {
      found = hex_of(at + description, note.n_descsz);
      return;
    }
    at += end;
    bytes -= end;
  }
}

int visit(dl_phdr_info* info, std::size_t, void* data) {
  Search& search = *static_cast<Search*>(data);
  bool ours = false;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr) & p = info->dlpi_phdr[i];
    const std::uintptr_t begin = info->dlpi_addr + p.p_vaddr;
    ours |= p.p_type == PT_LOAD && search.inside >= begin && search.inside < begin + p.p_memsz;
  }
  if (!ours) return 0;
  for (int i = 0; i < info->dlpi_phnum && search.found.empty(); ++i) {
    const ElfW(Phdr) & p = info->dlpi_phdr[i];
    if (p.p_type == PT_NOTE) read_notes(reinterpret_cast<const std::uint8_t*>(info->dlpi_addr + p.p_vaddr), p.p_memsz, p.p_align, search.found);
  }
  return 1;
}

}  // namespace

std::string Key::hex() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes.size());
  for (const std::uint8_t b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

Key hash(std::string_view bytes) {
  llvm::BLAKE3 hasher;
  hasher.update(llvm::StringRef(bytes.data(), bytes.size()));
  return to_key(hasher.final());
}

Key Fields::key() const {
  llvm::BLAKE3 hasher;
  const auto number = [&](std::uint64_t n) {
    std::array<std::uint8_t, 8> little{};
    for (std::size_t i = 0; i < 8; ++i) little[i] = static_cast<std::uint8_t>(n >> (8 * i));
    hasher.update(little);
  };
  const auto text = [&](std::string_view s) {
    number(s.size());
    hasher.update(llvm::StringRef(s.data(), s.size()));
  };
  number(list_.size());
  for (const auto& [name, value] : list_) {
    text(name);
    text(value);
  }
  return to_key(hasher.final());
}

const std::string& build_id() {
  static const std::string id = [] {
    Search search{reinterpret_cast<std::uintptr_t>(&visit), ""};
    dl_iterate_phdr(visit, &search);
    return search.found;
  }();
  return id;
}

std::string llvm_version() { return LLVM_VERSION_STRING; }

}  // namespace tessera::cache
