#!/usr/bin/env bash
# Compares the shape of generated code with a file of FileCheck patterns. usage: golden.sh TESSERA FILECHECK FILE.check
#
# Line 1 of the file is `# COMMAND`, run in the repository; a line `# absent: A, B` names what must occur nowhere in its output. FileCheck reads the
# rest. Exit status 77: FileCheck (llvm-22-tools) is not installed.
set -euo pipefail
tessera=$1 filecheck=$2 check=$(realpath "$3")
command -v "$filecheck" >/dev/null || {
  echo "skipped: no FileCheck; ./dev setup installs llvm-22-tools"
  exit 77
}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
read -r -a words < <(sed -n '1s/^# tessera //p' "$check")
[[ ${#words[@]} -gt 0 ]] || {
  echo "golden.sh: the first line of $3 is no \`# tessera ..\`" >&2
  exit 2
}
absent=()
while IFS= read -r word; do absent+=("--implicit-check-not=$word"); done < <(sed -n 's/^# absent: //p' "$check" | sed 's/, */\n/g')
"$tessera" "${words[@]}" | "$filecheck" --dump-input=fail "${absent[@]}" "$check"
