#!/usr/bin/env bash
# Prints the median number of lines of the library's source files.
set -euo pipefail
cd "$(dirname "$0")/../.."
find dsl frontend codegen runtime kernels \( -name '*.cpp' -o -name '*.h' \) -exec wc -l {} + | awk '$2 != "total" {print $1}' | sort -n |
  awk '{line[NR] = $1} END {print line[int((NR + 1) / 2)]}'
