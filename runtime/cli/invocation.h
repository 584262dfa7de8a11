// A kernel and the arguments that a command line names: shared by run and bench.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/cli/kernel_options.h"
#include "runtime/cli/tensors.h"
#include "runtime/shapes.h"
#include "runtime/work.h"
#include "tessera/device_buffer.h"

namespace tessera::cli {

struct InvocationOptions {
  KernelOptions kernel;
  std::string in;
  std::vector<std::string> scalars, shapes, without;
  std::vector<std::string> with;  ///< bench: optional views that are not left out though the kernel reads them
  SymbolValues sizes;             ///< bench: symbols given by the user
  bool random_inputs = false;     ///< bench: what is in no file is made up
  bool compile = true;            ///< false: only arguments() may be asked beside what dry allows, and kernel() not be launched
  bool dry = false;               ///< no tensors and no code: only kernel(), symbols(), sizes() and work() may be asked
};

/// The words of --size. Throws Error (E0802).
SymbolValues sizes_from_text(const std::vector<std::string>& words);
/// Adds --size, --arg, --in, --shape, --without and --with, as commands take them that make up their inputs.
void add_random_inputs(CLI::App& sub, InvocationOptions& options, std::vector<std::string>& sizes);

class Invocation {
 public:
  /// Loads, compiles, reads the inputs and makes the outputs. Throws Error, MachineError.
  Invocation(const InvocationOptions& options, Report& report);

  const AnyKernel& kernel() const { return *kernel_; }
  const Context& context() const { return *context_; }
  const std::map<std::string, HostTensor>& tensors() const { return tensors_; }
  const SymbolValues& symbols() const { return symbols_; }
  /// What a launch computes and moves: as the passes left it, or, dry, as the front end made it, with what masks would skip.
  Work work() const;
  /// Launch symbols and idx scalars, for counting.
  SymbolValues sizes() const;
  /// One a parameter; they name memory of this object.
  std::vector<Argument> arguments() const;
  /// Launches once and waits; on a GPU, on the tensors there. Before the first launch, outputs hold the bytes of NaN and of -1.
  void launch() const;
  /// Brings what a GPU's kernel wrote into tensors(); nothing to do on the CPU.
  void fetch();
  /// Parameters that the kernel writes, present ones only.
  std::vector<const Parameter*> written() const;
  /// Median seconds of a launch: at least five, until `seconds` have passed. Tensors that the kernel reads and writes are set back before each;
  /// afterwards they hold what one launch makes of the inputs. On a GPU, by its clock; `cold`: with none of the data in its L2 cache.
  double median_seconds(double seconds, bool cold = false);

 private:
  void move_to_device();
  double median_seconds_on_gpu(double seconds, bool cold);
  void read_inputs(const InvocationOptions& options);
  void find_symbols(const InvocationOptions& options);
  void make_tensors(const InvocationOptions& options);
  void read_scalars(const InvocationOptions& options);

  std::optional<AnyKernel> kernel_;
  std::optional<Context> context_;
  std::map<std::string, HostTensor> tensors_;
  std::map<std::string, DeviceBuffer> on_device_;  ///< the same tensors on a GPU
  std::map<std::string, Scalar> scalars_;
  Shapes shapes_;
  SymbolValues symbols_;
  std::vector<std::string> absent_;
  bool dry_ = false;
};

}  // namespace tessera::cli
