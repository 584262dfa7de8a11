// Files, whole: read, and written so that no reader ever sees a half.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace tessera {

/// The contents of a file. Throws MachineError naming the path and the system's reason; also if it is larger than `limit` bytes.
std::string read_file(const std::string& path, std::uint64_t limit = UINT64_MAX);

/// A file that appears under its name only when commit() has succeeded: it is written beside it under a name of its own and renamed. Without
/// commit() nothing remains. Failures throw MachineError.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();
  void write(const void* data, std::size_t bytes);
  void commit();

 private:
  std::string path_;
  std::string temporary_;
  int fd_ = -1;
};

/// Writes a whole file as AtomicFile does.
void write_file(const std::string& path, std::string_view text);

/// Writes a new file in the folder for temporary files and returns its path.
std::string write_temporary(const std::string& prefix, const std::string& suffix, std::string_view text);

}  // namespace tessera
