// The form of a cache file. One file is one entry, whole in itself; integers are little-endian.
//
//   file     = magic kind key count { section } checksum ;
//   magic    = "tessera" %x00 u32 ;                   the number is the version of this grammar, now 1
//   kind     = u32 ;                                  1 kernel, 2 form, 3 signature, 4 module
//   key      = 32 * byte ;                            what the entry is filed under (key.h)
//   count    = u32 ;                                  of sections
//   section  = tag length length * byte ;
//   tag      = 4 * byte ;                             letters, filled up with blanks
//   length   = u64 ;
//   checksum = 32 * byte ;                            BLAKE3 of everything before it
//
//   kernel:    what machine code consists of, wherever its text came from (image.h): "meta", "inpl", and one of "elf " (an object for this CPU) and
//              "ptx " (text for a GPU, of which the driver's assembler makes machine code; it has a cache of its own). "cubn" may stand beside "ptx
//              ": what ptxas made of it, if one is found when a bundle is made, and for the cache if that is of the driver's CUDA release. Drivers
//              that do not take it have the text
//   form:      "key " the kernel entry, "head" the kernel's parameters and what its launches check, as Tile IR (head.h), "span" where they stand
//   signature: "head" and "span" of the kernel with all of its optional views
//   module:    "mods" the imports of a source file in the order in which they were read, each with the hash of its text
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cache/key.h"

namespace tessera::cache {

enum class Kind : std::uint32_t { Kernel = 1, Form = 2, Signature = 3, Module = 4 };
const char* name(Kind k);
std::vector<Kind> all_kinds();

struct Section {
  std::string tag;  ///< four bytes
  std::string bytes;
  friend bool operator==(const Section&, const Section&) = default;
};

struct Entry {
  Kind kind = Kind::Kernel;
  Key key;
  std::vector<Section> sections;
  /// Null if there is none.
  const std::string* find(std::string_view tag) const;
  friend bool operator==(const Entry&, const Entry&) = default;
};

std::string encode(const Entry& entry);
/// Empty unless every byte is as encode() wrote it. Never throws for bad bytes.
std::optional<Entry> decode(std::string_view file);

/// Numbers and texts one after the other: the inside of a section.
class Writer {
 public:
  Writer& number(std::uint64_t n);
  Writer& text(std::string_view s);
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};
/// Reads what Writer wrote. After the first read past the end, or of a text longer than what is left, ok() is false and all reads give nothing.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number();
  std::string text();
  /// A number that says how many things follow, each of at least one byte.
  std::size_t count();
  bool ok() const { return ok_; }
  /// Everything has been read, and was there.
  bool done() const { return ok_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace tessera::cache
