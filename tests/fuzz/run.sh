#!/usr/bin/env bash
# Runs every fuzzer of a build folder for a time, from the repository's own .tile files on. A find ends it with exit status 1 and leaves its input in
# BUILD_FOLDER/finds. usage: run.sh BUILD_FOLDER SECONDS
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(realpath "$1")
mkdir -p "$build/seeds" "$build/finds"
# One folder of seeds; equal base names must not overwrite each other.
find "$root"/{dsl,kernels,examples,tests} -name '*.tile' | while IFS= read -r file; do cp "$file" "$build/seeds/$(tr / _ <<<"${file#"$root"/}")"; done
{
  # Every word and sign of the language, as the lexer's table has them.
  grep -oE '"[^"]+"' "$root/frontend/tokens.def" | sort -u
  printf '"%s"\n' f32 f16 bf16 i32 idx bool e4m3 ' = ' '[:, :]' 'tiles(' 'over (' '.T' '@'
} | sed '/\\/d' | sort -u >"$build/words.dict"
for fuzzer in "$build"/tests/fuzz/fuzz_*; do
  [[ -x $fuzzer && -f $fuzzer ]] || continue
  name=$(basename "$fuzzer")
  mkdir -p "$build/corpus/$name"
  printf '\n== %s, %s s\n' "$name" "$2"
  "$fuzzer" -max_total_time="$2" -max_len=4096 -timeout=20 -rss_limit_mb=4000 -print_final_stats=1 -dict="$build/words.dict" \
    -artifact_prefix="$build/finds/$name-" "$build/corpus/$name" "$build/seeds" 2>"$build/$name.log" || {
    tail -40 "$build/$name.log"
    exit 1
  }
  grep -E '^stat::number_of_executed_units|^stat::average_exec' "$build/$name.log"
done
