// Tensors that a command owns: read from files, made for outputs, filled at random.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "runtime/host_tensor.h"
#include "runtime/safetensors.h"
#include "tessera/module.h"

namespace tessera::cli {

using tessera::HostTensor;

/// The shape that a file's tensor has as this parameter: sub-byte elements lie packed in U8, so their last extent counts double. Throws Error: E0702
/// element type, E0703 rank.
std::vector<std::int64_t> shape_as(const TensorEntry& entry, const Parameter& parameter);
/// Reads it. Throws as shape_as, and MachineError.
HostTensor load_as(const SafetensorsFile& file, const TensorEntry& entry, const Parameter& parameter);
/// What to write for it; sub-byte elements as U8.
TensorData to_file(const std::string& name, const HostTensor& t);

}  // namespace tessera::cli
