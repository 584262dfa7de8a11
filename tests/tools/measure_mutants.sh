#!/usr/bin/env bash
# The whole mutation suite of the simulated GPU. usage: measure_mutants.sh executed | raw | argued [hopper]
#   executed  how many mutants of the sample ran; raw: the share of them that was caught; argued: of those that are not argued equivalent
#   hopper    of the kernels for sm_90a alone, more of each
# The first call runs the suite, the others read its log.
set -euo pipefail
set=${2:-all}
log=build/accept/mutants-$set.log
mkdir -p build/accept
program=build/dev/tests/test_kernels
if [[ ! -f $log || $program -nt $log ]]; then
  filter='*SimtMutation*' number=100
  [[ $set != hopper ]] || filter='*SimtMutation*sm_90a*' number=135
  TESSERA_MUTANTS=$number "$program" --gtest_filter="$filter" >"$log" 2>&1 || true
fi
awk -v what="$1" '
  / on sm_[0-9a]*: [0-9]+ caught/ {
    for (i = 2; i <= NF; ++i) {
      if ($i ~ /^caught/) caught += $(i - 1)
      if ($i ~ /^survived/) survived += $(i - 1)
      if ($i ~ /^equivalent/) equivalent += $(i - 1)
    }
  }
  END {
    all = caught + survived + equivalent
    if (!all) print "failed: no mutant ran"
    else if (what == "executed") print all
    else printf "%.3f\n", caught / (what == "raw" ? all : all - equivalent)
  }' "$log"
