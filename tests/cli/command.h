// Runs the command in a folder of its own.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <llvm/Support/JSON.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/safetensors.h"

namespace tessera::test {

struct Result {
  int exit = -1;
  std::string out, err;

  /// The object printed under --json.
  llvm::json::Object json() const {
    llvm::Expected<llvm::json::Value> v = llvm::json::parse(out);
    EXPECT_TRUE(static_cast<bool>(v)) << out;
    if (!v) {
      llvm::consumeError(v.takeError());
      return {};
    }
    return v->getAsObject() ? std::move(*v->getAsObject()) : llvm::json::Object();
  }
  /// The code of the first error under --json; "" if there is none.
  std::string code() const {
    llvm::json::Object o = json();
    const llvm::json::Array* errors = o.getArray("errors");
    if (!errors || errors->empty() || !(*errors)[0].getAsObject()) return "";
    return std::string((*errors)[0].getAsObject()->getString("code").value_or(""));
  }
};

class Command : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/tessera-cli-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  void TearDown() override {
    std::filesystem::permissions(folder_, std::filesystem::perms::owner_all);
    std::filesystem::remove_all(folder_);
  }

  std::string path(const std::string& file) const { return folder_ + "/" + file; }
  void write(const std::string& file, const std::string& text) const { std::ofstream(path(file), std::ios::binary) << text; }
  std::string read(const std::string& file) const {
    std::ifstream in(path(file), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  bool exists(const std::string& file) const { return std::filesystem::exists(path(file)); }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& e : std::filesystem::directory_iterator(folder_)) out.push_back(e.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }

  /// `tessera ARGUMENTS` through the shell, in the folder.
  Result tessera(const std::string& arguments) const {
    const std::string streams = folder_ + "-streams";
    const std::string line =
        fmt::format("cd '{}' && '{}' {} > '{}.out' 2> '{}.err' < /dev/null", folder_, TESSERA_COMMAND, arguments, streams, streams);
    const int status = std::system(line.c_str());
    Result r;
    r.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    const auto slurp = [](const std::string& file) {
      std::ifstream in(file, std::ios::binary);
      std::stringstream text;
      text << in.rdbuf();
      std::filesystem::remove(file);
      return text.str();
    };
    r.out = slurp(streams + ".out");
    r.err = slurp(streams + ".err");
    return r;
  }

  template <class T>
  static TensorData data(const std::string& name, ElementType dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
    return {name, dtype, std::move(shape), std::as_bytes(std::span(values))};
  }
  template <class T>
  std::vector<T> tensor(const std::string& file, const std::string& name) const {
    const SafetensorsFile f(path(file));
    const TensorEntry* e = f.find(name);
    if (!e) return {};
    std::vector<T> out((e->end - e->begin) / sizeof(T));
    f.read(*e, std::as_writable_bytes(std::span(out)));
    return out;
  }

  std::string folder_;
};

inline const char* const scale_source = R"(// y = a x
kernel scale[N: int, BM: int = 16](x: view f32[R, N], y: out view f32[R, N], a: f32)
where N <= 64
over (i in tiles(R, BM))
{
    y[i, :] = x[i, :] * a;
}
tune scale { BM in {4, 8}; key N, bucket(R); }
)";

}  // namespace tessera::test
