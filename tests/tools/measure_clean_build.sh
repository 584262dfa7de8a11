#!/usr/bin/env bash
# Prints the minutes from a clean clone to the end of ./dev test, without what the compiler cache holds. Takes that long, so it runs only when asked.
set -euo pipefail
[[ ${TESSERA_ACCEPT_SLOW:-} ]] || {
  echo "skip set TESSERA_ACCEPT_SLOW=1 to measure it, it takes half an hour"
  exit
}
cd "$(dirname "$0")/../.."
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet . "$clone/tessera"
start=$EPOCHREALTIME
CCACHE_DIR=$clone/ccache "$clone/tessera/dev" test >"$clone/log" 2>&1 || {
  tail -50 "$clone/log" >&2
  echo failed
  exit
}
awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", (b - a) / 60 }'
