#include "codegen/simt/hazards.h"

#include <fmt/format.h>

#include "dsl/diagnostic.h"

namespace tessera {

const char* name(HazardKind kind) {
  switch (kind) {
    case HazardKind::OutOfBounds: return "out of bounds";
    case HazardKind::Misaligned: return "misaligned";
    case HazardKind::Uninitialised: return "uninitialised";
    case HazardKind::Race: return "race";
    case HazardKind::DoubleWrite: return "double write";
    case HazardKind::ReadOnly: return "write to an input";
    case HazardKind::Deadlock: return "deadlock";
    case HazardKind::Divergence: return "divergence";
    case HazardKind::BadOperand: return "bad operand";
    case HazardKind::Endless: return "endless";
  }
  TESSERA_UNREACHABLE("bad hazard");
}

const char* name(SimtPolicy policy) {
  switch (policy) {
    case SimtPolicy::BySeed: return "by seed";
    case SimtPolicy::Random: return "random";
    case SimtPolicy::Lazy: return "lazy";
    case SimtPolicy::Eager: return "eager";
  }
  TESSERA_UNREACHABLE("bad policy");
}

namespace simt {

std::string describe(const std::vector<SimtSite>& sites, std::uint32_t site) {
  if (site >= sites.size()) return "";
  const SimtSite& s = sites[site];
  return fmt::format("{} #{} in `{}`", s.what, site, s.block);
}

void HazardLog::report(HazardKind kind, std::uint32_t site, const std::string& what, std::uint32_t other) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [entry, fresh] = index_.try_emplace(Key{kind, site, other}, list_.size());
  if (fresh) {
    Hazard h;
    h.kind = kind;
    h.text = describe(*sites_, site);
    h.text += h.text.empty() ? what : " " + what;
    if (other < sites_->size()) h.text += " " + describe(*sites_, other);
    if (site < sites_->size()) h.span = (*sites_)[site].span;
    if (other < sites_->size()) h.other = (*sites_)[other].span;
    list_.push_back(std::move(h));
  }
  ++list_[entry->second].count;
}

std::vector<Hazard> HazardLog::take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::move(list_);
}

}  // namespace simt
}  // namespace tessera
