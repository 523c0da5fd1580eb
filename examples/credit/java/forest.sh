#!/usr/bin/env bash
# The Java forest: `forest.sh train` or `forest.sh serve`. Built by `make languages`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
artefacts=$here/../artefacts
classpath=$here/target/credit-forest.jar:$here/target/lib/*
case "${1:-}" in
  train) exec java -cp "$classpath" credit.Forest train "$artefacts/training.csv" "$artefacts/forest.pb" ;;
  serve) exec java -XX:+UseSerialGC -cp "$classpath" credit.Forest serve "$artefacts/forest.pb" ;;
  *) echo "usage: forest.sh train|serve" >&2; exit 2 ;;
esac
