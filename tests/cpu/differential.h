// Runs a kernel compiled for the CPU and in the interpreter on the same data, each tensor between pages that must not be touched.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "codegen/cpu/compile.h"
#include "dsl/interpret.h"
#include "tests/ir/kernels.h"
#include "tests/ir/launch.h"

namespace tessera::test {

/// Memory that ends right before a page that faults; another such page lies in front.
class Guarded {
 public:
  explicit Guarded(std::size_t bytes) : bytes_(bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    inner_ = (bytes + page - 1) / page * page + (bytes == 0 ? page : 0);
    size_ = inner_ + 2 * page;
    base_ = static_cast<char*>(mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + page, inner_, PROT_READ | PROT_WRITE) != 0) throw std::runtime_error("no guarded memory");
    data_ = base_ + page + inner_ - bytes;
  }
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  char* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  std::size_t bytes_, inner_ = 0, size_ = 0;
  char *base_ = nullptr, *data_ = nullptr;
};

/// One loader for the test program.
inline CpuLoader& loader() {
  static CpuLoader instance;
  return instance;
}

struct Tolerance {
  double absolute = 0, relative = 0;  ///< both 0: equal bits (any NaN equals any other; -0 equals +0)
};

/// A launch under way: named tensors, scalars and symbols.
class Differential {
 public:
  explicit Differential(std::unique_ptr<ir::Kernel> kernel) : kernel_(std::move(kernel)) {}

  Buffer& tensor(const std::string& name, Buffer b) {
    tensors_.emplace_back(name, std::move(b));
    return tensors_.back().second;
  }
  void scalar(const std::string& name, double v) { scalars_[name] = v; }
  void symbol(const std::string& name, std::int64_t v) { symbols_[name] = v; }
  CpuOptions options;
  CpuTarget target = CpuTarget::host();
  const ir::Kernel& kernel() const { return *kernel_; }

  /// The tensor after the compiled kernel ran.
  const Buffer& result(const std::string& name) const { return compiled_.at(name); }

  /// Compares every tensor after both ran.
  void check(const Tolerance& tolerance = {}) {
    run_interpreter();
    run_compiled();
    if (testing::Test::HasFatalFailure()) return;
    for (const auto& [name, b] : tensors_) compare(name, interpreted_.at(name), compiled_.at(name), tolerance);
  }

  void run_compiled(std::int64_t by = 0) {
    Diagnostics diagnostics;
    const CpuObject object = compile_cpu(*kernel_, target, options, diagnostics);
    ASSERT_FALSE(diagnostics.any()) << diagnostics.list()[0].message;
    const CpuKernel code = loader().load(object);
    std::deque<Guarded> memory;
    Launch launch(*kernel_);
    std::map<std::string, Guarded*> places;
    for (auto& [name, b] : tensors_) {
      const std::size_t bytes = (static_cast<std::size_t>(b.size()) * static_cast<std::size_t>(bits(b.dtype)) + 7) / 8;
      Guarded& g = memory.emplace_back(bytes);
      std::memcpy(g.data(), b.bytes.data(), bytes);
      launch.view(name, g.data(), b.dims, row_major(b.dims));
      places[name] = &g;
    }
    fill(launch);
    // The arena is guarded as well: behind it, and by size.
    const std::size_t arena_bytes = (code.arena_bytes + 63) / 64 * 64;
    Guarded arena(arena_bytes);
    std::memset(arena.data(), 0xff, arena_bytes);
    std::memset(arena.data(), 0, sizeof(CpuReport));
    const FrameLayout layout = frame_layout(*kernel_);
    const auto counts = grid_counts(*kernel_, layout, launch.frame());
    std::int64_t instances = 1;
    for (const std::int64_t c : counts) instances *= c;
    if (by == 0) {
      code.range_entry(launch.frame().data(), 0, instances, counts.data(), arena.data());
    } else {
      for (std::int64_t i = 0; i < instances; ++i) code.entry(launch.frame().data(), i, counts.data(), arena.data());
    }
    std::memcpy(&report, arena.data(), sizeof(report));
    checks = object.checks;
    for (auto& [name, b] : tensors_) {
      Buffer after = b;
      std::memcpy(after.bytes.data(), places.at(name)->data(), places.at(name)->size());
      compiled_.insert_or_assign(name, std::move(after));
    }
  }
  CpuReport report;
  std::vector<CpuCheck> checks;

  void run_interpreter() {
    std::map<std::string, Buffer> copies;
    Launch launch(*kernel_);
    for (auto& [name, b] : tensors_) {
      Buffer& copy = interpreted_.insert_or_assign(name, b).first->second;
      launch.view(name, copy);
    }
    fill(launch);
    interpret(*kernel_, launch.frame());
  }

 private:
  void fill(Launch& launch) const {
    for (const auto& [name, v] : scalars_) launch.scalar(name, v);
    for (const auto& [name, v] : symbols_) launch.symbol(name, v);
  }

  static void compare(const std::string& name, const Buffer& expected, const Buffer& got, const Tolerance& t) {
    int shown = 0;
    double largest = 0;
    for (std::int64_t i = 0; i < expected.size(); ++i) {
      bool good;
      if (!is_float(expected.dtype)) {
        good = expected.raw(i) == got.raw(i);
      } else {
        const double x = expected.get(i);
        const double y = got.get(i);
        if (std::isnan(x) || std::isnan(y) || std::isinf(x) || std::isinf(y)) {
          good = (std::isnan(x) && std::isnan(y)) || x == y;
        } else {
          largest = std::max(largest, std::fabs(x - y));
          good = std::fabs(x - y) <= t.absolute + t.relative * std::fabs(x);
        }
      }
      if (!good && shown++ < 5) ADD_FAILURE() << name << "[" << i << "]: interpreter " << expected.get(i) << ", compiled " << got.get(i);
    }
    if (shown > 5) ADD_FAILURE() << name << ": " << shown << " of " << expected.size() << " elements differ, by up to " << largest;
  }

  std::unique_ptr<ir::Kernel> kernel_;
  std::deque<std::pair<std::string, Buffer>> tensors_;
  std::map<std::string, double> scalars_;
  std::map<std::string, std::int64_t> symbols_;
  std::map<std::string, Buffer> interpreted_, compiled_;
};

}  // namespace tessera::test
