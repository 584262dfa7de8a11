#!/usr/bin/env bash
# Runs the bench program of a build folder. usage: run.sh BUILD_FOLDER [ARG...]; the arguments go to bench_cpu (--help lists them).
# ONNX Runtime and PyTorch take part if `./dev setup --rivals` has installed them.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$1
shift
# Spinning threads of a rival would take the processor from whoever runs next.
export OMP_WAIT_POLICY=passive
export TESSERA_CACHE=off
python=$root/.cache/rivals/bin/python
[[ -x $python ]] && set -- --python "$python" "$@"
exec "$build/tests/bench/bench_cpu" "$@"
