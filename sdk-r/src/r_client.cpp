// The client as R sees it.

#include <unistd.h>

#include "grpc_client.h"
#include "names.h"
#include "r_model.h"

namespace {

// Whether the user wants the call to end; looks without jumping away.
bool is_interrupted() {
  return !R_ToplevelExec([](void*) { R_CheckUserInterrupt(); }, nullptr);
}

struct Client {
  Client(const std::string& address, int max_message_bytes, const rv::Security& security)
      : grpc(address, max_message_bytes, security) {}

  rv::GrpcClient grpc;
  const int pid = getpid();

  // Threads and connections do not survive a fork.
  void check_not_forked() const {
    if (pid == getpid()) return;
    throw rv::Fault(rv::v1::ERROR_CODE_INVALID_REQUEST,
                    "this client was made in process " + std::to_string(pid) + ", this is its fork " +
                        std::to_string(getpid()) + ": make clients after forking, in processes that start anew");
  }
};

Client& client_of(SEXP pointer) {
  const Rcpp::XPtr<Client> client(pointer);
  client->check_not_forked();
  return *client;
}

template <typename Body>
SEXP called(Body body) {
  try {
    return rv::guarded(body);
  } catch (const rv::Interrupted&) {
    throw Rcpp::internal::InterruptedException();
  }
}

rv::v1::ScoreRequest request_of(const Rcpp::List& given) {
  rv::v1::ScoreRequest request;
  request.set_request_id(Rcpp::as<std::string>(given["request_id"]));
  request.set_endpoint(Rcpp::as<std::string>(given["endpoint"]));
  request.mutable_inputs()->ParseFromString(rv::octets_of(given["frame"]));
  const Rcpp::CharacterVector context(static_cast<SEXP>(given["context"]));
  if (context.size()) {
    const Rcpp::CharacterVector names = context.names();
    for (R_xlen_t i = 0; i < context.size(); ++i) {
      (*request.mutable_context())[Rcpp::as<std::string>(names[i])] = Rcpp::as<std::string>(context[i]);
    }
  }
  const bool explain = Rcpp::as<bool>(given["explain"]);
  const auto force_model = Rcpp::as<std::string>(given["force_model"]);
  if (explain) request.mutable_diagnostics()->set_explain(true);
  if (!force_model.empty()) request.mutable_diagnostics()->set_force_model(force_model);
  if (Rcpp::as<bool>(given["force_trace"])) request.mutable_diagnostics()->set_force_trace(true);
  request.set_traceparent(Rcpp::as<std::string>(given["traceparent"]));
  return request;
}

SEXP table_of(const rv::v1::Frame& frame, bool int64_as_numeric) {
  rv::check_frame(frame);
  return rv::decode_frame(frame, rv::hints_of(Rcpp::List(), int64_as_numeric));
}

const char* status_name(int status) {
  const char* names[] = {"unspecified", "scored", "failed", "pending"};
  return status > 0 && status < 4 ? names[status] : names[0];
}

SEXP decision_list(const rv::v1::ScoreReply& reply) {
  if (!reply.has_decision()) return R_NilValue;
  const auto& decision = reply.decision();
  Rcpp::List arrivals;
  for (const auto& arrival : decision.arrivals()) {
    arrivals[arrival.model()] = Rcpp::List::create(
        Rcpp::_["version"] = arrival.version(), Rcpp::_["status"] = status_name(arrival.status()),
        Rcpp::_["after_us"] = static_cast<double>(arrival.after_us()),
        Rcpp::_["error"] = arrival.has_error() ? static_cast<SEXP>(rv::fault_list(arrival.error())) : R_NilValue);
  }
  return Rcpp::List::create(
      Rcpp::_["endpoint"] = decision.endpoint(), Rcpp::_["rule"] = decision.rule(),
      Rcpp::_["models"] = Rcpp::CharacterVector(decision.models().begin(), decision.models().end()),
      Rcpp::_["spec_revision"] = static_cast<double>(decision.spec_revision()),
      Rcpp::_["decided_after_us"] = static_cast<double>(decision.decided_after_us()),
      Rcpp::_["deadline_left_us"] = static_cast<double>(decision.deadline_left_us()),
      Rcpp::_["reason"] = decision.reason(), Rcpp::_["arrivals"] = arrivals);
}

Rcpp::List scores_list(const rv::v1::ScoreReply& reply, bool int64_as_numeric) {
  Rcpp::List scores;
  for (const auto& score : reply.scores()) {
    const Rcpp::Shield<SEXP> outputs(score.has_outputs() ? table_of(score.outputs(), int64_as_numeric) : R_NilValue);
    scores[score.model()] = Rcpp::List::create(
        Rcpp::_["version"] = score.version(), Rcpp::_["outputs"] = static_cast<SEXP>(outputs),
        Rcpp::_["error"] = score.has_error() ? static_cast<SEXP>(rv::fault_list(score.error())) : R_NilValue);
  }
  return scores;
}

// Outputs, or the error in their place, and what is known of them.
Rcpp::List answer_list(const rv::v1::ScoreReply& reply, bool int64_as_numeric) {
  const Rcpp::Shield<SEXP> outputs(reply.has_error() ? static_cast<SEXP>(rv::fault_list(reply.error()))
                                                     : table_of(reply.outputs(), int64_as_numeric));
  return Rcpp::List::create(
      Rcpp::_["outputs"] = static_cast<SEXP>(outputs),
      Rcpp::_["facts"] = Rcpp::List::create(
          Rcpp::_["request_id"] = reply.request_id(), Rcpp::_["model"] = reply.model(),
          Rcpp::_["version"] = reply.version(), Rcpp::_["timing"] = rv::list_of(reply.timing()),
          Rcpp::_["decision"] = decision_list(reply), Rcpp::_["scores"] = scores_list(reply, int64_as_numeric),
          Rcpp::_["traceparent"] = reply.traceparent()));
}

// The outputs as they came, or the error in their place; checked, for they will be joined.
Rcpp::List framed(const rv::v1::ScoreReply& reply) {
  if (!reply.has_error()) rv::check_frame(reply.outputs());
  const Rcpp::Shield<SEXP> outputs(reply.has_error() ? static_cast<SEXP>(rv::fault_list(reply.error()))
                                                     : static_cast<SEXP>(rv::raw_of(reply.outputs().SerializeAsString())));
  return Rcpp::List::create(Rcpp::_["outputs"] = static_cast<SEXP>(outputs), Rcpp::_["model"] = reply.model(),
                            Rcpp::_["version"] = reply.version(),
                            Rcpp::_["rows"] = static_cast<double>(reply.outputs().rows()));
}

// Text of an element; empty where it is missing.
std::string text_at(const Rcpp::CharacterVector& texts, R_xlen_t i) {
  return Rcpp::CharacterVector::is_na(texts[i]) ? std::string() : Rcpp::as<std::string>(texts[i]);
}

void set_value(SEXP values, R_xlen_t i, rv::v1::Outcome* outcome) {
  switch (TYPEOF(values)) {
    case LGLSXP: return outcome->set_flag(LOGICAL(values)[i] != 0);
    case INTSXP: return outcome->set_number(INTEGER(values)[i]);
    case REALSXP: return outcome->set_number(REAL(values)[i]);
    default: return outcome->set_text(text_at(values, i));
  }
}

// Outcomes from vectors of the same length, checked in R.
rv::v1::RecordRequest outcomes_of(const std::string& endpoint, const Rcpp::List& given) {
  const Rcpp::CharacterVector ids(static_cast<SEXP>(given["feedback_id"])), requests(static_cast<SEXP>(given["request_id"])),
      names(static_cast<SEXP>(given["key_name"])), keys(static_cast<SEXP>(given["key_value"])),
      outputs(static_cast<SEXP>(given["output"])), sources(static_cast<SEXP>(given["source"]));
  const Rcpp::IntegerVector kinds(static_cast<SEXP>(given["kind"])), rows(static_cast<SEXP>(given["row"]));
  const Rcpp::NumericVector observed(static_cast<SEXP>(given["observed_unix_us"]));
  rv::v1::RecordRequest request;
  request.set_endpoint(endpoint);
  for (R_xlen_t i = 0; i < ids.size(); ++i) {
    auto* outcome = request.add_outcomes();
    outcome->set_feedback_id(text_at(ids, i));
    outcome->set_kind(static_cast<rv::v1::OutcomeKind>(kinds[i]));
    if (Rcpp::CharacterVector::is_na(requests[i])) {
      outcome->mutable_key()->set_name(text_at(names, i));
      outcome->mutable_key()->set_value(text_at(keys, i));
    } else {
      outcome->set_request_id(text_at(requests, i));
    }
    if (rows[i] != NA_INTEGER) outcome->set_row(rows[i]);
    outcome->set_output(text_at(outputs, i));
    outcome->set_source(text_at(sources, i));
    outcome->set_observed_unix_us(static_cast<int64_t>(observed[i]));
    set_value(given["value"], i, outcome);
  }
  return request;
}

}  // namespace

// [[Rcpp::export(rng = false)]]
Rcpp::List status_fault(int grpc_code, const std::string& details, SEXP error_bin, const std::string& retry_after_ms) {
  return rv::fault_list(rv::error_of_status(grpc_code, details, rv::octets_of(error_bin), retry_after_ms));
}

// [[Rcpp::export(rng = false)]]
SEXP client_make(const std::string& address, int max_message_bytes, const Rcpp::List& security) {
  return rv::guarded(
      [&]() -> SEXP { return Rcpp::XPtr<Client>(new Client(address, max_message_bytes, rv::security_of(security))); });
}

// [[Rcpp::export(rng = false)]]
SEXP client_describe(SEXP client, const std::string& endpoint, double timeout_ms) {
  return called([&]() -> SEXP {
    return rv::list_of(client_of(client).grpc.describe(endpoint, static_cast<int64_t>(timeout_ms), is_interrupted));
  });
}

// [[Rcpp::export(rng = false)]]
SEXP client_score(SEXP client, const Rcpp::List& request, double timeout_ms, bool int64_as_numeric) {
  return called([&]() -> SEXP {
    return answer_list(
        client_of(client).grpc.score(request_of(request), static_cast<int64_t>(timeout_ms), is_interrupted),
        int64_as_numeric);
  });
}

// *as_frames*: the outputs stay serialized frames.
// [[Rcpp::export(rng = false)]]
SEXP client_stream(SEXP client, const Rcpp::List& requests, double timeout_ms, bool int64_as_numeric, bool as_frames) {
  return called([&]() -> SEXP {
    std::vector<rv::v1::ScoreRequest> messages;
    for (SEXP request : requests) messages.push_back(request_of(Rcpp::List(request)));
    Rcpp::List answers;
    for (const auto& reply : client_of(client).grpc.stream(messages, static_cast<int64_t>(timeout_ms), is_interrupted)) {
      answers.push_back(as_frames ? framed(reply) : answer_list(reply, int64_as_numeric));
    }
    return answers;
  });
}

// [[Rcpp::export(rng = false)]]
SEXP client_record(SEXP client, const std::string& endpoint, const Rcpp::List& outcomes, double timeout_ms) {
  return called([&]() -> SEXP {
    const auto request = outcomes_of(endpoint, outcomes);
    const auto reply = client_of(client).grpc.record(request, static_cast<int64_t>(timeout_ms), is_interrupted);
    return Rcpp::CharacterVector(reply.feedback_ids().begin(), reply.feedback_ids().end());
  });
}
