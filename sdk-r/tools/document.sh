#!/bin/sh
# Writes man/, NAMESPACE and the glue of Rcpp from the sources; the package must be installed (install.sh).
set -eu
cd "$(dirname "$0")/.."
Rscript -e 'Rcpp::compileAttributes(".")'
Rscript -e 'roxygen2::roxygenise(".", load_code = "installed")'
