#!/usr/bin/env bash
# A misuse of the typed API must not compile, and for the stated reason. FILE compiles as it is; with -DMISUSE it must fail with a message that
# matches the extended regular expression of its `// expect: REGEX` line. usage: compile_fail.sh COMPILER INCLUDE_FOLDER FILE
set -euo pipefail
compile=("$1" -std=c++20 -fsyntax-only -Wall -I "$2" "$3")
expect=$(sed -n 's,^// expect: ,,p' "$3" | head -1)
[[ -n $expect ]] || {
  echo "$3 has no '// expect: REGEX' line"
  exit 1
}
"${compile[@]}" || {
  echo "$3 does not compile even without MISUSE"
  exit 1
}
if output=$("${compile[@]}" -DMISUSE 2>&1); then
  echo "$3 compiles with MISUSE, but it must not"
  exit 1
fi
grep -qE "$expect" <<<"$output" || {
  printf 'the error does not match: %s\n%s\n' "$expect" "$output"
  exit 1
}
