#include "tessera/context.h"

#include <fmt/format.h>

#include "runtime/cpu_pool.h"
#include "runtime/errors.h"

namespace tessera {

Context Context::cpu(int threads) {
  return guarded([&] {
    if (threads < 0 || threads > 1024) fail(Code::E0802, fmt::format("a context cannot have {} threads", threads));
    return Context(std::make_shared<detail::CpuPool>(threads == 0 ? detail::available_processors() : threads));
  });
}

Context Context::best() { return cpu(); }

int Context::threads() const noexcept { return pool_->threads(); }

std::string Context::description() const { return fmt::format("cpu, {} thread{}", threads(), threads() == 1 ? "" : "s"); }

}  // namespace tessera
