#!/usr/bin/env bash
# Writes what each Python image installs: the part of requirements.lock that it needs, names, versions and hashes.
# After each `make lock`: compose/images/lock.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

# lock IMAGE ARGUMENT...: the dependencies of our packages, without our packages
lock() {
  local to=compose/images/$1.lock
  shift
  VIRTUAL_ENV=$PWD/.venv .venv/bin/uv --system-certs pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --constraint requirements.lock --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
    --no-emit-package rendezvous --no-emit-package rendezvous-proto --no-emit-package rendezvous-router \
    --no-emit-package rendezvous-sdk "$@" -o "$to" > /dev/null
}

lock router router/pyproject.toml
# The credit example's training reads YAML.
lock python-model --extra sklearn --extra otel sdk-python/pyproject.toml compose/images/credit.in
# What builds our own packages.
lock build compose/images/build.in
