// A compiled kernel as the sections of a cache entry.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "codegen/cpu/compile.h"
#include "dsl/ir.h"
#include "runtime/cache/entry.h"

namespace tessera {
struct GpuObject;
}

namespace tessera::cache {

std::vector<Section> sections_of(const CpuObject& object);
std::vector<Section> sections_of(const GpuObject& object);
/// Empty unless the entry is what sections_of() makes of such an object.
std::optional<CpuObject> cpu_object(const Entry& entry);
std::optional<GpuObject> gpu_object(const Entry& entry);

/// (written view, read view) pairs that the passes have proved safe to be the same memory; a section "inpl" of the entry.
using InPlace = std::vector<std::pair<std::string, std::string>>;
Section in_place_section(const InPlace& pairs);
std::optional<InPlace> in_place_of(const Entry& entry);

/// What a kernel's launches need (head.h), as sections "head" and "span".
std::vector<Section> head_sections(const ir::Kernel& kernel);
/// The "span" section with all places unknown: for who has no sources to show.
Section without_places(const Section& spans);
/// Null unless the entry holds what head_sections() makes.
std::unique_ptr<ir::Kernel> head_in(const Entry& entry);

}  // namespace tessera::cache
