#!/usr/bin/env bash
# Runs a link command with the static libraries that lie beside the shared ones it names. usage: link_static.sh COMMAND..
set -euo pipefail
command=()
for word in "$@"; do
  if [[ $word == /*.so && -f ${word%.so}.a ]]; then word=${word%.so}.a; fi
  command+=("$word")
done
exec "${command[@]}"
