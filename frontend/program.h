// Parsed files with their items looked up by name. Built once by modules.cpp; immutable afterwards.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "frontend/ast.h"
#include "frontend/frontend.h"
#include "frontend/value.h"

namespace tessera {

struct NewTypeDecl {
  const ast::NewType* ast = nullptr;
  LoadedModule* module = nullptr;
  std::string name;
};
struct StructDecl {
  const ast::Struct* ast = nullptr;
  LoadedModule* module = nullptr;
  std::string name;
};

/// A kernel, possibly an instance `kernel a = b[X: ..]` of another: then `args` are bound in this module.
struct KernelDecl {
  std::string name;
  const ast::Kernel* ast = nullptr;                                             ///< the body that runs
  LoadedModule* body_module = nullptr;                                          ///< where that body was written
  std::vector<std::pair<const ast::KernelInstance*, LoadedModule*>> instances;  ///< outermost first
  const ast::Tune* tune = nullptr;
  LoadedModule* tune_module = nullptr;
  std::vector<std::pair<const ast::Schedule*, LoadedModule*>> schedules;
  Span span;
};

struct LoadedModule {
  std::string path;  ///< dotted import path; "" for the root file
  FileId file = 0;
  ast::File ast;
  bool whole = true;                             ///< without errors of syntax: no name is missing because of one
  std::map<std::string, LoadedModule*> imports;  ///< by local name
  std::map<std::string, const ast::Const*> constants;
  std::map<std::string, std::unique_ptr<NewTypeDecl>> newtypes;
  std::map<std::string, std::unique_ptr<StructDecl>> structs;
  std::map<std::string, const ast::Fn*> fns;
  std::map<std::string, std::unique_ptr<KernelDecl>> kernels;
  std::map<std::string, Span> defined;  ///< every top-level name
  std::set<std::string> failed;         ///< top-level names in which errors were found
  std::shared_ptr<Scope> scope;         ///< the module scope that fns and lambdas see
};

class Program {
 public:
  std::shared_ptr<SourceMap> sources = std::make_shared<SourceMap>();
  std::vector<std::unique_ptr<LoadedModule>> modules;  ///< the root first
  LoadedModule& root() const { return *modules.front(); }
  const KernelDecl* kernel(const std::string& name) const;
  /// Schedules of functions, which hold for every kernel that calls them.
  std::map<const ast::Fn*, std::vector<const ast::Schedule*>> fn_schedules;
};

/// Parses the root and everything it imports, fills the tables, resolves kernel instances, tune and schedule targets.
/// Reports E01xx, E0402, E0403, E0404 and unknown targets.
std::shared_ptr<Program> load_modules(std::string name, std::string text, const ImportResolver& resolve, Diagnostics& diagnostics);

/// Resolves a path of an item ("att.fwd") as seen from `module`: the module that defines it and the last name. Null module if an import is unknown.
std::pair<LoadedModule*, std::string> resolve_path(LoadedModule& module, const ast::Path& path);

}  // namespace tessera
