#!/usr/bin/env bash
# Builds the Java SDK and what the examples write with it. Tests are another step: `python -m toolchains test java`.
set -euo pipefail
cd "$(dirname "$0")/.."
mvn -q -B -ntp -f sdk-java/pom.xml -DskipTests install
for project in examples/credit/java examples/any-language/java; do
  if [ -f "$project/pom.xml" ]; then
    mvn -q -B -ntp -f "$project/pom.xml" -DskipTests package
  fi
done
