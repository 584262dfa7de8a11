#include "tessera/prepare.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "runtime/cpu_pool.h"
#include "runtime/errors.h"

namespace tessera {
namespace {

/// A line that is written over, on a terminal only.
class ProgressLine {
 public:
  void show(std::size_t done, std::size_t all, const std::string& name) const {
    if (terminal_) fmt::print(stderr, "\r\x1b[Kkernels {}/{}: {}", done, all, name);
  }
  ~ProgressLine() {
    if (terminal_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  bool terminal_ = ::isatty(STDERR_FILENO) != 0;
};

}  // namespace

std::vector<AnyKernel> prepare_all(std::span<const KernelRequest> requests, const PrepareOptions& options) {
  return guarded([&] {
    if (options.threads < 0 || options.threads > 1024) fail(Code::E0802, fmt::format("kernels cannot be prepared by {} threads", options.threads));
    std::vector<std::optional<AnyKernel>> made(requests.size());
    std::vector<std::exception_ptr> failed(requests.size());
    std::atomic<std::size_t> next = 0;
    std::mutex mutex;  // of telling
    std::size_t done = 0;
    {
      const ProgressLine line;
      const auto work = [&] {
        for (std::size_t i = next++; i < requests.size(); i = next++) {
          const KernelRequest& r = requests[i];
          try {
            made[i] = r.module.kernel(r.name, r.constants, r.options);
          } catch (...) {
            failed[i] = std::current_exception();
          }
          const std::lock_guard lock(mutex);
          ++done;
          try {
            options.progress ? options.progress(done, requests.size(), r.name) : line.show(done, requests.size(), r.name);
          } catch (...) {  // what the caller's function throws is the caller's error
            if (!failed[i]) failed[i] = std::current_exception();
          }
        }
      };
      const int threads = options.threads > 0 ? options.threads : detail::available_processors();
      std::vector<std::jthread> others;
      for (std::size_t t = 1; t < std::min<std::size_t>(static_cast<std::size_t>(threads), requests.size()); ++t) others.emplace_back(work);
      work();
    }
    for (const std::exception_ptr& e : failed) {
      if (e) std::rethrow_exception(e);
    }
    std::vector<AnyKernel> out;
    for (std::optional<AnyKernel>& k : made) out.push_back(std::move(*k));
    return out;
  });
}

}  // namespace tessera
