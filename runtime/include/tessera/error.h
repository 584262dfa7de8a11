// What a failing call throws. Nothing else leaves the library.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "tessera/export.h"

namespace tessera {

/// A place in a .tile file. `line` and `column` count from 1; 0 means that no place is known (the fault lies in the host's arguments alone).
struct Place {
  std::string file;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

/// A secondary place: where a symbol was bound, where a kernel was called from.
struct Note {
  Place place;
  std::string text;
};

/// One thing that is wrong.
struct Problem {
  std::string code;     ///< "E0704", explained by `tessera explain E0704`; "machine" or "internal" for the kinds that have no table
  std::string message;  ///< one sentence, lower case, identifiers in backticks
  Place place;
  std::vector<Note> notes;
  std::string help;  ///< one way out, or empty
};

/// The only exception that the public functions throw. Copies share their contents and do not throw. Thread safety: immutable.
class TESSERA_API Error : public std::exception {
 public:
  enum class Kind : std::uint8_t {
    User,      ///< the source, the constants or the arguments are wrong; `problems()` says where
    Machine,   ///< a file could not be read or written, memory ran out, a device is missing
    Internal,  ///< a fault of Tessera; the message names a file that reproduces it, where one could be written
  };

  /// Precondition: `problems` is not empty. `rendered` is the text for people, with source lines and carets; `json` the same as a JSON array.
  Error(Kind kind, std::vector<Problem> problems, std::string rendered, std::string json);

  Kind kind() const noexcept;
  /// Of the first problem.
  const std::string& code() const noexcept;
  const std::string& message() const noexcept;
  const Place& place() const noexcept;
  /// All of them: a load reports up to 20 at once, everything else one.
  const std::vector<Problem>& problems() const noexcept;
  const std::string& rendered() const noexcept;
  const std::string& json() const noexcept;
  /// rendered()
  const char* what() const noexcept override;

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

}  // namespace tessera
