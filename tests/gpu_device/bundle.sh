#!/usr/bin/env bash
# Packs what runs on a machine with a GPU and a driver. usage: bundle.sh BUILD_FOLDER
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$1
name=tessera-gpu
bundle=$root/build/bundle
rm -rf "$bundle"
mkdir -p "$bundle/$name/bin"
cd "$bundle/$name"
strip -o bin/tessera "$build/tests/gpu_device/tessera_portable"
strip -o bin/tessera_gpu_test "$build/tests/gpu_device/tessera_gpu_test"
strip -o bin/bench_launch "$build/tests/gpu_device/tessera_bench_launch"
(cd "$root" && find kernels tests/programs tests/foreign tests/fuzz tests/ir examples \( -name '*.tile' -o -name '*.winners' -o -name '*.ir' \) -print0 | xargs -0 cp --parents -t "$bundle/$name")
cp "$root"/tests/gpu_device/{gpu-test,gpu-bench,gpu-accept,bench.table,rivals.py,compare.py} "$root"/tests/bench/tuned.py .
chmod +x gpu-test gpu-bench gpu-accept
# With machine code where there is a ptxas: what bench_launch loads beside the same kernel from its source.
bin/tessera bundle kernels/attention/flash.tile --kernel flash_causal --const T=bf16 --const D=128 --const BM=128 --const BN=128 --without lse,sink \
  --target sm_90a -o attention.bundle >/dev/null
needed=$(for program in bin/*; do readelf -d "$program" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'; done | sort -u)
if others=$(grep -vE '^(libc|libm|libdl|librt|libpthread|ld-linux-x86-64)\.so' <<<"$needed"); then
  echo "bundle: these libraries would have to travel too: $others" >&2
  exit 1
fi
glibc=$(for program in bin/*; do nm -D --undefined-only "$program" | grep -o '@GLIBC_[0-9.]*' | tr -d @; done | sort -V | tail -1)
cat >README <<TEXT
Tessera for a machine with an NVIDIA driver and nothing else. Needs ${glibc/_/ } or newer.
  ./gpu-test     all kernel tests on the GPU
  ./gpu-bench    a table of times
  ./rivals.py    ratios to PyTorch on the same GPU, where it is installed
  ./compare.py   forms of one kernel in turns: schedules, tiles, builds
  ./gpu-accept   tests and ratios, and their figures for the repository's table of acceptance
  python3 tuned.py --target cuda --tessera bin/tessera   how good the tuner's choices are, and what they cost
  ./bin/bench_launch  what a launch costs the host
  ./bin/tessera  the command: run, bench, compile --emit ptx, targets ..
TEXT
cd "$bundle"
tar -czf "$name.tar.gz" "$name"
echo "$bundle/$name.tar.gz: $(du -h "$name.tar.gz" | cut -f1), needs ${glibc/_/ }"
