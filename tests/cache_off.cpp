// Tests neither read nor fill the cache of whoever runs them; those of the cache name folders of their own.
#include <cstdlib>

namespace {
[[maybe_unused]] const int cache_off = ::setenv("TESSERA_CACHE", "off", 0);
}  // namespace
