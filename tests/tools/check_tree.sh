#!/usr/bin/env bash
# Rules of the source tree that no compiler checks. usage: check_tree.sh ROOT RULE
set -euo pipefail
cd "$1"

sources() {
  find dsl frontend codegen runtime kernels examples tests \
    \( -name '*.cpp' -o -name '*.h' -o -name '*.def' -o -name '*.tile' -o -name '*.cmake' -o -name '*.sh' -o -name 'CMakeLists.txt' \) -type f
}

found=0
report() { # stdin: lines that break the rule
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line"
    found=1
  done
}

# An include from a folder that the layers below must not know: dsl <- frontend, dsl <- codegen, all three <- runtime <- kernels <- examples.
forbid_includes() { # FOLDER REGEX
  [[ -d $1 ]] || return 0
  report < <(grep -rnE "^#include [\"<]($2)/" --include='*.h' --include='*.cpp' "$1" || true)
}

case $2 in
  lines) report < <(sources | xargs wc -l | awk '$2 != "total" && $1 > 800 {print $2 ": " $1 " lines, more than 800"}') ;;
  public_headers)
    report < <(grep -rnE '#include [<"](llvm|boost|fmt|CLI|dsl|frontend|codegen)' runtime/include || true)
    report < <(grep -rnE '\b(llvm|boost)::' runtime/include || true)
    ;;
  layers)
    forbid_includes dsl 'frontend|codegen|runtime|tessera|kernels'
    forbid_includes frontend 'codegen|runtime|tessera|kernels'
    forbid_includes codegen 'frontend|runtime|tessera|kernels'
    forbid_includes runtime 'kernels'
    forbid_includes examples 'dsl|frontend|codegen|runtime'
    ;;
  unfinished) report < <(sources | grep -v '^tests/tools/check_tree.sh$' | xargs grep -nE '\b(TODO|FIXME|XXX|HACK)\b' || true) ;;
  heavy_headers)
    # LLVM and X3 headers in a header of ours would be paid for by every file that includes it.
    report < <(grep -rnE '#include <(llvm|boost)/' --include='*.h' dsl frontend runtime/*.h || true)
    report < <(grep -rlE '#include <boost/spirit' --include='*.cpp' dsl frontend codegen runtime | tail -n +2 | sed 's/$/: a second file that includes X3/' || true)
    ;;
  codes)
    # The front end's tests plant the codes of the language; those of passes, launches and the command line are checked where they arise.
    for code in $(grep -oE '^TESSERA_DIAGNOSTIC\(E[0-9]+' dsl/diagnostics.def | grep -oE 'E[0-9]+'); do
      [[ -f tests/diagnostics/$code.txt ]] || grep -rqw --include='*_test.cpp' "$code" tests || report <<<"$code: no test"
      grep -rqE --include="*.cpp" --include="*.h" "Code::$code\b" dsl frontend codegen runtime || report <<<"$code: never reported"
    done
    ;;
  *)
    echo "check_tree.sh: unknown rule $2" >&2
    exit 2
    ;;
esac
exit "$found"
