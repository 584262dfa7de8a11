// A libcuda.so.1 without a GPU: memory is the host's, launches are written down instead of run. Tests load it in the driver's place, look at what it
// saw and tell it what to fail.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fake_cuda {

struct Launch {
  unsigned grid_x = 0, grid_y = 0, grid_z = 0, threads = 0, shared_bytes = 0;
  void* stream = nullptr;
  void* context = nullptr;  ///< current in the calling thread
  unsigned cluster = 1;     ///< CTAs of one, by the launch's attributes
  std::size_t words = 0;    ///< of the parameters, one after the other
  std::array<std::uint64_t, 96> parameters{};
};

/// What this driver puts into the 128 bytes of a tensor map.
struct Map {
  std::uint64_t address;
  int type : 8, interleave : 8, swizzle : 8, promotion : 4, fill : 4;
  std::uint32_t rank;
  std::uint64_t extents[5], strides[4];
  std::uint32_t box[5];
};
static_assert(sizeof(Map) <= 128);

struct State {
  // what the machine is
  int devices = 1;
  int version = 13000;
  int major = 9, minor = 0;
  int newest_ptx = 90;
  int most_shared_bytes = 232448;
  std::size_t memory_bytes = std::size_t{1} << 30;
  int spilling = 0;  ///< so many modules, the first ones, have kernels with 64 bytes of local memory
  // what goes wrong
  int init_result = 0;
  int sticky = 0;  ///< what every call returns, if not 0
  int launch_result = 0;
  int module_result = 0;        ///< of asking for a library's module
  int encode_result = 0;        ///< of making a tensor map
  bool legacy_capture = false;  ///< a capture elsewhere forbids the default stream
  // what a kernel does: the report of the first failed check
  std::int64_t failed_check = 0, failed_instance = 0;
  // what was seen
  std::atomic<bool> machine_code = false;  ///< the latest module was no text
  std::atomic<int> assembler_level = 0;    ///< asked for by who loaded the latest module; 0: none was
  std::atomic<int> modules_loaded = 0, libraries_loaded = 0, modules_alive = 0, streams_alive = 0, events_alive = 0, retained = 0, synchronized = 0;
  std::atomic<std::size_t> bytes_alive = 0;
  std::atomic<int> launches = 0, encoded = 0;  ///< encoded: tensor maps
  std::array<Launch, 64> launch{};             ///< the latest, by number modulo 64
};

/// Exported by the library under this name.
using GetState = State* (*)();
inline constexpr const char* get_state_name = "fake_cuda_state";

/// A stream of the library starts with this.
struct Stream {
  bool capturing = false;
};

}  // namespace fake_cuda
