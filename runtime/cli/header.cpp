// tessera header FILE: a typed C++ header with the source embedded.
#include "runtime/header.h"

#include "runtime/cli/commands.h"
#include "runtime/files.h"

namespace tessera::cli {

void add_header(CLI::App& app, Action& action) {
  struct HeaderOptions {
    std::string file, out = "-";
  };
  CLI::App* sub = app.add_subcommand("header", "make a typed C++ header of a .tile file");
  auto o = std::make_shared<HeaderOptions>();
  sub->add_option("FILE", o->file, "source file")->required();
  sub->add_option("-o", o->out, "file to write; `-` is stdout")->capture_default_str();
  sub->callback([&action, o] { action = [o](Report& r) { emit(r, o->out, typed_header(o->file, read_file(o->file, 64 << 20))); }; });
}

}  // namespace tessera::cli
