// `tessera header FILE`: a C++ header with the source embedded and, for every kernel, its arguments and constants as types.
//
//   namespace attention {
//   inline tessera::Module load();
//   template <class T> struct fwd { struct Args; struct Consts; explicit fwd(const tessera::Module&, const Consts& = {}, ..); void operator()(ctx,
//   Args) const; };
//   }
//
// Views become In<T, rank> and so on; a compile-time element type becomes a template parameter, all else a field of Consts (std::optional where
// the kernel has a default or tunes it). Struct parameters give one field a member, `x_slopes`. A kernel that takes a struct yet to be chosen has no
// fixed parameters; it gets a factory for untyped launches.
#pragma once

#include <string>

namespace tessera {

/// The header's text; it depends on the sources alone. `name` is the file's path, `text` its contents. Throws Error if the file does not check.
std::string typed_header(const std::string& name, const std::string& text);

/// A C++ identifier like `text`: `05_attention` -> `tile_05_attention`; reserved words get an underscore.
std::string identifier(const std::string& text);

}  // namespace tessera
