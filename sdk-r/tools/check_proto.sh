#!/bin/sh
# Fails when the package's copy of the protocol differs from the repository's: cp proto/rendezvous/v1/*.proto sdk-r/inst/proto/rendezvous/v1/
set -eu
cd "$(dirname "$0")/../.."
diff -r proto/rendezvous/v1 sdk-r/inst/proto/rendezvous/v1
