#!/usr/bin/env bash
# The demo: one layer's attention through the command, then through a C++ program. usage: demo.sh BUILD_FOLDER [quick]
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")/../.."
out=$build/demo
mkdir -p "$out"
kernel=examples/ladder/05_attention.tile
printf '\n\033[1m== tessera run %s\033[0m\n' "$kernel"
"$build/bin/tessera" run "$kernel" --kernel attention --const T=f16 --const D=32 \
  --in examples/data/minilm_layer.safetensors --arg scale=0.176776695 --out "$out/attention.safetensors" --time
printf '\n\033[1m== the same from C++, against float64\033[0m\n'
"$build/bin/demo_attention" . "$out" "${@:2}"
