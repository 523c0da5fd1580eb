#!/bin/sh
# Runs the tests of the installed package (see install.sh): sdk-r/test.sh [FILTER]. Warnings fail it.
#
# The package is taken from R_LIBS, else from the checkout's .tools/r-library, where it is installed first if it is not.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
export R_LIBS="${R_LIBS:-$root/.tools/r-library}"
export RENDEZVOUS_VECTORS="${RENDEZVOUS_VECTORS:-$root/proto/vectors}"
if [ -z "${RENDEZVOUS_NATS_SERVER:-}" ] && [ -x "$root/.venv/bin/nats-server" ]; then
  export RENDEZVOUS_NATS_SERVER="$root/.venv/bin/nats-server"
fi
Rscript -e 'library(rendezvous)' >/dev/null 2>&1 || "$here/install.sh" "${R_LIBS%%:*}"
# Nothing in the environment tells the tests' models what to do.
unset RENDEZVOUS_ENDPOINT RENDEZVOUS_MODEL RENDEZVOUS_VERSION RENDEZVOUS_NATS RENDEZVOUS_GRPC_HOST RENDEZVOUS_GRPC_PORT \
  RENDEZVOUS_ACK_WAIT RENDEZVOUS_SCORING_LIMIT RENDEZVOUS_ENRICHER RENDEZVOUS_PROBE RENDEZVOUS_LOG_LEVEL RENDEZVOUS_LOG_FORMAT \
  RENDEZVOUS_KEY RENDEZVOUS_KEY_FILE RENDEZVOUS_CA RENDEZVOUS_CERT RENDEZVOUS_CERT_KEY RENDEZVOUS_TLS RENDEZVOUS_INSECURE 2>/dev/null || true
cd "$here/tests/testthat"
exec Rscript -e '
  filter <- commandArgs(TRUE)
  testthat::test_dir(".", filter = if (length(filter)) filter, package = "rendezvous", load_package = "installed",
    reporter = "summary", stop_on_failure = TRUE, stop_on_warning = TRUE)' "$@"
