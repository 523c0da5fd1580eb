#!/usr/bin/env bash
# Fetches the wheels of the Python images into .tools/wheelhouse, checked against the locks' hashes.
# For builds that cannot reach the index: docker build --build-arg WHEELS=host ...
set -euo pipefail
cd "$(dirname "$0")/../.."
to=.tools/wheelhouse
mkdir -p "$to"
if cat compose/images/*.lock | cmp -s - "$to/.fetched"; then exit 0; fi
for lock in compose/images/*.lock; do
  # The images' Python and platform, whatever this machine's are.
  .venv/bin/python -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
    --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none --platform "manylinux_2_34_$(uname -m)" \
    --platform "manylinux_2_28_$(uname -m)" --platform "manylinux_2_27_$(uname -m)" --platform "manylinux_2_17_$(uname -m)" \
    --platform "manylinux2014_$(uname -m)" --platform "manylinux_2_12_$(uname -m)" --platform "manylinux_2_5_$(uname -m)" \
    --platform any --dest "$to" --requirement "$lock"
done
cat compose/images/*.lock >"$to/.fetched"
