// Bundles on a GPU: what was compiled ahead of time gives the bits of what is compiled now, by machine code where a ptxas was at hand.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "runtime/bundle.h"
#include "runtime/cuda_device.h"
#include "runtime/files.h"
#include "tessera/bundle.h"
#include "tests/kernels/harness_cpu.h"
#include "tests/kernels/made_up.h"

namespace tessera::test {
namespace {

TEST(Bundled, GivesTheBitsOfItsSources) {
  const std::string target = compiled_target();
  if (!target.starts_with("cuda")) GTEST_SKIP() << "needs a GPU";
  const Context gpu = Context::cuda(target.starts_with("cuda:") ? std::atoi(target.c_str() + 5) : 0);
  const DType h = DType::BF16;
  const Size size{.b = 2, .h = 2, .sq = 200, .sk = 300, .m = 200, .n = 520, .k = 264};
  const std::string path = std::filesystem::temp_directory_path() / fmt::format("tessera_bundle_test_{}", ::getpid());
  for (Call call : {made_up("kernels/gemm/gemm.tile", "gemm", {{"T", h}, {"BM", 128}, {"BN", 128}, {"BK", 64}}, size, false),
                    made_up("kernels/attention/flash.tile", "flash_causal", {{"T", h}, {"D", 128}, {"BM", 128}, {"BN", 128}}, size, false),
                    made_up("kernels/attention/fp8.tile", "flash8", {{"O", h}, {"D", 128}, {"BM", 128}, {"BN", 128}}, size, false)}) {
    SCOPED_TRACE(call.kernel);
    const std::string file = source_root() + "/" + call.file;
    Options options{.context = gpu};
    const Module module = load(file, Cache::off());
    options.absent = absent_views(module, call);
    const Consts constants = consts_of(call.constants);
    const cache::BundleFile made = make_bundle({{file, call.kernel, constants, "", {}, {options.absent}}}, gpu.gpu()->target().name());
    for (const cache::Entry& e : made.entries) {
      if (e.kind == cache::Kind::Kernel)
        std::cout << fmt::format("{}: {}\n", call.kernel, e.find("cubn") ? "machine code" : "text, since there is no ptxas");
    }
    write_file(path, cache::encode(made));
    std::map<std::string, Buffer> tensors = call.tensors;
    launch_on_gpu(load_bundle(path).kernel(call.kernel, constants, options), gpu, call.scalars, tensors);
    std::filesystem::remove(path);
    launch_on_gpu(module.kernel(call.kernel, constants, options), gpu, call.scalars, call.tensors);
    for (const auto& [n, b] : call.tensors) expect_same(tensors.at(n), b, n);
  }
}

}  // namespace
}  // namespace tessera::test
