// The arguments that candidates are timed on: set back before each launch, read back to compare results.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/tune/results.h"
#include "tessera/device_buffer.h"
#include "tessera/module.h"

namespace tessera::tuning {

class Subject {
 public:
  /// `parameters` of the kernel, one argument each; what it reads and writes is copied now. Throws MachineError.
  Subject(const Context& context, const std::vector<Parameter>& parameters, std::span<const Argument> arguments);

  std::span<const Argument> arguments() const { return arguments_; }
  /// Some of it is read and written.
  bool restores() const { return !before_.empty(); }
  /// Queues copies of what the kernel reads and writes back to their places.
  void set_back() const;
  /// Fills outputs with the bytes of NaN and of -1, where they are compact, so that one that is not written whole shows.
  void poison() const;
  /// What the kernel wrote, after all that is queued.
  Results fetch() const;

  /// Seconds of single launches of the kernel: at least `least`, more until `seconds` have passed or one took longer than `hopeless`. On a CPU of
  /// one thread by the processor's time, so that other work on the machine counts as little as possible; on a GPU by its clock; `cold`: with nothing
  /// of the data in its L2 cache.
  std::vector<double> time(const AnyKernel& kernel, double seconds, int least, double hopeless, bool cold);

 private:
  struct Bytes {
    std::size_t argument = 0;
    std::int64_t first = 0, bytes = 0;  ///< from the tensor's pointer, all that its strides reach
  };
  Bytes reach(std::size_t argument) const;
  std::vector<double> time_on_gpu(const AnyKernel& kernel, double seconds, int least, double hopeless, bool cold);

  Context context_;
  std::vector<Parameter> parameters_;
  std::vector<Argument> arguments_;
  std::vector<std::pair<Bytes, DeviceBuffer>> before_;
  DeviceBuffer flush_;
};

}  // namespace tessera::tuning
