// The kernel of row_scale.tile through its generated header: the program needs no file at run time.
#include <cstdio>
#include <vector>

#include "row_scale.tile.h"

int main() try {
  constexpr std::int64_t rows = 37, columns = 40;
  std::vector<float> x(rows * columns, 3.f), y(rows * columns);
  const row_scale::scale scale(row_scale::load(), {.N = columns});
  scale(tessera::Context::cpu(1),
        {.x = tessera::View<const float, 2>(x, {rows, columns}), .y = tessera::View<float, 2>(y, {rows, columns}), .a = 2.f});
  for (const float e : y) {
    if (e != 6.f) {
      std::printf("%g, not 6\n", e);
      return 1;
    }
  }
  std::puts("right");
  return 0;
} catch (const tessera::Error& error) {
  std::puts(error.what());
  return 1;
}
