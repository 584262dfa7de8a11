#!/usr/bin/env bash
# Builds and runs the downstream program with nothing but a compiler and pkg-config. usage: build.sh COMPILER PKGCONFIG_FOLDER OUTPUT_FOLDER
set -euo pipefail
command -v pkg-config >/dev/null || {
  echo "skipped: pkg-config is not installed"
  exit 77
}
mkdir -p "$3"
export PKG_CONFIG_PATH=$2
read -ra flags <<<"$(pkg-config --cflags --libs tessera)"
libdir=$(pkg-config --variable=libdir tessera)
"$1" -std=c++20 "$(dirname "$0")/../find_package_project/main.cpp" -o "$3/app" "${flags[@]}" -Wl,-rpath,"$libdir" -ldl
"$3/app"
