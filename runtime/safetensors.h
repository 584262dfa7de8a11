// Tensor files (https://github.com/huggingface/safetensors): nothing in a file is trusted.
//
//   file   = length header data ;      length = 8 bytes, little endian ;     header = JSON object of `length` bytes, at most 100 MB
//   header = { name: {"dtype": D, "shape": [n, ..], "data_offsets": [begin, end]}, "__metadata__": {key: text} }
//
// Refused: truncated or overlong files, malformed JSON, duplicate keys, unknown dtypes or fields, negative or overflowing shapes, ranges that do
// not fit their shape, overlap, leave holes or lie outside the file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tessera/dtype.h"

namespace tessera {

/// The name a dtype has in these files; null for those they lack (sub-byte types and idx).
const char* safetensors_name(ElementType t);

struct TensorEntry {
  std::string name;
  ElementType dtype = ElementType::F32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< bytes of the data section
};

/// The entries of a header, by offset. `data_bytes` is the size of the data section. Throws Error (E0801) saying what is wrong; `file` names it.
std::vector<TensorEntry> parse_safetensors_header(const std::string& json, std::uint64_t data_bytes, const std::string& file);

/// An open file whose header has been checked. Reads are independent of each other; not thread safe.
class SafetensorsFile {
 public:
  /// Throws MachineError if the file cannot be read, Error (E0801) if it is malformed.
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  const TensorEntry* find(const std::string& name) const;
  /// Copies a tensor's bytes. Precondition: `to` has end - begin bytes. Throws MachineError.
  void read(const TensorEntry& entry, std::span<std::byte> to) const;

 private:
  std::string path_;
  int fd_ = -1;
  std::uint64_t data_ = 0;  ///< where the data section begins
  std::vector<TensorEntry> tensors_;
};

struct TensorData {
  std::string name;
  ElementType dtype = ElementType::F32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};
/// Writes a file that appears whole or not at all. Throws MachineError. Precondition: names differ, dtypes have a safetensors_name, sizes fit shapes.
void write_safetensors(const std::string& path, std::vector<TensorData> tensors);

}  // namespace tessera
