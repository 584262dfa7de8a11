#!/usr/bin/env bash
# Measures the promises of tests/accept/NAME.rows, prints one table and writes it to tests/accept/NAME.md. usage: accept.sh NAME
#
# A line of the .rows file is `## TITLE`, a comment, or four fields split by ` | `:  LEVEL | PROMISE | MEASURE | BOUND
#   LEVEL    must, goal or report
#   MEASURE  tests REGEX     the tests of build/dev whose names match; measured = how many passed
#            bench KEY       a figure of the one bench run, by its key
#            command TEXT    run by bash in the repository; the last line of its output is the figure, or `skip REASON`
#            device KEY      a figure that a machine with a GPU has measured: a line `KEY, tab, FIGURE` of tests/accept/NAME.device.tsv (else gpu.device.tsv), which is what
#                            gpu-accept of `./dev bundle` writes there
#            none REASON     nothing measures it yet
#   BOUND    `>= X`, `<= X`, `= X`, or `-` (tests: all must pass; report: no bound)
# A must that falls short, or that nothing measures, makes the exit status 1. A skipped row says why.
set -uo pipefail
cd "$(dirname "$0")/../.."
name=$1
rows=tests/accept/$name.rows
table=tests/accept/$name.md
device=tests/accept/$name.device.tsv
[[ -f $device ]] || device=tests/accept/gpu.device.tsv # one machine's figures serve several tables
work=build/accept
mkdir -p "$work"

echo "running the tests"
ctest --test-dir build/dev -j"$(nproc)" --output-junit "$PWD/$work/tests.xml" >"$work/tests.log" 2>&1
# One line a test: name, tab, status (run, fail, notrun = skipped, disabled).
sed -n 's/.*<testcase name="\([^"]*\)".* status="\([^"]*\)".*/\1\t\2/p' "$work/tests.xml" >"$work/tests.tsv"

if grep -q '| bench ' "$rows"; then
  echo "running the benches"
  # Lines of the form KEY, tab, FIGURE or `skip REASON`.
  bash tests/bench/run.sh build/release --accept >"$work/bench.tsv" 2>"$work/bench.log" || echo "the bench run failed: $work/bench.log"
fi

measure_tests() { # REGEX -> measured, verdict
  local matched passed skipped failed
  matched=$(grep -cE "$1" <(cut -f1 "$work/tests.tsv"))
  passed=$(awk -F'\t' -v re="$1" '$1 ~ re && $2 == "run"' "$work/tests.tsv" | wc -l)
  skipped=$(awk -F'\t' -v re="$1" '$1 ~ re && ($2 == "notrun" || $2 == "disabled")' "$work/tests.tsv" | wc -l)
  failed=$((matched - passed - skipped))
  measured="$passed of $matched tests"
  if [[ $matched -eq 0 ]]; then
    verdict=short why="no such test"
  elif [[ $failed -gt 0 ]]; then
    verdict=short why=$(awk -F'\t' -v re="$1" '$1 ~ re && $2 == "fail" {print $1}' "$work/tests.tsv" | head -3 | xargs)
  elif [[ $passed -eq 0 ]]; then
    verdict=skipped why="all of them were skipped on this machine"
  else
    verdict=pass
    [[ $skipped -eq 0 ]] || why="$skipped skipped"
  fi
}

holds() { # FIGURE BOUND
  local op=${2%% *} limit=${2#* }
  case $op in
    '>=' | '<=') awk -v a="$1" -v b="$limit" -v op="$op" 'BEGIN { exit !(a ~ /^[-+.0-9eE]+$/ && (op == ">=" ? a + 0 >= b + 0 : a + 0 <= b + 0)) }' ;;
    '=') [[ $1 == "$limit" ]] ;;
    *) return 0 ;;
  esac
}

judge() { # FIGURE
  if [[ $1 == skip* ]]; then
    verdict=skipped measured=n/a why=${1#skip}
    why=${why# }
  elif [[ $1 == failed* ]]; then
    verdict=short measured=failed why=${1#failed}
    why=${why#: }
  elif [[ -z $1 ]]; then
    verdict=short measured=- why="the measurement printed nothing"
  else
    measured=$1
    if holds "$1" "$bound"; then verdict=pass; else verdict=short; fi
  fi
}

{
  echo "# Acceptance: $name"
  echo
  echo "Written by \`./dev accept $name\` on $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores. A must that is short fails the command; a goal does not."
  [[ ! -f $device ]] || sed -n 's/^# */Measured on: /p' "$device" | sed 's/^/\n/'
} >"$work/table.md"

shorts=0
while IFS= read -r line; do
  case $line in
    '' | '#'[^#]*) continue ;;
    '## '*)
      printf '\n%s\n\n| level | promise | measured | bound | verdict |\n|---|---|---|---|---|\n' "$line" >>"$work/table.md"
      printf '\n%s\n' "$line"
      continue
      ;;
  esac
  IFS=$'\x01' read -r level promise measure bound <<<"${line// | /$'\x01'}"
  verdict='' why='' measured=''
  case $measure in
    'tests '*) measure_tests "${measure#tests }" ;;
    'bench '*)
      figure=$(awk -F'\t' -v key="${measure#bench }" '$1 == key {print $2}' "$work/bench.tsv" | tail -1)
      judge "$figure"
      [[ -n $figure ]] || why="the bench run has no figure of this name"
      ;;
    'command '*) judge "$(bash -c "${measure#command }" 2>>"$work/commands.log" | tail -1)" ;;
    'device '*)
      figure=$(awk -F'\t' -v key="${measure#device }" '$1 == key {print $2}' "$device" 2>/dev/null | tail -1)
      judge "${figure:-skip no GPU has measured it: run gpu-accept of ./dev bundle on one and keep what it writes in $device}"
      ;;
    'none '*) verdict=short measured=- why=${measure#none } ;;
    *)
      echo "accept.sh: cannot read the line: $line" >&2
      exit 2
      ;;
  esac
  [[ $level != report || $verdict != pass ]] || verdict=reported
  if [[ $level == must && $verdict == short ]]; then shorts=$((shorts + 1)); fi
  printf '| %s | %s | %s | %s | %s%s |\n' "$level" "$promise" "$measured" "$bound" "$verdict" "${why:+: $why}" >>"$work/table.md"
  printf '  %-8s %-6s %-100s %s (bound %s)%s\n' "$verdict" "$level" "$promise" "$measured" "$bound" "${why:+: $why}"
done <"$rows"

printf '\n%d musts fall short.\n' "$shorts" | tee -a "$work/table.md"
cp "$work/table.md" "$table"
echo "table: $table"
[[ $shorts -eq 0 ]]
