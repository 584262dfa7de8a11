#include "tests/kernels/made_up.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

namespace tessera::test {
namespace {

namespace fs = std::filesystem;

std::int64_t constant(const ir::Kernel& k, const std::string& name, std::int64_t otherwise) {
  for (const auto& [n, v] : k.constants) {
    if (n == name) return std::stoll(v);
  }
  return otherwise;
}

std::map<std::string, std::int64_t> symbols_of(const ir::Kernel& k, const Size& s) {
  const std::int64_t r = constant(k, "R", 1), pages = (s.sk + constant(k, "PAGE", 16) - 1) / constant(k, "PAGE", 16);
  const std::int64_t tiles = (s.sq * r + constant(k, "BM", 64) - 1) / constant(k, "BM", 64);
  const bool rope = k.name == "rope";
  return {{"B", s.b},
          {"G", s.h},
          {"H", s.h * r},
          {"Heads", s.h * r},
          {"Sq", s.sq},
          {"Sk", s.sk},
          {"M", s.m},
          {"N", rope ? s.m : s.n},
          {"K", s.k},
          {"U", s.b},
          {"V", s.n},
          {"W", k.name == "merge" ? 35 : 2},
          {"NQ", s.b * s.sq},
          {"NK", s.b * s.sk},
          {"NP", s.b * pages},
          {"NI", s.b * pages},
          {"P", pages},
          {"MT", tiles},
          {"Requests", s.b},
          {"Positions", std::max(s.sq, s.sk)},
          {"MaskBytes", s.b * ((s.sq * s.sk + 7) / 8)}};
}

double scalar(const std::string& name) {
  static const std::map<std::string, double> known = {
      {"eps", 1e-5},   {"scale", 0.2}, {"bias", -1},    {"gain", 2},    {"f.theta", 1e4}, {"f.scale", 8},    {"f.low", 1},     {"f.high", 4},
      {"f.old", 8192}, {"x.cap", 5},   {"x.left", 200}, {"x.right", 0}, {"x.seed", 11},   {"x.keep_p", 0.8}, {"x.chunk", 256}, {"x.prefix", 10}};
  const auto at = known.find(name);
  return at == known.end() ? 1 : at->second;
}

/// Element i of a view of integers that mean something.
std::int64_t integer(const std::string& name, std::int64_t i, const ir::Dims& dims, const Size& s, std::int64_t pages) {
  if (name == "qptr") return i * s.sq;
  if (name == "kptr") return i * s.sk;
  if (name == "pptr") return i * pages;
  if (name == "pages" || name == "table") return s.b * pages - 1 - i;
  if (name == "len") return s.sk;
  if (name == "slots") return 0;
  if (name == "rowof") return dims[0] - 1 - i;
  if (name == "pos") return 3 * i;
  if (name == "seed" || name == "offset") return 7;
  if (name == "k") return 3 + i;
  if (name == "x.doc") return i % dims.back() / 7;
  if (name == "x.bits") return (i * 37 + 11) % 256 | 1;
  if (name == "x.off") return i * ((s.sq * s.sk + 7) / 8);
  throw std::runtime_error("say in made_up.cpp what the integers of `" + name + "` mean");
}

/// The rows behind a request's last key, in its last page, are nobody's: NaN, which no weight of zero hides.
void disown_rows(Buffer& pool, const Size& s, std::int64_t pages) {
  const std::int64_t rows = pool.dims[1], row = pool.dims[2] * pool.dims[3];
  for (std::int64_t b = 0; b < s.b && pages > 0; ++b) {
    const std::int64_t last = s.b * pages - 1 - (b * pages + pages - 1);  // as integer() lays them out
    for (std::int64_t r = s.sk - (pages - 1) * rows; r < rows; ++r) {
      for (std::int64_t e = 0; e < row; ++e) pool.set((last * rows + r) * row + e, std::nan(""));
    }
  }
}

}  // namespace

LoadResult load_file(const std::string& file) {
  const std::string path = source_root() + "/" + file;
  std::ifstream in(path, std::ios::binary);
  LoadResult r = load_program(path, {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()}, import_beside(path));
  if (!r.program) throw std::runtime_error(render(r.diagnostics, *r.sources));
  return r;
}

Call made_up(const std::string& file, const std::string& kernel, const Constants& constants, const Size& size, bool with_optional) {
  const LoadResult loaded = load_file(file);
  Diagnostics problems;
  const auto k = instantiate_signature(*loaded.program, kernel, constants, problems);
  if (!k) throw std::runtime_error(render(problems, *loaded.sources));
  Call c{.file = file, .kernel = kernel, .constants = constants};
  c.symbols = symbols_of(*k, size);
  unsigned seed = 0;
  for (const ir::Param& p : k->params) {
    ++seed;
    if (!p.is_view) {
      c.scalars[p.name] = scalar(p.name);
      continue;
    }
    if (p.optional && p.mode != ir::Mode::Out && p.mode != ir::Mode::Scatter && !with_optional) continue;
    ir::Dims dims;
    for (const Sym& d : p.dims) {
      const auto e = d.eval([&](const std::string& n) -> std::optional<std::int64_t> {
        const auto at = c.symbols.find(n);
        return at == c.symbols.end() ? std::nullopt : std::optional(at->second);
      });
      if (!e) throw std::runtime_error("say in made_up.cpp how large `" + d.str() + "` is");
      dims.push_back(*e);
    }
    Buffer b(p.dtype, dims);
    if (p.mode == ir::Mode::Out || p.mode == ir::Mode::Scatter) {
      b = unwritten(p.dtype, dims);
    } else if (!is_float(p.dtype)) {
      for (std::int64_t i = 0; i < b.size(); ++i) b.set_int(i, integer(p.name, i, dims, size, c.symbols.at("P")));
    } else {
      b.fill_random(seed);
      // Probabilities, shares, temperatures and scales are positive.
      const bool positive = p.name == "probs" || p.name == "top_p" || p.name == "ratio" || p.name == "temperature" || p.name.ends_with("_scale");
      for (std::int64_t i = 0; positive && i < b.size(); ++i) b.set(i, 0.1 + 0.8 * std::fabs(b.get(i)));
    }
    if (p.name == "kpool" || p.name == "vpool") disown_rows(b, size, c.symbols.at("P"));
    c.tensors.emplace(p.name, std::move(b));
  }
  // Only symbols of this kernel.
  std::erase_if(c.symbols, [&](const auto& s) { return std::find(k->symbols.begin(), k->symbols.end(), s.first) == k->symbols.end(); });
  return c;
}

std::vector<Given> given_kernels(const std::vector<std::string>& folders) {
  std::vector<std::string> files;
  for (const std::string& folder : folders) {
    for (const auto& e : fs::recursive_directory_iterator(source_root() + "/" + folder)) {
      if (e.path().extension() == ".tile") files.push_back(fs::relative(e.path(), source_root()));
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<Given> out;
  for (const std::string& file : files) {
    const LoadResult loaded = load_file(file);
    for (const KernelInfo& k : kernels(*loaded.program)) {
      Given g{file, k.name, {}, false};
      bool skeleton = false;
      for (const ConstantInfo& c : k.constants) {
        if (c.has_default) continue;
        skeleton |= c.kind == "fn" || c.kind == "struct";
        if (c.kind == "int") g.constants[c.name] = std::int64_t{32};
        if (c.kind == "float" || c.kind == "half" || c.kind == "dtype") g.constants[c.name] = DType::F16;
      }
      if (skeleton) continue;
      Diagnostics problems;
      const std::vector<Constants> tuned = tune_candidates(*loaded.program, k.name, g.constants, problems);
      if (!tuned.empty()) g.constants.insert(tuned.front().begin(), tuned.front().end());
      for (const ParameterInfo& p : k.parameters) {
        g.has_optional_inputs |= p.type.ends_with("?") && !p.type.starts_with("out ") && !p.type.starts_with("scatter ");
      }
      out.push_back(std::move(g));
    }
  }
  return out;
}

}  // namespace tessera::test
