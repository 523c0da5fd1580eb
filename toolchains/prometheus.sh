#!/usr/bin/env bash
# Unpacks prometheus and promtool of Debian's package into a folder. Run by `python -m toolchains prepare prometheus`.
#   toolchains/prometheus.sh FOLDER
# Unpacked rather than installed: the package would start a server that listens on port 9090.
set -euo pipefail
out="$(mkdir -p "${1:?folder}" && cd "$1" && pwd)"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }
dpkg-deb -x prometheus_*.deb unpacked
install -m 755 unpacked/usr/bin/prometheus unpacked/usr/bin/promtool "$out"
