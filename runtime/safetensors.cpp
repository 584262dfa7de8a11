#include "runtime/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <llvm/Support/JSON.h>
#include <llvm/Support/raw_ostream.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <tuple>

#include "runtime/errors.h"
#include "runtime/files.h"

namespace tessera {
namespace {

constexpr std::uint64_t header_limit = 100'000'000;
constexpr int depth_limit = 8;  // a header needs three levels; the JSON parser recurses, so deep ones never reach it

struct DtypeName {
  ElementType type;
  const char* name;
};
constexpr DtypeName dtype_names[] = {
    {ElementType::Bool, "BOOL"}, {ElementType::I8, "I8"},        {ElementType::U8, "U8"},        {ElementType::I16, "I16"},
    {ElementType::U16, "U16"},   {ElementType::F16, "F16"},      {ElementType::BF16, "BF16"},    {ElementType::I32, "I32"},
    {ElementType::U32, "U32"},   {ElementType::F32, "F32"},      {ElementType::F64, "F64"},      {ElementType::I64, "I64"},
    {ElementType::U64, "U64"},   {ElementType::E4M3, "F8_E4M3"}, {ElementType::E5M2, "F8_E5M2"}, {ElementType::E8M0, "F8_E8M0"},
};

[[noreturn]] void malformed(const std::string& file, const std::string& why) {
  fail(Code::E0801, fmt::format("`{}` is not a valid safetensors file: {}", file, why));
}

std::string quoted(llvm::StringRef s) { return fmt::format("`{}`", std::string(s.take_front(80))); }

/// Depth and repeated keys, which the JSON parser does not mind. Text that is not JSON passes: the parser refuses it afterwards.
void scan(const std::string& json, const std::string& file) {
  std::vector<std::set<std::string>> keys;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '{' || c == '[') {
      if (keys.size() == depth_limit) malformed(file, "the header is nested too deep");
      keys.emplace_back();
    } else if (c == '}' || c == ']') {
      if (!keys.empty()) keys.pop_back();
    } else if (c == '"') {
      const std::size_t begin = i++;
      while (i < json.size() && json[i] != '"') i += json[i] == '\\' ? 2 : 1;
      // A string before a colon is a key. Escapes are decoded, so that two spellings of one key are one key.
      std::size_t after = i + 1;
      while (after < json.size() && std::strchr(" \t\r\n", json[after])) ++after;
      if (after >= json.size() || json[after] != ':' || keys.empty()) continue;
      llvm::Expected<llvm::json::Value> key = llvm::json::parse(llvm::StringRef(json).slice(begin, i + 1));
      if (!key) {
        llvm::consumeError(key.takeError());
        continue;
      }
      const auto text = key->getAsString();
      if (text && !keys.back().insert(std::string(*text)).second) malformed(file, fmt::format("key {} occurs twice", quoted(*text)));
    }
  }
}

TensorEntry parse_entry(llvm::StringRef name, const llvm::json::Value& value, std::uint64_t data_bytes, const std::string& file) {
  const auto bad = [&](const std::string& why) { malformed(file, fmt::format("tensor {}: {}", quoted(name), why)); };
  const llvm::json::Object* o = value.getAsObject();
  if (!o) bad("not an object");
  for (const auto& [key, unused] : *o) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") bad(fmt::format("unknown field {}", quoted(key)));
  }
  TensorEntry e{std::string(name), ElementType::F32, {}, 0, 0};
  const auto dtype = o->getString("dtype");
  if (!dtype) bad("no `dtype`");
  const auto* known = std::find_if(std::begin(dtype_names), std::end(dtype_names), [&](const DtypeName& d) { return *dtype == d.name; });
  if (known == std::end(dtype_names)) bad(fmt::format("unknown dtype {}", quoted(*dtype)));
  e.dtype = known->type;
  const llvm::json::Array* shape = o->getArray("shape");
  if (!shape) bad("no `shape`");
  std::int64_t count = bits(e.dtype) / 8;
  bool empty = false;
  for (const llvm::json::Value& v : *shape) {
    const auto extent = v.getAsInteger();
    if (!extent || *extent < 0) bad("an extent is not a natural number");
    empty |= *extent == 0;
    e.shape.push_back(*extent);
  }
  if (empty) count = 0;
  for (std::int64_t extent : e.shape) {
    if (!empty && __builtin_mul_overflow(count, extent, &count)) bad("the shape overflows 64 bits");
  }
  const llvm::json::Array* offsets = o->getArray("data_offsets");
  if (!offsets || offsets->size() != 2) bad("`data_offsets` is not a pair");
  const auto begin = (*offsets)[0].getAsUINT64(), end = (*offsets)[1].getAsUINT64();
  if (!begin || !end || *begin > *end) bad("`data_offsets` is not a range");
  if (*end > data_bytes) bad(fmt::format("its data end at byte {} of {}", *end, data_bytes));
  if (*end - *begin != static_cast<std::uint64_t>(count)) bad(fmt::format("{} bytes of data for a shape that needs {}", *end - *begin, count));
  e.begin = *begin;
  e.end = *end;
  return e;
}

}  // namespace

const char* safetensors_name(ElementType t) {
  for (const DtypeName& d : dtype_names) {
    if (d.type == t) return d.name;
  }
  return nullptr;
}

std::vector<TensorEntry> parse_safetensors_header(const std::string& json, std::uint64_t data_bytes, const std::string& file) {
  scan(json, file);
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(json);
  if (!parsed) malformed(file, fmt::format("the header is not JSON: {}", llvm::toString(parsed.takeError())));
  const llvm::json::Object* header = parsed->getAsObject();
  if (!header) malformed(file, "the header is not an object");
  std::vector<TensorEntry> out;
  for (const auto& [key, value] : *header) {
    if (key == "__metadata__") {
      const llvm::json::Object* metadata = value.getAsObject();
      if (!metadata) malformed(file, "`__metadata__` is not an object");
      for (const auto& [k, v] : *metadata) {
        if (!v.getAsString()) malformed(file, fmt::format("metadata {} is not text", quoted(k)));
      }
      continue;
    }
    out.push_back(parse_entry(key, value, data_bytes, file));
  }
  std::sort(out.begin(), out.end(),
            [](const TensorEntry& a, const TensorEntry& b) { return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name); });
  std::uint64_t at = 0;
  for (const TensorEntry& e : out) {
    if (e.begin != at)
      malformed(file,
                fmt::format("the data of tensor {} {}", quoted(e.name), e.begin < at ? "overlap those of another" : "leave a hole before them"));
    at = e.end;
  }
  if (at != data_bytes) malformed(file, fmt::format("{} bytes of data belong to no tensor", data_bytes - at));
  return out;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
  const auto unreadable = [&](int reason) { return MachineError(fmt::format("cannot read `{}`: {}", path, std::strerror(reason))); };
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw unreadable(errno);
  try {
    struct stat s{};
    if (::fstat(fd_, &s) != 0) throw unreadable(errno);
    if (!S_ISREG(s.st_mode)) throw unreadable(S_ISDIR(s.st_mode) ? EISDIR : ESPIPE);
    const auto size = static_cast<std::uint64_t>(s.st_size);
    std::array<unsigned char, 8> length{};
    if (size < 8) malformed(path, "shorter than 8 bytes");
    data_ = 0;
    const TensorEntry start{{}, ElementType::U8, {}, 0, 8};
    read(start, std::as_writable_bytes(std::span(length)));
    std::uint64_t header = 0;
    for (std::size_t i = 8; i-- > 0;) header = header << 8 | length[i];
    if (header > header_limit) malformed(path, fmt::format("a header of {} bytes is over the limit of {}", header, header_limit));
    if (header > size - 8) malformed(path, fmt::format("a header of {} bytes in a file of {}", header, size));
    std::string json(header, '\0');
    read({{}, ElementType::U8, {}, 8, 8 + header}, std::as_writable_bytes(std::span(json)));
    data_ = 8 + header;
    tensors_ = parse_safetensors_header(json, size - data_, path);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() { ::close(fd_); }

const TensorEntry* SafetensorsFile::find(const std::string& name) const {
  const auto at = std::find_if(tensors_.begin(), tensors_.end(), [&](const TensorEntry& e) { return e.name == name; });
  return at == tensors_.end() ? nullptr : &*at;
}

void SafetensorsFile::read(const TensorEntry& entry, std::span<std::byte> to) const {
  TESSERA_ASSERT(to.size() == entry.end - entry.begin, "a buffer of another size than the tensor");
  std::uint64_t done = 0;
  while (done < to.size()) {
    const ssize_t n = ::pread(fd_, to.data() + done, to.size() - done, static_cast<off_t>(data_ + entry.begin + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw MachineError(fmt::format("cannot read `{}`: {}", path_, std::strerror(errno)));
    if (n == 0) throw MachineError(fmt::format("cannot read `{}`: it shrank while it was read", path_));
    done += static_cast<std::uint64_t>(n);
  }
}

void write_safetensors(const std::string& path, std::vector<TensorData> tensors) {
  // Wide elements first: then every tensor starts at a multiple of its element's size.
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorData& a, const TensorData& b) {
    return bits(a.dtype) != bits(b.dtype) ? bits(a.dtype) > bits(b.dtype) : a.name < b.name;
  });
  std::string header;
  llvm::raw_string_ostream text(header);
  llvm::json::OStream json(text);
  std::uint64_t at = 0;
  json.object([&] {
    for (const TensorData& t : tensors) {
      json.attributeObject(llvm::json::fixUTF8(t.name), [&] {
        json.attribute("dtype", safetensors_name(t.dtype));
        json.attributeArray("shape", [&] {
          for (std::int64_t e : t.shape) json.value(e);
        });
        json.attributeArray("data_offsets", [&] {
          json.value(static_cast<std::int64_t>(at));
          json.value(static_cast<std::int64_t>(at + t.bytes.size()));
        });
      });
      at += t.bytes.size();
    }
  });
  text.flush();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::array<unsigned char, 8> length{};
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(header.size() >> (8 * i));
  AtomicFile file(path);
  file.write(length.data(), length.size());
  file.write(header.data(), header.size());
  for (const TensorData& t : tensors) file.write(t.bytes.data(), t.bytes.size());
  file.commit();
}

}  // namespace tessera
