// The C++ types of kernel parameters, resolved over syntax trees. Used by header.cpp only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dsl/source.h"
#include "frontend/ast.h"
#include "frontend/frontend.h"

namespace tessera::header {

/// A parsed file and what its import names mean.
struct SourceModule {
  std::string path;  ///< dotted; empty for the root
  std::string name, text;
  ast::File ast;
  std::map<std::string, const SourceModule*> imports;  ///< by the name in this file
};

/// All files of a program, parsed again. Precondition: they check.
class Sources {
 public:
  Sources(const std::string& name, const std::string& text);
  const SourceModule& root() const { return *modules_.at(""); }
  const std::map<std::string, std::unique_ptr<SourceModule>>& modules() const { return modules_; }

 private:
  SourceModule& add(const std::string& path, const std::string& name, const std::string& text);
  SourceMap map_;
  ImportResolver resolve_;
  std::map<std::string, std::unique_ptr<SourceModule>> modules_;
};

/// What a type name stands for where it is used.
struct Meaning {
  std::string cpp;  ///< C++ type, or a template parameter; empty if a struct
  const ast::Struct* record = nullptr;
  const SourceModule* module = nullptr;  ///< of the struct
  std::string nominal;                   ///< name of the nominal type that `cpp` is an alias of
  std::string base;                      ///< C++ type under it
};
using Scope = std::map<std::string, Meaning>;  ///< generics in force

/// One flattened parameter.
struct CppParameter {
  std::string name;     ///< as in the kernel: "x.slopes"
  std::string field;    ///< as in C++: "x_slopes"
  std::string type;     ///< "tessera::In<T, 4>", "std::optional<..>", "float"
  std::string written;  ///< as in the source
};

struct CppKernel {
  std::vector<std::string> type_parameters;  ///< element types left open, in order of declaration
  std::vector<CppParameter> parameters;
  std::map<std::string, std::string> nominals;  ///< name -> C++ base type
  std::string open;                             ///< why the parameters are not known; empty if they are
};

/// The kernel called `name` in the root. Precondition: it exists.
CppKernel resolve(const Sources& sources, const std::string& name);

}  // namespace tessera::header
