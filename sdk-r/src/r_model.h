// The author's function as the scorer sees it: a frame in, a frame out. Called from R's thread only.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "r_frame.h"
#include "rendezvous/v1/score.pb.h"
#include "security.h"

namespace rv {

// Throughout one call of the author's code; read by the thread that watches.
struct Watch {
  std::atomic<int64_t> since_us{0};  // 0: nothing is being scored
  std::atomic<bool> was_interrupted{false};
  std::atomic<bool> is_abandoned{false};  // the process must end: what is being scored goes back
};

// Thrown out of a table that is given up because the process must end.
class Abandoned : public std::exception {};

class RModel {
 public:
  // *evaluate*: R function of the table, see `evaluator()` in R; *limit_us*: named in the message of an interrupt.
  RModel(Rcpp::Function evaluate, v1::Signature signature, Hints hints, int64_t limit_us);

  v1::Frame score(const v1::Frame& frame);

  Watch watch;
  // Where the author's code failed last, for the log.
  std::string last_trace;

 private:
  v1::Frame score_table(const v1::Frame& frame);
  SEXP call(SEXP table);
  [[noreturn]] void refuse(const Rcpp::List& failure);
  [[noreturn]] void refuse_interrupted();

  Rcpp::Function evaluate_;
  const v1::Signature signature_;
  const Hints hints_;
  const int64_t limit_us_;
};

// ModelInfo to and from R's lists; hints of its inputs.
v1::ModelInfo info_of(const Rcpp::List& list);
Rcpp::List list_of(const v1::ModelInfo& info);
Hints hints_of(const Rcpp::List& inputs, bool int64_as_numeric);

// What R's wrappers turn into a condition.
Rcpp::List fault_list(const v1::Error& error);
Rcpp::List list_of(const v1::Timing& timing);

Rcpp::RawVector raw_of(const std::string& octets);
std::string octets_of(SEXP raw);

// What R/security.R has checked.
Security security_of(const Rcpp::List& list);

// Runs *body*; a Fault becomes a value of class `rdv_fault`.
template <typename Body>
SEXP guarded(Body body) {
  try {
    return body();
  } catch (const Fault& fault) {
    return fault_list(fault.error());
  }
}

}  // namespace rv
