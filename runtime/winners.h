// Tuned constants as a text file that can be committed.
//
//   file  = { line } ;                     line = "" | "#" text | kernel target { key } ":" { choice } ;
//   key   = NAME "=" VALUE ;               choice = NAME "=" VALUE ;         words are separated by blanks
//
//   fwd cpu T=bf16 D=128 bucket(Sq)=1024 : BM=64 BN=128
//
// `kernel` may name a skeleton by its module, `std.attention.fwd`: the line then serves all instances of it that have no line of their own.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "frontend/frontend.h"

namespace tessera {

struct Winner {
  std::string kernel, target;
  std::map<std::string, std::string> keys;
  std::map<std::string, std::string> choices;
};

/// Throws Error (E0802) naming the line if the text is malformed. `name` stands in messages.
std::vector<Winner> parse_winners(const std::string& text, const std::string& name);
std::string print_winners(const std::vector<Winner>& winners);

/// Chooses the tune constants that `constants` leaves open: the candidate that a winner names, the winner with most keys equal to `known` first, a
/// winner with a key known to differ never; else the first candidate. Lines of the kernel itself come first, then those of its skeleton, then what
/// std has for the skeleton (dsl/std/*.winners), which does not serve instances that compute much. Constants that no candidate names stay open.
/// Nothing is chosen if there are errors.
Constants choose_tuned(const Program& program, const std::string& kernel, const std::string& target, const Constants& constants,
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
