#include "r_model.h"

#include "names.h"
#include "signals.h"
#include "text.h"

namespace rv {

namespace {
constexpr int kMessageCharacters = 300;

std::string seconds(int64_t us) { return shown(static_cast<double>(us) / 1e6) + " s"; }

// On one line, cut if it is very long.
std::string one_line(const std::string& text) {
  std::string line;
  int characters = 0;
  bool is_gap = false;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f') {
      is_gap = !line.empty();
      continue;
    }
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80 && (characters += 1 + is_gap) > kMessageCharacters) {
      return line + "...";
    }
    if (is_gap) line += ' ';
    is_gap = false;
    line += c;
  }
  return line.empty() ? "no message" : line;
}
}  // namespace

RModel::RModel(Rcpp::Function evaluate, v1::Signature signature, Hints hints, int64_t limit_us)
    : evaluate_(std::move(evaluate)), signature_(std::move(signature)), hints_(std::move(hints)), limit_us_(limit_us) {}

v1::Frame RModel::score(const v1::Frame& frame) {
  try {
    return score_table(frame);
  } catch (const Fault&) {
    throw;
  } catch (const Abandoned&) {
    throw;
  } catch (const Rcpp::internal::InterruptedException&) {
    refuse_interrupted();
  } catch (const std::exception& error) {
    throw Fault(v1::ERROR_CODE_MODEL_FAILED, std::string("what the model gave cannot be read: ") + error.what());
  }
}

v1::Frame RModel::score_table(const v1::Frame& frame) {
  const bool is_declared = signature_.inputs_size() > 0;
  const v1::Frame selected = is_declared ? select_inputs(frame, signature_.inputs(), hints_.any_number) : v1::Frame();
  const Rcpp::Shield<SEXP> table(decode_frame(is_declared ? selected : frame, hints_));
  const Rcpp::Shield<SEXP> result(call(table));
  if (watch.is_abandoned) throw Abandoned();
  if (TYPEOF(result) != VECSXP) refuse_interrupted();
  if (Rf_xlength(result) != 1) refuse(Rcpp::List(static_cast<SEXP>(result)));
  return encode_output(VECTOR_ELT(result, 0), signature_.outputs(), frame.rows());
}

SEXP RModel::call(SEXP table) {
  const Rcpp::Shield<SEXP> expression(Rf_lang2(evaluate_, table));
  watch.was_interrupted = false;
  watch.since_us = monotonic_us();
  int failed = 0;
  // Whatever the author's code jumps out to, it ends here.
  const Rcpp::Shield<SEXP> result(R_tryEvalSilent(expression, R_GlobalEnv, &failed));
  watch.since_us = 0;
  Signals::forget_interrupt();
  return failed ? R_NilValue : static_cast<SEXP>(result);
}

void RModel::refuse_interrupted() {
  last_trace.clear();
  if (watch.was_interrupted) {
    throw Fault(v1::ERROR_CODE_MODEL_FAILED, "the model took longer than " + seconds(limit_us_) + " (its scoring limit)",
                {{"limit_s", shown(static_cast<double>(limit_us_) / 1e6)}});
  }
  throw Fault(v1::ERROR_CODE_MODEL_FAILED, "the model raised interrupt: its evaluation was broken off",
              {{"exception", "interrupt"}});
}

// *failure*: kind, message, code (empty: the author's own error), attributes, trace.
void RModel::refuse(const Rcpp::List& failure) {
  const auto kind = Rcpp::as<std::string>(failure[0]), message = Rcpp::as<std::string>(failure[1]);
  last_trace = Rcpp::as<std::string>(failure[4]);
  v1::Error error;
  const int code = Rcpp::as<int>(failure[2]);
  if (code) {
    error.set_code(facts_of(code).code);
    error.set_message(message);
    const Rcpp::CharacterVector attributes(static_cast<SEXP>(failure[3]));
    const Rcpp::RObject names = attributes.names();
    for (R_xlen_t i = 0; i < attributes.size() && !names.isNULL(); ++i) {
      const std::string name = Rcpp::as<Rcpp::CharacterVector>(names)[i] == NA_STRING
                                   ? ""
                                   : Rcpp::as<std::string>(Rcpp::as<Rcpp::CharacterVector>(names)[i]);
      (*error.mutable_attributes())[name] = Rcpp::as<std::string>(attributes[i]);
    }
    throw Fault(error);
  }
  throw Fault(v1::ERROR_CODE_MODEL_FAILED, "the model raised " + kind + ": " + one_line(message),
              {{"exception", kind}});
}

Rcpp::RawVector raw_of(const std::string& octets) {
  Rcpp::RawVector raw(static_cast<R_xlen_t>(octets.size()));
  std::copy(octets.begin(), octets.end(), raw.begin());
  return raw;
}

std::string octets_of(SEXP raw) {
  return std::string(reinterpret_cast<const char*>(RAW(raw)), static_cast<size_t>(Rf_xlength(raw)));
}

}  // namespace rv
