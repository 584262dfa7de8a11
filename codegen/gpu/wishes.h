// What a schedule asks of a kernel on a GPU, read and checked once. Everything else is the compiler's own choice (plan.h).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dsl/schedule.h"

namespace tessera::gpu {

/// Thrown for what this target cannot do, at the place that asks for it; becomes E0804.
struct Unsupported {
  Span span;
  std::string what;
};

/// Refuses a directive at its place: "its schedule says `DIRECTIVE`, but WHY".
[[noreturn]] void refuse(Span span, std::string_view directive, std::string_view why);

/// A number and the directive that asks for it.
struct Wish {
  std::int64_t number = 0;
  Span span;
};

/// Which lines of the second-level cache make room for others: those of these loads and stores before others, or after them.
enum class Eviction : std::uint8_t { First, Last };
struct CacheWish {
  std::string name;  ///< of what is loaded, or of a view
  Eviction eviction{};
  Span span;
};

/// Where an operand of products lies: in the registers of those who multiply, or in shared memory.
struct HomeWish {
  bool registers = false;
  Span span;
};
/// The axis of a product's result that the computing warpgroups divide.
struct DivideWish {
  std::size_t axis = 0;
  Span span;
};

/// How CTAs come by instances, of kernels with roles.
enum class Persistence : std::uint8_t {
  Off,      ///< one each
  Static,   ///< CTA c of n those with numbers c, c + n, ..
  Dynamic,  ///< the first by their number, others by tickets
};

struct Wishes {
  bool asks = true;                       ///< a warpgroup may ask for tiles
  std::optional<Wish> groups;             ///< warpgroups that compute
  std::optional<Wish> asking, computing;  ///< registers of a thread
  std::map<std::string, Wish> slots;      ///< of rings, by what is loaded
  struct Cluster {
    std::string axis;
    Wish size;
  };
  std::optional<Cluster> cluster;             ///< a grid axis and how many CTAs along it share tiles: 1 or 2
  std::map<std::string, Span> multicast;      ///< tiles that the CTAs of a cluster share, by what is loaded; none: all that they can
  std::set<std::string> in_step;              ///< sums whose products must not run behind
  std::set<std::string> direct_stores;        ///< views that bulk copies must not store
  std::map<std::string, HomeWish> homes;      ///< by operand
  std::map<std::string, DivideWish> divides;  ///< by result
  std::map<std::string, Wish> unrolls;        ///< by the variable of a loop
  std::vector<CacheWish> cache;               ///< in the order of their directives
  bool turns = true;                          ///< warpgroups that compute may take turns at products
  Persistence persistence = Persistence::Dynamic;
  bool row_major = false;       ///< instances in the order of their numbers, though work grows along an axis
  std::int64_t group_rows = 0;  ///< the first two grid axes are visited in groups of so many of the second; 0: not
};

/// Later directives stand above earlier ones. Throws Unsupported for numbers that no kernel can be made by.
Wishes wishes_of(const Schedule& schedule);

}  // namespace tessera::gpu
