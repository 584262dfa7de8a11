#include "tensors.h"

#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

namespace demo {
namespace {

template <class T>
constexpr const char* dtype_name = nullptr;
template <>
constexpr const char* dtype_name<tessera::f16> = "F16";
template <>
constexpr const char* dtype_name<float> = "F32";

}  // namespace

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

std::vector<std::string> read_lines(const std::string& path) {
  std::istringstream in(read_text(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// The format: 8 bytes with the size of the header, the header as JSON, the data. Our own files hold rank-4 tensors only, so a pattern finds them.
template <class T>
Owned<T> read_tensor(const std::string& path, const std::string& name) {
  const std::string file = read_text(path);
  std::uint64_t header_size = 0;
  if (file.size() < sizeof header_size) throw std::runtime_error(path + " is too short");
  std::memcpy(&header_size, file.data(), sizeof header_size);
  if (header_size > file.size() - sizeof header_size) throw std::runtime_error(path + " is truncated");
  const std::string header = file.substr(sizeof header_size, header_size);
  const std::string number = R"x(\s*(\d+)\s*)x";
  const std::string shape = R"x("shape"\s*:\s*\[)x" + number + "," + number + "," + number + "," + number + R"x(\])x";
  const std::string offsets = R"x("data_offsets"\s*:\s*\[)x" + number + "," + number + R"x(\])x";
  const std::regex entry("\"" + name + R"x("\s*:\s*\{\s*"dtype"\s*:\s*"(\w+)"\s*,\s*)x" + shape + R"x(\s*,\s*)x" + offsets);
  std::smatch found;
  if (!std::regex_search(header, found, entry)) throw std::runtime_error(path + " has no tensor " + name + " of rank 4");
  if (found[1] != dtype_name<T>) throw std::runtime_error(name + " is " + found[1].str() + ", not " + dtype_name<T>);
  Owned<T> tensor({std::stoll(found[2]), std::stoll(found[3]), std::stoll(found[4]), std::stoll(found[5])});
  const std::size_t begin = sizeof header_size + header_size + std::stoull(found[6]);
  const std::size_t bytes = tensor.data.size() * sizeof(T);
  if (begin > file.size() || bytes > file.size() - begin) throw std::runtime_error(path + " is truncated");
  std::memcpy(static_cast<void*>(tensor.data.data()), file.data() + begin, bytes);
  return tensor;
}

template Owned<tessera::f16> read_tensor(const std::string&, const std::string&);
template Owned<float> read_tensor(const std::string&, const std::string&);

}  // namespace demo
