#include "tessera/stream.h"

#include <chrono>

#include "runtime/cuda_device.h"
#include "runtime/errors.h"

namespace tessera {
namespace {

CUstream_st* stream_of(const Context& c) { return static_cast<CUstream_st*>(c.raw_stream()); }

double now_ms() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Stream::Stream(const Context& context)
    : context_(guarded([&] {
        if (!context.is_cuda()) return context;
        const std::shared_ptr<const cuda::Device>& gpu = context.gpu();
        const cuda::Current current(*gpu);
        CUstream_st* stream = nullptr;
        gpu->api().check(gpu->api().stream_create(&stream, cuda::stream_non_blocking), "making a stream");
        return Context(gpu, std::shared_ptr<void>(stream, [gpu](void* s) {
                         try {
                           const cuda::Current inside(*gpu);
                           gpu->api().stream_destroy(static_cast<CUstream_st*>(s));
                         } catch (...) {  // the context is gone, and its streams with it
                         }
                       }));
      })) {}

Stream Stream::wrap(const Context& context, void* stream) {
  if (!context.is_cuda()) return Stream(Wrapped{}, context);
  return Stream(Wrapped{}, Context(context.gpu(), std::shared_ptr<void>(std::shared_ptr<void>(), stream)));
}

void Stream::wait_for(const Context& other) const {
  Event here(other);
  here.record(other);
  here.make_wait(context_);
}

bool Stream::capturing() const {
  return guarded([&] { return context_.is_cuda() && context_.gpu()->capturing(stream_of(context_)); });
}

Event::Event(const Context& context, Timing timing) : gpu_(context.gpu()) {
  guarded([&] {
    if (!gpu_) return;
    const cuda::Current current(*gpu_);
    CUevent_st* event = nullptr;
    gpu_->api().check(gpu_->api().event_create(&event, timing == Timing::On ? 0 : cuda::event_disable_timing), "making an event");
    event_ = std::shared_ptr<void>(event, [gpu = gpu_](void* e) {
      try {
        const cuda::Current inside(*gpu);
        gpu->api().event_destroy(static_cast<CUevent_st*>(e));
      } catch (...) {  // the context is gone, and its events with it
      }
    });
  });
}

void Event::record(const Context& context) {
  guarded([&] {
    if (context.is_cuda() != (gpu_ != nullptr)) fail(Code::E0802, "an event of one device cannot be recorded on another");
    if (!gpu_) {
      host_ms_ = now_ms();
      return;
    }
    const cuda::Current current(*context.gpu());
    gpu_->api().check(gpu_->api().event_record(static_cast<CUevent_st*>(handle()), stream_of(context)), "recording an event");
  });
}

void Event::synchronize() const {
  guarded([&] {
    if (!gpu_) return;
    const cuda::Current current(*gpu_);
    gpu_->api().check(gpu_->api().event_synchronize(static_cast<CUevent_st*>(handle())), "waiting for an event");
  });
}

bool Event::done() const {
  return guarded([&] {
    if (!gpu_) return true;
    const cuda::Current current(*gpu_);
    const cuda::Result r = gpu_->api().event_query(static_cast<CUevent_st*>(handle()));
    if (r == cuda::Result::NotReady) return false;
    gpu_->api().check(r, "asking for an event");
    return true;
  });
}

void Event::make_wait(const Context& context) const {
  guarded([&] {
    if (!gpu_) return;
    if (!context.is_cuda()) {  // what follows on the CPU runs in the calling thread
      synchronize();
      return;
    }
    const cuda::Current current(*context.gpu());
    gpu_->api().check(gpu_->api().stream_wait_event(stream_of(context), static_cast<CUevent_st*>(handle()), 0), "making a stream wait");
  });
}

double Event::elapsed_ms(const Event& start, const Event& end) {
  return guarded([&] {
    if (!start.gpu_ || !end.gpu_) {
      if (start.gpu_ || end.gpu_) fail(Code::E0802, "events of different devices have no time between them");
      return end.host_ms_ - start.host_ms_;
    }
    const cuda::Current current(*start.gpu_);
    float ms = 0;
    const cuda::Driver& d = start.gpu_->api();
    d.check(d.event_elapsed(&ms, static_cast<CUevent_st*>(start.handle()), static_cast<CUevent_st*>(end.handle())), "measuring time");
    return static_cast<double>(ms);
  });
}

}  // namespace tessera
