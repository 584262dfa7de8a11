#!/usr/bin/env bash
# The share of the shipped kernels' GPU code that the launches of kernels.SimtSites reach on the simulator.
set -euo pipefail
build/dev/tests/test_kernels --gtest_filter='*SimtSites*' | awk '/^all: / {ran += $2; all += $4} END {if (all) printf "%.3f\n", ran / all; else print "failed: nothing ran"}'
