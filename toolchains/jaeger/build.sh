#!/usr/bin/env bash
# Builds Jaeger and a small OpenTelemetry collector into a folder. Run by `python -m toolchains prepare jaeger`.
#   toolchains/jaeger/build.sh FOLDER
# go.sum pins the hash of every module, so nothing is asked of a checksum database.
set -euo pipefail
out="$(mkdir -p "${1:?folder}" && cd "$1" && pwd)"
cd "$(dirname "$0")"
export CGO_ENABLED=0 # so that the programs also run in an image that has nothing else
build() { nice -n 10 go build -mod=readonly -trimpath -buildvcs=false -ldflags='-s -w' -o "$1" "$2"; }
build "$out/jaeger" github.com/jaegertracing/jaeger/cmd/jaeger
build "$out/otelcol" ./collector
