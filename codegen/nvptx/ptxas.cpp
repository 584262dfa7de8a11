#include <fmt/format.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/Program.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdlib>

#include "codegen/nvptx/ptx.h"
#include "codegen/nvptx/tools.h"

namespace tessera {
namespace nvptx {
namespace {

std::string temporary_file(const std::string& suffix) {
  llvm::SmallString<128> path;
  return llvm::sys::fs::createTemporaryFile("tessera", suffix, path) ? "" : std::string(path.str());
}

std::string contents(const std::string& path) {
  const auto buffer = llvm::MemoryBuffer::getFile(path);
  return buffer ? (*buffer)->getBuffer().str() : "";
}

}  // namespace

std::string find_tool(const std::string& name) {
  if (const auto at = llvm::sys::findProgramByName(name)) return *at;
  std::vector<std::string> folders;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* folder = std::getenv(variable)) folders.push_back(std::string(folder) + "/bin");
  }
  folders.emplace_back("/usr/local/cuda/bin");
  for (const std::string& f : folders) {
    if (const auto at = llvm::sys::findProgramByName(name, {f})) return *at;
  }
  return "";
}

int run_tool(const std::vector<std::string>& words, std::string& output) {
  const TemporaryFile log("log");
  const std::vector<llvm::StringRef> args(words.begin(), words.end());
  std::string error;
  // With a limit of time LLVM would set the process's alarm, which may be the host program's, and whose other thread does the same.
  const int rc = llvm::sys::ExecuteAndWait(words[0], args, std::nullopt, {llvm::StringRef(""), log.path, log.path}, 0, 0, &error);
  output = contents(log.path) + error;
  return rc;
}

std::string ptxas_release() {
  const std::string ptxas = find_tool("ptxas");
  std::string text;
  if (ptxas.empty() || run_tool({ptxas, "--version"}, text) != 0) return "";
  return llvm::StringRef(text).split("release ").second.split(',').first.str();
}

TemporaryFile::TemporaryFile(const std::string& suffix) : path(temporary_file(suffix)) {}
TemporaryFile::~TemporaryFile() {
  if (!path.empty()) llvm::sys::fs::remove(path);
}

}  // namespace nvptx

namespace {

/// The number before `unit` in `line`; 0 if there is none.
std::int64_t before(llvm::StringRef line, llvm::StringRef unit) {
  const std::size_t at = line.find(unit);
  if (at == llvm::StringRef::npos) return 0;
  llvm::StringRef head = line.take_front(at).rtrim();
  const std::size_t digits = head.find_last_not_of("0123456789");
  std::int64_t n = 0;
  head.drop_front(digits == llvm::StringRef::npos ? 0 : digits + 1).getAsInteger(10, n);
  return n;
}

void read_report(PtxasReport& out) {
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(out.log).split(lines, '\n');
  for (llvm::StringRef line : lines) {
    out.registers = std::max(out.registers, static_cast<int>(before(line, " registers")));
    out.stack_bytes = std::max(out.stack_bytes, before(line, " bytes stack frame"));
    out.spill_store_bytes = std::max(out.spill_store_bytes, before(line, " bytes spill stores"));
    out.spill_load_bytes = std::max(out.spill_load_bytes, before(line, " bytes spill loads"));
    // Performance advisories have numbers C75xx: serialised products, ignored register directives.
    if (line.contains("C75")) out.warnings.push_back(line.trim().str());
  }
}

}  // namespace

PtxasReport run_ptxas(const GpuObject& object) { return nvptx::assemble(object, ""); }

std::string machine_code(const GpuObject& object) {
  const nvptx::TemporaryFile cubin("cubin");
  return nvptx::assemble(object, cubin.path).ok ? nvptx::contents(cubin.path) : "";
}

PtxasReport nvptx::assemble(const GpuObject& object, const std::string& cubin) {
  PtxasReport out;
  const std::string ptxas = find_tool("ptxas");
  if (ptxas.empty()) return out;
  const TemporaryFile ptx("ptx");
  std::error_code error;
  llvm::raw_fd_ostream file(ptx.path, error);
  if (error) return out;
  file << object.ptx;
  file.close();
  out.found = true;
  const TemporaryFile unused("cubin");
  const std::string target = object.target.name();
  std::vector<std::string> words = {ptxas, "-v", "-arch=" + target, ptx.path, "-o", cubin.empty() ? unused.path : cubin};
  if (object.assembler_level > 0) words.push_back(fmt::format("-O{}", object.assembler_level));
  out.ok = run_tool(words, out.log) == 0;
  read_report(out);
  return out;
}

}  // namespace tessera
