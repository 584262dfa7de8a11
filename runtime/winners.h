// Tuned constants as a text file that can be committed.
//
//   file   = { line } ;                 line = "" | "#" text | kernel [ "@" HASH ] target { key } ":" { choice } ;
//   key    = NAME "=" VALUE ;           choice = NAME "=" VALUE ;         words are separated by blanks
//
//   fwd@3b0f5c62a91de774 cpu:znver4 T=bf16 D=128 bucket(Sq)=1024 : BM=64 BN=128
//
// `kernel` may name a skeleton by its module, `std.attention.fwd`: the line then serves all instances of it that have no line of their own. HASH is
// that of the kernel when it was measured (kernel_words): once the kernel is another one, the line is stale and does not count. `target` is `cpu`,
// `cpu:znver4` for a CPU of that name, which comes before `cpu`, or the architecture of a GPU.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "frontend/frontend.h"

namespace tessera {

struct Winner {
  std::string kernel, target, hash = {};
  std::map<std::string, std::string> keys;
  std::map<std::string, std::string> choices;
};

/// Throws Error (E0802) naming the line if the text is malformed. `name` stands in messages.
std::vector<Winner> parse_winners(const std::string& text, const std::string& name);
std::string print_winners(const std::vector<Winner>& winners);

/// A target as lines are filed under: `cpu` with the name of this CPU, others as they are.
std::string winners_target(const std::string& target);
/// The HASH of a kernel's lines for a target, whose schedules count; `skeleton`: of those lines that name its skeleton.
std::string winner_hash(const Program& program, const std::string& kernel, const std::string& target, bool skeleton = false);

/// Which constants, and why those.
struct Choice {
  /// How well the line's keys fit. Default: no line fits, and the first candidate is taken. None: there is nothing to choose.
  enum class How : std::uint8_t { Exact, NearestBucket, Default, None };
  Constants constants;  ///< all of them: the given ones and the chosen
  How how = How::None;
  std::string line;                ///< the winner's, as it would be written
  std::vector<std::string> stale;  ///< lines that would have been looked at, but are of an earlier form of the kernel
};
const char* name(Choice::How how);

/// Chooses the tune constants that `constants` leaves open: the candidate that a winner names, else the first candidate. A line fits if none of its
/// keys is known to differ: then the one with most keys known to be equal is chosen; where no line fits, the one whose `bucket(..)` are the nearest
/// by ratio, the others still equal. Lines of the kernel itself come first, then those of its skeleton, then what std has for the skeleton
/// (dsl/std/*.winners), which does not serve instances that compute much; of each, first those that name the CPU. Constants that no candidate names
/// stay open. Nothing is chosen if there are errors.
Choice choose_tuned(const Program& program, const std::string& kernel, const std::string& target, const Constants& constants,
                    const std::vector<Winner>& winners, const std::map<std::string, std::int64_t>& sizes, Diagnostics& diagnostics);

/// The keys of the kernel's `tune` whose values are known: what a winner chosen for such a launch is filed under.
std::map<std::string, std::string> winner_keys(const Program& program, const std::string& kernel, const Constants& constants,
                                               const std::map<std::string, std::int64_t>& sizes);

/// `text` with the winner in the place of the line of the same kernel, target and keys, or at the end; all other lines stay as they are. Throws as
/// parse_winners.
std::string with_winner(const std::string& text, const Winner& winner, const std::string& name);

/// A constant as `--const` writes it: integer, true or false, dtype, else a name.
Constant parse_constant(const std::string& text);

}  // namespace tessera
