#!/usr/bin/env bash
# Prints the seconds that building everything takes after one source file changed. usage: measure_rebuild.sh FILE
set -euo pipefail
cd "$(dirname "$0")/../.."
cmake --build build/dev >/dev/null
touch "$1"
start=$EPOCHREALTIME
CCACHE_DISABLE=1 cmake --build build/dev >/dev/null
awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", b - a }'
