#include "runtime/tune/subject.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "dsl/dtype.h"
#include "runtime/cuda_device.h"
#include "runtime/errors.h"
#include "runtime/tune/search.h"
#include "tessera/stream.h"

namespace tessera::tuning {
namespace {

constexpr std::size_t most_launches = 1000, least_flush = 64 << 20;
constexpr double least_seconds = 1e-9;  // of a launch: a clock may stand still

bool writes(const Parameter& p) { return p.access != Access::In; }
cuda::DevicePointer address(const void* p) { return reinterpret_cast<cuda::DevicePointer>(p); }
CUstream_st* stream_of(const Context& c) { return static_cast<CUstream_st*>(c.raw_stream()); }

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Of the processor for this thread: what a launch takes that runs in it alone, whoever else wants the processor meanwhile.
double now_in_thread() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

bool compact(const Tensor& t) {
  std::int64_t stride = 1;
  for (int i = t.rank - 1; i >= 0; --i) {
    const auto a = static_cast<std::size_t>(i);
    if (t.extents[a] != 1 && t.strides[a] != stride) return false;
    stride *= std::max<std::int64_t>(t.extents[a], 1);
  }
  return true;
}

/// Where the elements lie, in the order of a compact tensor, in elements from the pointer.
template <class F>
void for_each_element(const Tensor& t, F&& f) {
  std::array<std::int64_t, max_rank> index{};
  std::int64_t at = 0;
  for (std::int64_t n = t.elements(), i = 0; i < n; ++i) {
    f(i, at);
    for (int axis = t.rank - 1; axis >= 0; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      at += t.strides[a];
      if (++index[a] < t.extents[a]) break;
      at -= t.strides[a] * t.extents[a];
      index[a] = 0;
    }
  }
}

}  // namespace

Subject::Subject(const Context& context, const std::vector<Parameter>& parameters, std::span<const Argument> arguments)
    : context_(context), parameters_(parameters), arguments_(arguments.begin(), arguments.end()) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor* t = arguments_[i].tensor();
    if (!t || !writes(parameters_[i]) || parameters_[i].access == Access::Out) continue;
    const Bytes b = reach(i);
    if (b.bytes == 0) continue;
    DeviceBuffer copy(context_, static_cast<std::size_t>(b.bytes));
    const auto* from = static_cast<const std::byte*>(t->data) + b.first;
    if (context_.is_cuda()) {
      const cuda::Current current(*context_.gpu());
      const cuda::Driver& d = context_.gpu()->api();
      d.check(d.copy_on_device(address(copy.data()), address(from), copy.bytes(), stream_of(context_)), "copying on a GPU");
    } else {
      std::memcpy(copy.data(), from, copy.bytes());
    }
    before_.emplace_back(b, std::move(copy));
  }
}

Subject::Bytes Subject::reach(std::size_t i) const {
  const Tensor& t = *arguments_[i].tensor();
  if (t.elements() == 0) return {i, 0, 0};
  std::int64_t last = 0;
  for (int a = 0; a < t.rank; ++a) last += (t.extents[static_cast<std::size_t>(a)] - 1) * t.strides[static_cast<std::size_t>(a)];
  return {i, 0, ((last + 1) * bits(t.dtype) + 7) / 8};
}

void Subject::set_back() const {
  if (before_.empty()) return;
  std::optional<cuda::Current> current;
  if (context_.is_cuda()) current.emplace(*context_.gpu());
  for (const auto& [b, copy] : before_) {
    std::byte* to = static_cast<std::byte*>(arguments_[b.argument].tensor()->data) + b.first;
    if (context_.is_cuda()) {
      const cuda::Driver& d = context_.gpu()->api();
      d.check(d.copy_on_device(address(to), address(copy.data()), copy.bytes(), stream_of(context_)), "copying on a GPU");
    } else {
      std::memcpy(to, copy.data(), copy.bytes());
    }
  }
}

void Subject::poison() const {
  std::optional<cuda::Current> current;
  if (context_.is_cuda()) current.emplace(*context_.gpu());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor* t = arguments_[i].tensor();
    if (!t || parameters_[i].access != Access::Out || !compact(*t)) continue;
    const auto bytes = static_cast<std::size_t>(reach(i).bytes);
    if (bytes == 0) continue;
    if (context_.is_cuda()) {
      const cuda::Driver& d = context_.gpu()->api();
      d.check(d.memset8(address(t->data), 0xff, bytes, stream_of(context_)), "filling memory of a GPU");
    } else {
      std::memset(t->data, 0xff, bytes);
    }
  }
}

Results Subject::fetch() const {
  context_.synchronize();
  Results out;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor* t = arguments_[i].tensor();
    if (!t || !writes(parameters_[i])) continue;
    HostTensor host(t->dtype, {t->extents.begin(), t->extents.begin() + t->rank});
    const Bytes b = reach(i);
    const bool whole = compact(*t);
    std::vector<std::byte> raw(whole ? 0 : static_cast<std::size_t>(b.bytes));
    std::byte* to = whole ? host.bytes().data() : raw.data();
    if (b.bytes > 0) {
      if (context_.is_cuda()) {
        const cuda::Current current(*context_.gpu());
        const cuda::Driver& d = context_.gpu()->api();
        d.check(d.copy_to_host(to, address(t->data), static_cast<std::size_t>(b.bytes), stream_of(context_)), "copying from a GPU");
        d.check(d.stream_synchronize(stream_of(context_)), "waiting for a copy");
      } else {
        std::memcpy(to, t->data, static_cast<std::size_t>(b.bytes));
      }
    }
    if (!whole) {
      const int width = bits(t->dtype);
      for_each_element(*t, [&](std::int64_t n, std::int64_t at) {
        if (width >= 8) {
          std::memcpy(host.bytes().data() + n * (width / 8), raw.data() + at * (width / 8), static_cast<std::size_t>(width / 8));
        } else {
          const auto nibble = (raw[static_cast<std::size_t>(at / 2)] >> static_cast<int>(at % 2 * 4)) & std::byte{0xf};
          host.bytes()[static_cast<std::size_t>(n / 2)] |= nibble << static_cast<int>(n % 2 * 4);
        }
      });
    }
    out.emplace(parameters_[i].name, std::move(host));
  }
  return out;
}

std::vector<double> Subject::time(const AnyKernel& kernel, double seconds, int least, double hopeless, bool cold) {
  if (context_.is_cuda()) return time_on_gpu(kernel, seconds, least, hopeless, cold);
  std::vector<double> times;
  double best = 0;
  double (*const clock)() = context_.threads() == 1 ? now_in_thread : now;
  const double start = clock();
  // The first launch warms pages, caches and threads.
  for (bool warm = false; times.size() < static_cast<std::size_t>(least) || (times.size() < most_launches && clock() - start < seconds);
       warm = true) {
    set_back();
    const double t = clock();
    kernel.launch(context_, arguments_);
    const double took = std::max(clock() - t, least_seconds);
    best = warm ? std::min(best, took) : took;
    if (warm) times.push_back(took);
    if (times.size() > 1 && best > hopeless) break;
  }
  return times;
}

std::vector<double> Subject::time_on_gpu(const AnyKernel& kernel, double seconds, int least, double hopeless, bool cold) {
  // Writing more than the cache holds drives everything else out of it.
  if (cold && flush_.bytes() == 0)
    flush_ = DeviceBuffer(context_, std::max<std::size_t>(2 * static_cast<std::size_t>(context_.gpu()->properties().l2_bytes), least_flush));
  constexpr std::size_t batch = 8;
  std::vector<Event> starts, ends;
  for (std::size_t i = 0; i < batch; ++i) {
    starts.emplace_back(context_, Event::Timing::On);
    ends.emplace_back(context_, Event::Timing::On);
  }
  std::vector<double> times;
  const double begin = now();
  set_back();
  kernel.launch(context_, arguments_);  // loads the code, and wakes the device up
  // Launches that need nothing between them are timed in a row, so that what a launch costs the host is hidden.
  std::size_t row = 1;
  while (times.size() < static_cast<std::size_t>(least) || (times.size() < most_launches && now() - begin < seconds)) {
    const std::size_t count = times.empty() ? 1 : std::min(batch, most_launches - times.size());
    for (std::size_t i = 0; i < count; ++i) {
      set_back();
      if (cold) flush_.fill(0, context_);
      starts[i].record(context_);
      for (std::size_t k = 0; k < row; ++k) kernel.launch(context_, arguments_);
      ends[i].record(context_);
    }
    ends[count - 1].synchronize();
    for (std::size_t i = 0; i < count; ++i)
      times.push_back(std::max(Event::elapsed_ms(starts[i], ends[i]) * 1e-3 / static_cast<double>(row), least_seconds));
    if (times.size() == 1 && times[0] > 2 * hopeless) break;
    if (times.size() == 1 && !cold && !restores()) row = static_cast<std::size_t>(std::clamp(1e-3 / times[0], 1.0, 100.0));
  }
  return times;
}

}  // namespace tessera::tuning
