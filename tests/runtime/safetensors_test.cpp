// Tensor files, good and hostile.
#include "runtime/safetensors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "runtime/errors.h"
#include "runtime/files.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using test::code_of;

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/tessera-test-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& file) const { return path + "/" + file; }
  std::size_t files() const { return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), {})); }
};

std::string with_header(const std::string& json, std::size_t data_bytes, std::uint64_t length = UINT64_MAX) {
  std::string out;
  if (length == UINT64_MAX) length = json.size();
  for (int i = 0; i < 8; ++i) out += static_cast<char>(length >> (8 * i));
  return out + json + std::string(data_bytes, '\1');
}

TEST(Safetensors, RoundTrip) {
  const Folder folder;
  const std::vector<float> x{1, 2, 3, 4, 5, 6};
  const std::vector<std::uint8_t> ids{9, 8, 7};
  write_safetensors(folder / "a", {{"ids", ElementType::U8, {3}, std::as_bytes(std::span(ids))},
                                   {"a \"name\"\n", ElementType::F32, {2, 3}, std::as_bytes(std::span(x))},
                                   {"none", ElementType::BF16, {0, 4}, {}}});
  const SafetensorsFile f(folder / "a");
  ASSERT_EQ(f.tensors().size(), 3u);
  const TensorEntry* e = f.find("a \"name\"\n");
  ASSERT_TRUE(e);
  EXPECT_EQ(e->shape, (std::vector<std::int64_t>{2, 3}));
  std::vector<float> back(6);
  f.read(*e, std::as_writable_bytes(std::span(back)));
  EXPECT_EQ(back, x);
  EXPECT_EQ(f.find("none")->end - f.find("none")->begin, 0u);
  EXPECT_EQ(f.find("other"), nullptr);
}

TEST(Safetensors, AllDtypesKeepTheirName) {
  for (DType d : all_dtypes()) {
    const auto t = static_cast<ElementType>(d);
    if (!safetensors_name(t)) continue;
    const auto entries =
        parse_safetensors_header(fmt::format(R"({{"x":{{"dtype":"{}","shape":[3],"data_offsets":[0,{}]}}}})", safetensors_name(t), 3 * bits(t) / 8),
                                 static_cast<std::uint64_t>(3 * bits(t) / 8), "f");
    EXPECT_EQ(entries.at(0).dtype, t);
  }
}

TEST(Safetensors, TruncatedAtEveryByte) {
  const Folder folder;
  const std::vector<float> x{1, 2, 3, 4};
  write_safetensors(folder / "a",
                    {{"x", ElementType::F32, {4}, std::as_bytes(std::span(x))}, {"y", ElementType::F32, {2, 2}, std::as_bytes(std::span(x))}});
  const std::string whole = read_file(folder / "a");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    write_file(folder / "cut", whole.substr(0, n));
    ASSERT_EQ(code_of([&] { SafetensorsFile f(folder / "cut"); }), "E0801") << n;
  }
  write_file(folder / "long", whole + "x");
  EXPECT_EQ(code_of([&] { SafetensorsFile f(folder / "long"); }), "E0801");
}

TEST(Safetensors, EveryByteOfTheHeaderFlipped) {
  // A changed byte may spell another valid file; what it may not do is crash or read outside the file.
  const Folder folder;
  const std::vector<float> x{1, 2, 3, 4};
  write_safetensors(folder / "a", {{"x", ElementType::F32, {4}, std::as_bytes(std::span(x))}});
  const std::string whole = read_file(folder / "a");
  for (std::size_t n = 0; n < whole.size() - 16; ++n) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[n] = static_cast<char>(changed[n] ^ (1 << bit));
      write_file(folder / "flip", changed);
      const std::string code = code_of([&] {
        SafetensorsFile f(folder / "flip");
        for (const TensorEntry& e : f.tensors()) {
          ASSERT_LE(e.end, 16u);
          std::vector<std::byte> to(e.end - e.begin);
          f.read(e, to);
        }
      });
      ASSERT_TRUE(code.empty() || code == "E0801") << n << " " << bit;
    }
  }
}

TEST(Safetensors, HostileHeaders) {
  const auto code = [](const std::string& json, std::uint64_t data) { return code_of([&] { parse_safetensors_header(json, data, "f"); }); };
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return fmt::format(R"({{"dtype":{},"shape":{},"data_offsets":{}}})", dtype, shape, offsets);
  };
  const std::string good = tensor("\"F32\"", "[2]", "[0,8]");
  EXPECT_EQ(code("{\"x\":" + good + "}", 8), "");
  EXPECT_EQ(code("{}", 0), "");
  EXPECT_EQ(code("{\"__metadata__\":{\"format\":\"pt\"},\"x\":" + good + "}", 8), "");
  const std::vector<std::pair<std::string, std::uint64_t>> bad{
      {"", 0},
      {"[]", 0},
      {"{", 0},
      {"{} trailing", 0},
      {std::string("{\"\xff\":1}"), 0},
      {"{\"x\":1}", 0},
      {"{\"x\":{}}", 0},
      {"{}", 1},                                                                      // data of nobody
      {"{\"x\":" + good + "}", 7},                                                    // beyond the file
      {"{\"x\":" + good + "}", 9},                                                    // more data than tensors
      {"{\"x\":" + good + ",\"x\":" + good + "}", 8},                                 // one key twice
      {"{\"x\":" + good + ",\"\\u0078\":" + good + "}", 8},                           // the same, spelt otherwise
      {"{\"x\":" + good + ",\"y\":" + good + "}", 8},                                 // overlap
      {"{\"x\":" + good + ",\"y\":" + tensor("\"F32\"", "[1]", "[9,13]") + "}", 13},  // hole
      {"{\"x\":" + tensor("\"F32\"", "[2]", "[8,0]") + "}", 8},                       // backwards
      {"{\"x\":" + tensor("\"F32\"", "[2]", "[-8,0]") + "}", 8},
      {"{\"x\":" + tensor("\"F32\"", "[2]", "[0,8,8]") + "}", 8},
      {"{\"x\":" + tensor("\"F32\"", "[2]", "[0.5,8]") + "}", 8},
      {"{\"x\":" + tensor("\"F32\"", "[3]", "[0,8]") + "}", 8},  // size does not fit
      {"{\"x\":" + tensor("\"F32\"", "[-2]", "[0,8]") + "}", 8},
      {"{\"x\":" + tensor("\"F32\"", "[4294967296,4294967296,2]", "[0,8]") + "}", 8},  // overflow
      {"{\"x\":" + tensor("\"F32\"", "[9223372036854775807]", "[0,8]") + "}", 8},
      {"{\"x\":" + tensor("\"F32\"", "[18446744073709551616]", "[0,8]") + "}", 8},
      {"{\"x\":" + tensor("\"F32\"", "[1e30]", "[0,8]") + "}", 8},
      {"{\"x\":" + tensor("\"F99\"", "[2]", "[0,8]") + "}", 8},
      {"{\"x\":" + tensor("32", "[2]", "[0,8]") + "}", 8},
      {"{\"x\":" + tensor("\"F32\"", "2", "[0,8]") + "}", 8},
      {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"extra\":1}}", 8},
      {"{\"__metadata__\":[],\"x\":" + good + "}", 8},
      {"{\"__metadata__\":{\"a\":1},\"x\":" + good + "}", 8},
      {std::string(100000, '['), 0},
      {std::string(50000, '{'), 0},
  };
  for (const auto& [json, data] : bad) EXPECT_EQ(code(json, data), "E0801") << json.substr(0, 120);
}

TEST(Safetensors, HostileLengths) {
  const Folder folder;
  for (std::uint64_t length : {std::uint64_t{3}, std::uint64_t{100'000'001}, std::uint64_t{1} << 40, UINT64_MAX - 7}) {
    write_file(folder / "f", with_header("{}", 0, length));
    EXPECT_EQ(code_of([&] { SafetensorsFile f(folder / "f"); }), "E0801") << length;
  }
}

TEST(Safetensors, UnreadableFilesAreTheMachines) {
  const Folder folder;
  EXPECT_THROW(SafetensorsFile(folder / "missing"), MachineError);
  EXPECT_THROW(SafetensorsFile(folder.path), MachineError);
}

TEST(Files, WritesAppearWholeOrNotAtAll) {
  const Folder folder;
  {
    AtomicFile f(folder / "x");
    f.write("half", 4);
    EXPECT_FALSE(std::filesystem::exists(folder / "x"));
  }
  EXPECT_EQ(folder.files(), 0u);
  write_file(folder / "x", "old");
  {
    AtomicFile f(folder / "x");
    f.write("half", 4);
  }
  EXPECT_EQ(read_file(folder / "x"), "old");
  write_file(folder / "x", "new");
  EXPECT_EQ(read_file(folder / "x"), "new");
  EXPECT_EQ(folder.files(), 1u);
  EXPECT_THROW(write_file(folder / "no/such/folder", ""), MachineError);
}

}  // namespace
}  // namespace tessera
