#!/bin/sh
# Installs the package: sdk-r/install.sh [LIBRARY]
#
# Works outside of the source folder, in RENDEZVOUS_R_BUILD (default: ~/.cache/rendezvous/r), where objects are kept:
# what has not changed is not compiled again. LIBRARY: default is R's own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${RENDEZVOUS_R_BUILD:-${XDG_CACHE_HOME:-$HOME/.cache}/rendezvous/r}
mkdir -p "$build/rendezvous"

# Newer files only, so that make sees what has changed; what is gone here goes there.
(cd "$here" && find DESCRIPTION NAMESPACE LICENSE.note R man src inst configure cleanup -type f 2>/dev/null) |
  while read -r file; do
    mkdir -p "$build/rendezvous/$(dirname "$file")"
    cmp -s "$here/$file" "$build/rendezvous/$file" || cp -p "$here/$file" "$build/rendezvous/$file"
  done
(cd "$build/rendezvous" && find R src man inst -path src/generated -prune -o -type f \( -name '*.R' -o -name '*.Rd' -o -name '*.cpp' -o -name '*.h' -o -name '*.proto' \) -print) |
  while read -r file; do
    test -e "$here/$file" || rm -f "$build/rendezvous/$file"
  done

if [ $# -gt 0 ]; then
  mkdir -p "$1"
  set -- "--library=$(cd "$1" && pwd)"
fi
cd "$build"
MAKEFLAGS="${MAKEFLAGS:--j2}" R CMD INSTALL --strip --no-test-load "$@" rendezvous
