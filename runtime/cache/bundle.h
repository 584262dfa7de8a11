// The form of a bundle: kernels of one target in one file, read-only, to be loaded by a program that compiles nothing. Numbers and texts are those of
// a cache entry's sections (entry.h).
//
//   bundle   = magic body checksum ;
//   magic    = "tesserab" u32 ;                                the number is the version of this grammar, now 1
//   body     = from llvm target machine count { kernel } count { entry } ;
//   from     = text ;                                          hash of the sources of the library that made it: no other reads it
//   llvm     = text ;                                          "22.1.8"
//   target   = text ;                                          "cpu" or the architecture of a GPU, "sm_90a"
//   machine  = text ;                                          LLVM's name of the CPU and of its features; empty for GPUs
//   kernel   = name key count { NAME VALUE } count { form } ;  key: 64 hexadecimal digits, of its signature; then its constants
//   form     = count { VIEW } ;                                the optional views that it does without
//   entry    = text ;                                          a whole cache file: a kernel, form or signature, without places in the sources
//   count    = u64 ;
//   text     = length length * byte ;                          length: u64
//   checksum = 32 * byte ;                                     BLAKE3 of everything before it
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/cache/entry.h"

namespace tessera::cache {

struct BundleKernel {
  std::string name;
  Key key;  ///< of its signature entry
  std::vector<std::pair<std::string, std::string>> constants;
  std::vector<std::vector<std::string>> forms;
  friend bool operator==(const BundleKernel&, const BundleKernel&) = default;
};

struct BundleFile {
  std::string from, llvm, target, machine;
  std::vector<BundleKernel> kernels;
  std::vector<Entry> entries;
  friend bool operator==(const BundleFile&, const BundleFile&) = default;
};

std::string encode(const BundleFile& bundle);
/// Empty unless every byte is as encode() wrote it, with `why` saying what is wrong. Never throws for bad bytes.
std::optional<BundleFile> decode_bundle(std::string_view file, std::string& why);

/// What a bundle of this library and machine says of itself, without kernels. `target`: "cpu" or an architecture.
BundleFile empty_bundle(const std::string& target);

/// A hash of the library's sources.
const char* source_id();

}  // namespace tessera::cache
