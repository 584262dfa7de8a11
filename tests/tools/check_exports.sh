#!/usr/bin/env bash
# The shared library must define tessera:: symbols and no other. usage: check_exports.sh LIBRARY
set -euo pipefail
symbols=$(nm --dynamic --defined-only --format=posix "$1" | cut -d' ' -f1 | c++filt)
mine=$(grep -cE '^((typeinfo|typeinfo name|vtable|VTT|guard variable) for )?tessera::' <<<"$symbols" || true)
others=$(grep -vE '^((typeinfo|typeinfo name|vtable|VTT|guard variable) for )?tessera::' <<<"$symbols" || true)
if [[ -n $others ]]; then
  printf 'not of tessera:: but exported: %s\n' "$(head -20 <<<"$others")"
  exit 1
fi
if [[ $mine -eq 0 ]]; then
  echo "no tessera:: symbol is exported: the check looks at the wrong file, or the library is empty"
  exit 1
fi
echo "$mine exported symbols, all of tessera::"
# LLVM must be inside, not loaded from the system.
if readelf -d "$1" | grep -E 'NEEDED.*(LLVM|boost|fmt|z3)'; then
  echo "these libraries should be linked statically or not at all"
  exit 1
fi
