// Counts what the test program allocates with operator new.
#pragma once

namespace tessera::testing {
/// So far, by all threads.
long allocations();
}  // namespace tessera::testing
