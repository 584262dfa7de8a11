// Folders, sources and kernels for the tests of the cache.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "runtime/cache/store.h"
#include "tessera/tessera.h"

namespace tessera::test {

/// A folder that goes with its owner.
class Folder {
 public:
  Folder() {
    std::string path = (std::filesystem::temp_directory_path() / "tessera-cache-XXXXXX").string();
    if (!::mkdtemp(path.data())) throw std::runtime_error("no temporary folder");
    path_ = path;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code none;
    std::filesystem::remove_all(path_, none);
  }
  std::string path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  /// Names of the files with this ending.
  std::set<std::string> files(const std::string& ending = "") const {
    std::set<std::string> out;
    for (const auto& f : std::filesystem::directory_iterator(path_)) {
      if (f.path().filename().string().ends_with(ending)) out.insert(f.path().filename().string());
    }
    return out;
  }

 private:
  std::string path_;
};

inline std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}
inline void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

/// As another process would see the folder: a store of its own, with nothing in memory.
inline Cache fresh(const std::string& folder, std::shared_ptr<cache::FileCalls> calls = std::make_shared<cache::FileCalls>(),
                   cache::Disk::Warn warn = {}, cache::Limits limits = {}) {
  return Cache(std::make_shared<cache::Store>(folder, limits, std::move(warn), std::move(calls)));
}

constexpr const char* scale_source = R"(
kernel scale[N: int](x: view f32[M, N], y: out view f32[M, N], s: f32)
over (i in M)
{
    let t = x[i, :] * s;
    y[i, :] = t;
}
)";
using Scale = Kernel<In<float, 2>, Out<float, 2>, float>;

inline Scale scale(const Cache& cache, std::int64_t n = 8, const Options& options = {}, const std::string& source = scale_source) {
  return load_source("scale.tile", source, cache).kernel<In<float, 2>, Out<float, 2>, float>("scale", {{"N", n}}, options);
}

/// y = 3 x of a few rows, as the kernel computes it.
inline bool right(const Scale& kernel, std::int64_t n = 8) {
  static const Context cpu = Context::cpu(1);
  const std::int64_t rows = 3;
  std::vector<float> x(static_cast<std::size_t>(rows * n)), y(x.size(), -1.0f);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  kernel(cpu, View<const float, 2>(x.data(), {rows, n}), View<float, 2>(y.data(), {rows, n}), 3.0f);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (y[i] != 3.0f * x[i]) return false;
  }
  return true;
}

/// A folder that comes first on PATH, with a ptxas of that release whose machine code is the text behind four bytes, as the fake driver reads it.
class WithPtxas {
 public:
  explicit WithPtxas(const std::string& release) : path_(std::getenv("PATH")) {
    write(folder_ / "ptxas",
          "#!/bin/sh\n"
          "if [ \"$1\" = --version ]; then echo 'Cuda compilation tools, release " +
              release +
              ", V1'; exit; fi\n"
              "while [ $# -gt 0 ]; do case $1 in -o) out=$2; shift;; *.ptx) in=$1;; esac; shift; done\n"
              "printf '\\177ELF' >$out; cat $in >>$out\n");
    std::filesystem::permissions(folder_ / "ptxas", std::filesystem::perms::owner_all);
    ::setenv("PATH", (folder_.path() + ":" + path_).c_str(), 1);
  }
  ~WithPtxas() { ::setenv("PATH", path_.c_str(), 1); }

 private:
  Folder folder_;
  std::string path_;
};

}  // namespace tessera::test
