#!/bin/sh
# Installs the package: sdk-r/install.sh [LIBRARY]    (default: R's own library)
#
# Works on a copy outside of the source folder, so that nothing is left there.
# While you change the package, RENDEZVOUS_R_BUILD=FOLDER keeps the copy and its objects: what has not changed is not
# compiled again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ -n "${RENDEZVOUS_R_BUILD:-}" ]; then
  build=$RENDEZVOUS_R_BUILD
else
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
fi
mkdir -p "$build/rendezvous"
# One at a time, in the build folder and in the library.
exec 8>"$build/.lock"
flock 8

# Newer files only, so that make sees what has changed; what is gone here goes there.
(cd "$here" && find DESCRIPTION NAMESPACE LICENSE.note R man src inst configure cleanup -type f 2>/dev/null) |
  while read -r file; do
    mkdir -p "$build/rendezvous/$(dirname "$file")"
    cmp -s "$here/$file" "$build/rendezvous/$file" || cp "$here/$file" "$build/rendezvous/$file"
  done
(cd "$build/rendezvous" && find R src man inst -path src/generated -prune -o -type f \( -name '*.R' -o -name '*.Rd' -o -name '*.cpp' -o -name '*.h' -o -name '*.proto' \) -print) |
  while read -r file; do
    test -e "$here/$file" || rm -f "$build/rendezvous/$file"
  done

if [ $# -gt 0 ]; then
  mkdir -p "$1"
  library=$(cd "$1" && pwd)
  exec 9>"$library/.rendezvous-lock"
  flock 9
  rm -rf "$library/00LOCK-rendezvous" # of an installation that was killed
  set -- "--library=$library"
fi
cd "$build"
MAKEFLAGS="${MAKEFLAGS:--j2}" R CMD INSTALL --strip "$@" rendezvous
