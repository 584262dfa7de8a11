#include "runtime/cache/image.h"

#include "codegen/nvptx/ptx.h"
#include "runtime/cache/head.h"

namespace tessera::cache {
namespace {

void put_span(Writer& w, const Span& s) { w.number(s.file).number(s.begin).number(s.end); }

Span get_span(Reader& r) {
  Span s;
  s.file = static_cast<FileId>(r.number());
  s.begin = static_cast<std::uint32_t>(r.number());
  s.end = static_cast<std::uint32_t>(r.number());
  return s;
}

/// Checks of either kind of code.
template <class Check>
void put_checks(Writer& w, const std::vector<Check>& checks) {
  w.number(checks.size());
  for (const Check& c : checks) {
    put_span(w, c.span);
    w.text(c.message);
  }
}

template <class Check>
std::vector<Check> get_checks(Reader& r) {
  std::vector<Check> out(r.count());
  for (Check& c : out) {
    c.span = get_span(r);
    c.message = r.text();
  }
  return out;
}

}  // namespace

// The members are named one by one, so that a new one does not compile until it is written and read here.
std::vector<Section> sections_of(const CpuObject& object) {
  const auto& [bytes, entry, range_entry, arena_bytes, checks, instructions, times] = object;
  static_cast<void>(times);  // of the compilation, which a loaded kernel has not had
  Writer meta;
  meta.text("cpu").text(entry).text(range_entry).number(arena_bytes).number(static_cast<std::uint64_t>(instructions));
  put_checks(meta, checks);
  return {{"meta", meta.take()}, {"elf ", bytes}};
}

std::optional<CpuObject> cpu_object(const Entry& entry) {
  const std::string *meta = entry.find("meta"), *elf = entry.find("elf ");
  if (!meta || !elf || elf->empty()) return std::nullopt;
  Reader r(*meta);
  if (r.text() != "cpu") return std::nullopt;
  CpuObject out;
  out.object = *elf;
  out.entry = r.text();
  out.range_entry = r.text();
  out.arena_bytes = r.number();
  out.instructions = static_cast<std::int64_t>(r.number());
  out.checks = get_checks<CpuCheck>(r);
  if (!r.done()) return std::nullopt;
  return out;
}

std::vector<Section> sections_of(const GpuObject& object) {
  const auto& [ptx, cubin, entry, target, threads, shared_bytes, checks, maps, persistent, cluster, assembler_level, passes_ms, codegen_ms] = object;
  static_cast<void>(passes_ms), static_cast<void>(codegen_ms);
  Writer meta;
  meta.text("gpu").text(entry).text(target.name()).number(static_cast<std::uint64_t>(threads)).number(static_cast<std::uint64_t>(shared_bytes));
  meta.number(persistent ? 1 : 0).number(static_cast<std::uint64_t>(cluster.ctas)).number(cluster.axis);
  meta.number(static_cast<std::uint64_t>(assembler_level));
  put_checks(meta, checks);
  meta.number(maps.size());
  for (const GpuTensorMap& m : maps) {
    const auto& [base, dtype, axes, stored] = m;
    meta.number(base).number(static_cast<std::uint64_t>(dtype)).number(stored ? 1 : 0).number(axes.size());
    for (const GpuTensorMap::Axis& a : axes) meta.number(a.extent).number(a.stride).number(static_cast<std::uint64_t>(a.box));
  }
  std::vector<Section> out = {{"meta", meta.take()}, {"ptx ", ptx}};
  if (!cubin.empty()) out.push_back({"cubn", cubin});
  return out;
}

std::optional<GpuObject> gpu_object(const Entry& entry) {
  const std::string *meta = entry.find("meta"), *ptx = entry.find("ptx ");
  if (!meta || !ptx || ptx->empty()) return std::nullopt;
  Reader r(*meta);
  if (r.text() != "gpu") return std::nullopt;
  GpuObject out;
  out.ptx = *ptx;
  if (const std::string* cubin = entry.find("cubn")) out.cubin = *cubin;
  out.entry = r.text();
  const std::optional<GpuTarget> target = gpu_target_from_name(r.text());
  if (!target) return std::nullopt;
  out.target = *target;
  out.threads = static_cast<int>(r.number());
  out.shared_bytes = static_cast<std::int64_t>(r.number());
  out.persistent = r.number() != 0;
  out.cluster.ctas = static_cast<int>(r.number());
  out.cluster.axis = r.number();
  out.assembler_level = static_cast<int>(r.number());
  out.checks = get_checks<GpuCheck>(r);
  out.maps.resize(r.count());
  for (GpuTensorMap& m : out.maps) {
    m.base = r.number();
    m.dtype = static_cast<DType>(r.number());
    m.stored = r.number() != 0;
    m.axes.resize(r.count());
    for (GpuTensorMap::Axis& a : m.axes) {
      a.extent = r.number();
      a.stride = r.number();
      a.box = static_cast<std::int64_t>(r.number());
    }
  }
  if (!r.done()) return std::nullopt;
  return out;
}

Section in_place_section(const InPlace& pairs) {
  Writer w;
  w.number(pairs.size());
  for (const auto& [written, read] : pairs) w.text(written).text(read);
  return {"inpl", w.take()};
}

std::optional<InPlace> in_place_of(const Entry& entry) {
  const std::string* bytes = entry.find("inpl");
  if (!bytes) return std::nullopt;
  Reader r(*bytes);
  InPlace out(r.count());
  for (auto& [written, read] : out) {
    written = r.text();
    read = r.text();
  }
  if (!r.done()) return std::nullopt;
  return out;
}

std::vector<Section> head_sections(const ir::Kernel& kernel) {
  const Head head = head_of(kernel);
  Writer spans;
  spans.number(head.spans.size());
  for (const Span& s : head.spans) put_span(spans, s);
  return {{"head", head.text}, {"span", spans.take()}};
}

Section without_places(const Section& spans) {
  Reader r(spans.bytes);
  Writer out;
  const std::size_t count = r.count();
  out.number(count);
  for (std::size_t i = 0; i < count; ++i) put_span(out, Span{});
  return {spans.tag, out.take()};
}

std::unique_ptr<ir::Kernel> head_in(const Entry& entry) {
  const std::string *text = entry.find("head"), *spans = entry.find("span");
  if (!text || !spans) return nullptr;
  Reader r(*spans);
  Head head{*text, std::vector<Span>(r.count())};
  for (Span& s : head.spans) s = get_span(r);
  return r.done() ? read_head(head) : nullptr;
}

}  // namespace tessera::cache
