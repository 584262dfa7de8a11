// Queues of a GPU and points in them. On the CPU every launch and copy is done when its call returns, so there they order nothing.
#pragma once

#include "tessera/context.h"

namespace tessera {

/// A queue: work on one stream runs in order, work on different ones may overlap. A cheap handle; the last copy of a stream that was made here
/// destroys it, after which CUDA still finishes what is queued. Thread safety: as Context.
class TESSERA_API Stream {
 public:
  /// A new stream that does not wait for the legacy default stream. Throws Error (Machine).
  explicit Stream(const Context& context);
  /// A stream of the caller (a CUstream or cudaStream_t of the same device), which must outlive all copies of this handle. Null is the legacy default
  /// stream.
  static Stream wrap(const Context& context, void* stream);

  /// The context with its launches queued here; a stream may stand wherever a context is asked for.
  const Context& context() const noexcept { return context_; }
  operator const Context&() const noexcept { return context_; }  // NOLINT: lossless, so implicit
  /// The CUstream.
  void* handle() const noexcept { return context_.raw_stream(); }

  /// Waits in the calling thread until all that is queued is done. Throws Error (Machine) if some of it failed.
  void synchronize() const { context_.synchronize(); }
  /// What is queued here from now on begins after what is queued on `other` so far. Throws Error (Machine).
  void wait_for(const Context& other) const;
  /// Whether the stream is being captured into a CUDA graph. Throws Error (Machine).
  bool capturing() const;

 private:
  struct Wrapped {};
  Stream(Wrapped, Context context) : context_(std::move(context)) {}
  Context context_;
};

/// A point in a queue. Movable. Thread safety: as the CUDA driver's events; record and wait from one thread at a time.
class TESSERA_API Event {
 public:
  enum class Timing : bool { Off, On };
  /// Not yet recorded. Throws Error (Machine).
  explicit Event(const Context& context, Timing timing = Timing::Off);
  Event(Event&&) noexcept = default;
  Event& operator=(Event&&) noexcept = default;

  /// The point after all that is queued on the context's stream so far. Throws Error (Machine).
  void record(const Context& context);
  /// Waits in the calling thread until the point is reached; at once if never recorded. Throws Error (Machine) if the work before it failed.
  void synchronize() const;
  bool done() const;
  /// What is queued on the context's stream from now on begins after this point. Throws Error (Machine).
  void make_wait(const Context& context) const;
  /// The CUevent; null on the CPU.
  void* handle() const noexcept { return event_.get(); }

  /// Milliseconds between two points that have been reached. Throws Error (Machine) if they have not been, or do not measure time.
  static double elapsed_ms(const Event& start, const Event& end);

 private:
  std::shared_ptr<const cuda::Device> gpu_;
  std::shared_ptr<void> event_;
  double host_ms_ = 0;  ///< on the CPU: when it was recorded
};

}  // namespace tessera
