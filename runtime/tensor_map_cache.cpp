#include "runtime/tensor_map_cache.h"

#include "codegen/gpu/tensor_map.h"

namespace tessera {
namespace {

bool encode(const cuda::Driver& d, const GpuTensorMap& map, const Launch& launch, cuda::TensorMap& to) {
  const std::optional<TensorMapValues> v = tensor_map_values(map, {launch.frame.begin(), launch.frame.end()});
  if (!v || !d.tensor_map_encode) return false;
  const std::array<std::uint32_t, 5> steps = {1, 1, 1, 1, 1};
  const auto type = v->element_bytes == 1 ? cuda::TensorMapType::U8 : v->element_bytes == 2 ? cuda::TensorMapType::U16 : cuda::TensorMapType::U32;
  return d.tensor_map_encode(&to, type, static_cast<std::uint32_t>(v->rank), reinterpret_cast<void*>(v->base), v->extents.data(), v->strides.data(),
                             v->box.data(), steps.data(), cuda::TensorMapInterleave::None, cuda::TensorMapSwizzle::Bytes128,
                             cuda::TensorMapPromotion::L2Bytes256, cuda::TensorMapFill::Zeros) == cuda::Result::Success;
}

}  // namespace

TensorMapCache::TensorMapCache(const std::vector<GpuTensorMap>& maps)
    : maps_(maps.data()), count_(maps.size()), slots_(maps.empty() ? nullptr : std::make_unique<Slot[]>(maps.size() * sets_a_map * slots_a_set)) {
  for (const GpuTensorMap& m : maps) TESSERA_ASSERT(1 + 2 * m.axes.size() <= max_words, "a tensor map of more than five axes");
}

TensorMapCache::Words TensorMapCache::words_of(const GpuTensorMap& map, const Launch& launch) {
  Words out{launch.frame[map.base]};
  std::size_t n = 1;
  for (const GpuTensorMap::Axis& a : map.axes) {
    out[n++] = launch.frame[a.extent];
    out[n++] = launch.frame[a.stride];
  }
  return out;
}

std::uint64_t TensorMapCache::hash(const Words& words) {
  std::uint64_t h = 0;
  for (const std::uint64_t w : words) h = (h ^ w ^ (h >> 29)) * 0x9e3779b97f4a7c15;
  return h ^ (h >> 32);
}

// Acquiring loads keep the last look at the version behind those of the words; releasing stores keep the first mark before them.
bool TensorMapCache::Slot::read(const Words& words, cuda::TensorMap& to) const {
  const std::uint32_t before = version.load(std::memory_order_acquire);
  if (before == 0 || before % 2 != 0) return false;
  for (std::size_t i = 0; i < max_words; ++i) {
    if (key[i].load(std::memory_order_acquire) != words[i]) return false;
  }
  for (std::size_t i = 0; i < map.size(); ++i) to.words[i] = map[i].load(std::memory_order_acquire);
  return version.load(std::memory_order_relaxed) == before;
}

void TensorMapCache::Slot::write(const Words& words, const cuda::TensorMap& from) {
  std::uint32_t before = version.load(std::memory_order_relaxed);
  if (before % 2 != 0 || !version.compare_exchange_strong(before, before + 1, std::memory_order_acquire)) return;
  for (std::size_t i = 0; i < max_words; ++i) key[i].store(words[i], std::memory_order_release);
  for (std::size_t i = 0; i < map.size(); ++i) map[i].store(from.words[i], std::memory_order_release);
  version.store(before + 2, std::memory_order_release);
}

bool TensorMapCache::get(const cuda::Driver& driver, std::size_t m, const Launch& launch, cuda::TensorMap& to) const {
  const Words words = words_of(maps_[m], launch);
  const std::uint64_t h = hash(words);
  Slot* const set = &slots_[(m * sets_a_map + h % sets_a_map) * slots_a_set];
  Slot* free = &set[h / sets_a_map % slots_a_set];
  for (std::size_t i = slots_a_set; i-- > 0;) {
    if (set[i].read(words, to)) return true;
    if (set[i].version.load(std::memory_order_relaxed) == 0) free = &set[i];
  }
  if (!encode(driver, maps_[m], launch, to)) return false;
  free->write(words, to);
  return true;
}

}  // namespace tessera
