#include <fmt/format.h>

#include "frontend/program.h"
#include "frontend/value.h"

namespace tessera {

bool is_float(const Elem& e) {
  if (e.opaque()) return e.generic_kind == ast::GenericKind::Half || e.generic_kind == ast::GenericKind::Float;
  return is_float(e.dtype);
}
bool is_integer(const Elem& e) {
  if (e.opaque()) return e.generic_kind == ast::GenericKind::IntType;
  return is_int(e.dtype);
}
bool is_idx(const Elem& e) { return !e.opaque() && e.dtype == DType::Idx; }
bool is_bool(const Elem& e) { return !e.opaque() && is_bool(e.dtype); }
bool storage_only(const Elem& e) { return !e.opaque() && storage_only(e.dtype); }

std::string display(const Sym& s) {
  std::string text = s.str(), out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '#') {  // the suffix that makes a compiler-made symbol unique
      while (i + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[i + 1]))) ++i;
      continue;
    }
    if (text[i] == '?') {  // an integer that is unknown while a generic body is checked
      while (i + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[i + 1]))) ++i;
      out += '_';
      continue;
    }
    out += text[i];
  }
  return out;
}

namespace {

std::string spelled(const std::vector<Sym>& dims) {
  std::string out = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) out += (i ? ", " : "") + display(dims[i]);
  return out + "]";
}

std::string spelled(const Elem& e, const std::vector<Sym>& dims) { return tessera::spelled(e) + (dims.empty() ? "" : spelled(dims)); }

}  // namespace

std::string describe_dims(const std::vector<Sym>& dims) { return fmt::format("`{}`", spelled(dims)); }

std::string spelled(const Elem& e) {
  if (e.nominal) return e.nominal->name;
  return e.opaque() ? e.generic : name(e.dtype);
}

std::string describe(const Elem& e) { return fmt::format("`{}`", spelled(e)); }

std::string spelled(const Ty& t) {
  return std::visit(
      [](const auto& x) -> std::string {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, TileTy>) {
          return spelled(x.elem, x.dims);
        } else if constexpr (std::is_same_v<T, ViewTy>) {
          return "view " + spelled(x.elem, x.dims);
        } else if constexpr (std::is_same_v<T, RangeTy>) {
          return fmt::format("range[{}]", display(x.axis));
        } else if constexpr (std::is_same_v<T, StructTy>) {
          return x.decl ? x.decl->name : x.generic;
        } else {
          return "a function";
        }
      },
      t.kind);
}

std::string describe(const Ty& t) { return std::get_if<FnTy>(&t.kind) ? spelled(t) : fmt::format("`{}`", spelled(t)); }

std::string describe(const Val& v) {
  return std::visit(
      [](const auto& x) -> std::string {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, Nothing>) {
          return "nothing";
        } else if constexpr (std::is_same_v<T, IntConst>) {
          return fmt::format("the integer constant {}", display(x.value));
        } else if constexpr (std::is_same_v<T, FloatConst>) {
          return fmt::format("the float constant {}", x.value);
        } else if constexpr (std::is_same_v<T, BoolConst>) {
          return x.value ? (*x.value ? "the constant true" : "the constant false") : "a bool constant";
        } else if constexpr (std::is_same_v<T, TileVal>) {
          return fmt::format("`{}`", spelled(x.elem, x.dims));
        } else if constexpr (std::is_same_v<T, ViewVal>) {
          return fmt::format("`view {}`", spelled(x.elem, x.dims));
        } else if constexpr (std::is_same_v<T, RangeVal>) {
          return x.axis ? fmt::format("a range over `{}`", display(*x.axis)) : "a range";
        } else if constexpr (std::is_same_v<T, TilesVal>) {
          return "tiles of a range";
        } else if constexpr (std::is_same_v<T, StructVal>) {
          return fmt::format("`{}`", x.type.decl ? x.type.decl->name : x.type.generic);
        } else if constexpr (std::is_same_v<T, FnVal>) {
          return x.name.empty() ? "a lambda" : fmt::format("the function `{}`", x.name);
        } else if constexpr (std::is_same_v<T, TypeVal>) {
          return fmt::format("the type {}", describe(x.type));
        } else if constexpr (std::is_same_v<T, ModuleVal>) {
          return "a module";
        } else if constexpr (std::is_same_v<T, TupleVal>) {
          return fmt::format("{} values", x.items.size());
        } else {
          return "a string";
        }
      },
      v.kind);
}

}  // namespace tessera
