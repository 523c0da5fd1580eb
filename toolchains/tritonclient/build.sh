#!/usr/bin/env bash
# Installs tritonclient into an environment of its own. Run by `python -m toolchains prepare tritonclient`.
#   toolchains/tritonclient/build.sh FOLDER
# Its gRPC part wants an older protobuf than ours. requirements.txt pins every package; made from requirements.in by
#   uv pip compile --universal --python-version 3.11 --generate-hashes requirements.in -o requirements.txt
set -euo pipefail
out="${1:?folder}"
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here/../.."
.venv/bin/python -m venv --clear "$out"
nice -n 10 "$out/bin/python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
  --require-hashes --only-binary :all: --requirement "$here/requirements.txt"
