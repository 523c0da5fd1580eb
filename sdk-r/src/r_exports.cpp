// What R sees of frames, errors and names.

#include <google/protobuf/stubs/logging.h>

#include "names.h"
#include "r_model.h"
#include "scoring.h"
#include "security.h"
#include "text.h"

namespace {

rv::v1::Frame parsed(SEXP raw) {
  rv::v1::Frame frame;
  const std::string octets = rv::octets_of(raw);
  const google::protobuf::LogSilencer silencer;  // what is wrong is said to the caller
  if (frame.ParseFromString(octets)) return frame;
  std::string column;
  const std::string where = rv::diagnose_bad_utf8(octets, "rendezvous.v1.Frame", &column);
  throw rv::Fault(rv::v1::ERROR_CODE_INVALID_FRAME, where.empty() ? "the octets are no Frame" : where,
                  {{"column", column}});
}

rv::WantedTypes wanted_of(const Rcpp::CharacterVector& types) {
  rv::WantedTypes wanted;
  if (types.size() == 0) return wanted;
  const Rcpp::CharacterVector names = types.names();
  for (R_xlen_t i = 0; i < types.size(); ++i) {
    const auto name = Rcpp::as<std::string>(names[i]);
    wanted[name] = rv::type_number(name, Rcpp::as<std::string>(types[i]));
  }
  return wanted;
}

}  // namespace

namespace rv {

Security security_of(const Rcpp::List& list) {
  Security security;
  security.key = Rcpp::as<std::string>(list["key"]);
  security.ca = Rcpp::as<std::string>(list["ca"]);
  security.cert = Rcpp::as<std::string>(list["cert"]);
  security.cert_key = Rcpp::as<std::string>(list["cert_key"]);
  security.is_tls = Rcpp::as<bool>(list["tls"]);
  return security;
}

}  // namespace rv

// [[Rcpp::export(rng = false)]]
SEXP frame_encode(SEXP table, const Rcpp::CharacterVector& types) {
  return rv::guarded([&]() -> SEXP {
    return rv::raw_of(rv::encode_table(table, wanted_of(types)).SerializeAsString());
  });
}

// [[Rcpp::export(rng = false)]]
SEXP frame_decode(SEXP raw, const Rcpp::List& inputs, bool int64_as_numeric) {
  return rv::guarded([&]() -> SEXP {
    const auto frame = parsed(raw);
    rv::check_frame(frame);
    return rv::decode_frame(frame, rv::hints_of(inputs, int64_as_numeric));
  });
}

// [[Rcpp::export(rng = false)]]
SEXP frame_check(SEXP raw) {
  return rv::guarded([&]() -> SEXP {
    rv::check_frame(parsed(raw));
    return Rcpp::wrap(true);
  });
}

// [[Rcpp::export(rng = false)]]
SEXP frame_types(SEXP raw) {
  return rv::guarded([&]() -> SEXP {
    Rcpp::CharacterVector types;
    const auto frame = parsed(raw);
    for (const auto& column : frame.columns()) types[column.name()] = rv::type_name(column.type());
    return types;
  });
}

// [[Rcpp::export(rng = false)]]
SEXP frame_join(const Rcpp::List& raws) {
  return rv::guarded([&]() -> SEXP {
    std::vector<rv::v1::Frame> frames;
    for (SEXP raw : raws) frames.push_back(parsed(raw));
    std::vector<const rv::v1::Frame*> pointers;
    for (const auto& frame : frames) pointers.push_back(&frame);
    return rv::raw_of(rv::join_frames(pointers).SerializeAsString());
  });
}

// [[Rcpp::export(rng = false)]]
SEXP frame_slice(SEXP raw, double start, double stop) {
  return rv::guarded([&]() -> SEXP {
    const auto cut = rv::slice_frame(parsed(raw), static_cast<int64_t>(start), static_cast<int64_t>(stop));
    return rv::raw_of(cut.SerializeAsString());
  });
}

// [[Rcpp::export(rng = false)]]
SEXP frame_split(SEXP raw, const Rcpp::NumericVector& rows) {
  return rv::guarded([&]() -> SEXP {
    Rcpp::List parts;
    for (const auto& part : rv::split_frame(parsed(raw), {rows.begin(), rows.end()})) {
      parts.push_back(rv::raw_of(part.SerializeAsString()));
    }
    return parts;
  });
}

// Moments as decimal text: they need more digits than R's numbers have.
// [[Rcpp::export(rng = false)]]
bool is_item_expired(const std::string& stored_unix_us, double budget_us, const std::string& broker_now_unix_us) {
  return rv::is_expired(std::stoll(stored_unix_us), static_cast<int64_t>(budget_us), std::stoll(broker_now_unix_us));
}

// [[Rcpp::export(rng = false)]]
Rcpp::DataFrame error_table() {
  Rcpp::IntegerVector code, grpc_code, http_status;
  Rcpp::CharacterVector name, meaning, grpc_status;
  Rcpp::LogicalVector retryable;
  for (const auto& facts : rv::kErrorTable) {
    code.push_back(facts.code);
    name.push_back(facts.name);
    meaning.push_back(facts.meaning);
    retryable.push_back(facts.retryable);
    grpc_status.push_back(facts.grpc_status);
    grpc_code.push_back(facts.grpc_code);
    http_status.push_back(facts.http_status);
  }
  return Rcpp::DataFrame::create(Rcpp::_["code"] = code, Rcpp::_["name"] = name, Rcpp::_["meaning"] = meaning,
                                 Rcpp::_["retryable"] = retryable, Rcpp::_["grpc_status"] = grpc_status,
                                 Rcpp::_["grpc_code"] = grpc_code, Rcpp::_["http_status"] = http_status);
}

// [[Rcpp::export(rng = false)]]
std::string make_id() { return rv::new_id(); }

// [[Rcpp::export(rng = false)]]
bool is_valid_traceparent(const std::string& text) { return rv::is_traceparent(text); }

// [[Rcpp::export(rng = false)]]
SEXP name_check(const std::string& kind, const std::string& value) {
  return rv::guarded([&]() -> SEXP {
    rv::check_name(kind, value);
    return Rcpp::wrap(true);
  });
}

// [[Rcpp::export(rng = false)]]
SEXP version_check(const std::string& value) {
  return rv::guarded([&]() -> SEXP { return Rcpp::wrap(rv::version_token(value)); });
}

// [[Rcpp::export(rng = false)]]
bool is_valid_key(const std::string& text) { return rv::is_key(text); }

// [[Rcpp::export(rng = false)]]
Rcpp::List postbox_names(const std::string& endpoint, const std::string& model, const std::string& version,
                         const std::string& router) {
  return Rcpp::List::create(Rcpp::_["stream"] = rv::durable_stream(endpoint),
                            Rcpp::_["input"] = rv::input_subject(endpoint),
                            Rcpp::_["raw"] = rv::raw_subject(endpoint, 1),
                            Rcpp::_["raw_of_stage_2"] = rv::raw_subject(endpoint, 2),
                            Rcpp::_["score"] = rv::score_subject(endpoint, model, router),
                            Rcpp::_["consumer"] = rv::consumer_name(model, version),
                            Rcpp::_["model_key"] = rv::model_key(endpoint, model, version));
}

// [[Rcpp::export(rng = false)]]
SEXP info_check(const Rcpp::List& info) {
  return rv::guarded([&]() -> SEXP { return rv::list_of(rv::info_of(info)); });
}
