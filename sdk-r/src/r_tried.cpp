#include "r_tried.h"

#include <exception>

namespace rv {

namespace {
struct Attempt {
  const std::function<SEXP()>& body;
  std::exception_ptr thrown;
  SEXP token = R_NilValue;
  SEXP value = R_NilValue;
  bool is_failed = false;
  std::string message;
};

// Between two layers of R's C code, through which nothing may be thrown.
SEXP run(void* data) {
  auto* attempt = static_cast<Attempt*>(data);
  try {
    return attempt->body();
  } catch (const Rcpp::LongjumpException& jump) {
    attempt->token = jump.token;  // an R error on its way, held up by Rcpp
  } catch (...) {
    attempt->thrown = std::current_exception();
  }
  if (attempt->token != R_NilValue) Rcpp::internal::resumeJump(attempt->token);
  return R_NilValue;
}

SEXP keep_message(SEXP condition, void* data) {
  auto* attempt = static_cast<Attempt*>(data);
  attempt->is_failed = true;
  // R's own errors are lists whose first element is the message.
  const bool is_list = TYPEOF(condition) == VECSXP && Rf_xlength(condition) > 0;
  const SEXP message = is_list ? VECTOR_ELT(condition, 0) : R_NilValue;
  const bool is_text = TYPEOF(message) == STRSXP && Rf_xlength(message) == 1;
  attempt->message = is_text ? CHAR(STRING_ELT(message, 0)) : "an error without a message";
  return R_NilValue;
}
}  // namespace

SEXP tried(const std::function<SEXP()>& body) {
  Attempt attempt{body};
  const auto run_caught = [](void* data) {
    auto* attempt = static_cast<Attempt*>(data);
    attempt->value = R_tryCatchError(run, attempt, keep_message, attempt);
  };
  if (!R_ToplevelExec(run_caught, &attempt)) throw Rcpp::internal::InterruptedException();
  if (attempt.is_failed) throw RError(attempt.message);
  if (attempt.thrown) std::rethrow_exception(attempt.thrown);
  return attempt.value;
}

}  // namespace rv
