#!/usr/bin/env bash
# Milliseconds from the text of the attention kernel to its PTX for sm_80, the best of five, by the release build's command.
set -euo pipefail
export TESSERA_CACHE=off
tessera=${1:-build/release/bin/tessera}
for _ in 1 2 3 4 5; do
  "$tessera" explain-kernel kernels/attention/flash.tile --kernel flash_causal --const T=bf16 D=128 BM=128 BN=64 --without lse,sink --target sm_80 \
    --time-passes 2>&1 |
    awk '/^(parse and check|lower) / {sum += $(NF - 1)} /^time / {sum += $3 + $7 + $10} END {printf "%.1f\n", sum}'
done | sort -n | head -1
