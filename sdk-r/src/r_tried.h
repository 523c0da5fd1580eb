// Code that touches R's values and may raise R errors, run so that these become C++ exceptions. R's thread only.
#pragma once

#include <Rcpp.h>

#include <functional>
#include <stdexcept>
#include <string>

namespace rv {

// An R error, with its message.
class RError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Runs *body* and gives its value, not protected. An R error in it ends there and is thrown as RError: it neither jumps
// over our frames nor, in a script, ends the process. What *body* throws is thrown on; an
// interrupt is Rcpp's InterruptedException.
SEXP tried(const std::function<SEXP()>& body);

}  // namespace rv
