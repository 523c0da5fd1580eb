#!/usr/bin/env bash
# Builds the scorecard of one language, or of all: build.sh <go|node|cpp|rust|all>
# Builds your copy of one:                         build.sh <go|node|cpp|rust> FOLDER
#
# Everything is made in .tools/any-language/<language or folder's name>/ (what runs) and in .tools/any-language-build/
# (what is only needed to build it); nothing is left here. The messages are generated from the repository's proto/ each time.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
PROTO=$ROOT/proto
JOBS=${JOBS:-2}

# Sets $out and $work, makes both, and copies the sources into $work; what was copied before and is gone now goes.
open_workshop() {
  local source=${folder:-$HERE/$1} name
  name=$(basename "$source")
  out=$ROOT/.tools/any-language/$name
  work=$ROOT/.tools/any-language-build/$name
  mkdir -p "$out" "$work"
  rm -rf "$work/src"
  find "$work" -maxdepth 1 -type f \( -name '*.go' -o -name '*.cpp' -o -name '*.h' \) -delete
  cp -R "$source/." "$work/"
}

protos() { (cd "$PROTO" && ls rendezvous/v1/*.proto); }

build_go() {
  open_workshop go
  # The .proto files name no Go package: it is the reader's to choose.
  local mapping=() name
  for name in $(protos); do
    mapping+=("--go_opt=M$name=scorecard/rendezvous/v1" "--go-grpc_opt=M$name=scorecard/rendezvous/v1")
  done
  (
    cd "$work"
    go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
    # shellcheck disable=SC2046 # names without spaces
    PATH=$work/bin:$PATH protoc -I "$PROTO" --go_out=. --go-grpc_out=. --go_opt=module=scorecard \
      --go-grpc_opt=module=scorecard "${mapping[@]}" $(protos)
    go vet .
    go build -trimpath -ldflags=-s -o "$out/scorecard" .
  )
}

build_node() {
  open_workshop node
  (
    cd "$work"
    npm ci --silent --no-audit --no-fund
    # shellcheck disable=SC2046 # names without spaces
    protoc -I "$PROTO" --plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out=src \
      --ts_proto_opt=outputServices=grpc-js,env=node,esModuleInterop=true,importSuffix=.js,forceLong=bigint $(protos)
    rm -rf dist
    node_modules/.bin/tsc
    # Reflection tells what the server offers from descriptors, which the generated code does not hold.
    local health=node_modules/grpc-health-check/proto
    protoc -I "$PROTO" -I "$health" --include_imports --descriptor_set_out=dist/services.binpb \
      rendezvous/v1/score.proto health/v1/health.proto
  )
  rm -rf "$out"
  mkdir -p "$out"
  cp -R "$work/dist/." "$work/package.json" "$work/package-lock.json" "$out/"
  (cd "$out" && npm ci --silent --no-audit --no-fund --omit=dev --ignore-scripts)
}

build_cpp() {
  open_workshop cpp
  make --silent -C "$work" -j "$JOBS" PROTO="$PROTO"
  strip -o "$out/scorecard" "$work/scorecard"
}

build_rust() {
  open_workshop rust
  (cd "$work" && PROTO=$PROTO cargo build --quiet --release --jobs "$JOBS" --target-dir target)
  cp "$work/target/release/scorecard" "$out/scorecard"
}

usage() {
  echo "usage: build.sh <go|node|cpp|rust|all> | build.sh <go|node|cpp|rust> FOLDER" >&2
  exit 2
}

folder=${2:-}
test -z "$folder" || folder=$(cd "$folder" && pwd)
case ${1:-} in
  go | node | cpp | rust) languages=("$1") ;;
  all) test -z "$folder" || usage && languages=(go node cpp rust) ;;
  *) usage ;;
esac
for language in "${languages[@]}"; do
  "build_$language"
  command=$(sed -n "s/^$language: *//p" "$HERE/languages.yaml")
  echo "run it from the repository's root: ${command/any-language\/$language/any-language\/$(basename "$out")}"
done
