// The in-memory postbox: the server's scorer, fed by hand, with a clock that stands still.

#include "names.h"
#include "r_model.h"
#include "scoring.h"

namespace {

struct Box {
  Box(const Rcpp::List& info, const Rcpp::Function& evaluate, rv::Identity identity)
      : model(evaluate, rv::info_of(info).signature(), rv::hints_of(info["inputs"], Rcpp::as<bool>(info["int64_as_numeric"])), 0),
        scorer(
            std::move(identity), [this](const rv::v1::Frame& frame) { return model.score(frame); },
            [this] { return now_unix_us; }) {}

  rv::RModel model;
  rv::ParcelScorer scorer;
  int64_t now_unix_us = 0;
};

Rcpp::List item_list(const rv::v1::ItemScore& item) {
  const SEXP error = item.has_error() ? static_cast<SEXP>(rv::fault_list(item.error())) : R_NilValue;
  return Rcpp::List::create(Rcpp::_["request_id"] = item.request_id(),
                            Rcpp::_["rows"] = static_cast<double>(item.rows()), Rcpp::_["error"] = error,
                            Rcpp::_["traceparent"] = item.traceparent());
}

Rcpp::List score_list(const rv::v1::ParcelScore& score) {
  Rcpp::List items;
  for (const auto& item : score.items()) items.push_back(item_list(item));
  const Rcpp::Shield<SEXP> outputs(score.has_outputs() ? rv::decode_frame(score.outputs(), rv::hints_of(Rcpp::List(), true)) : R_NilValue);
  return Rcpp::List::create(
      Rcpp::_["parcel_id"] = score.parcel_id(), Rcpp::_["endpoint"] = score.endpoint(),
      Rcpp::_["model"] = score.model(), Rcpp::_["version"] = score.version(), Rcpp::_["replica"] = score.replica(),
      Rcpp::_["items"] = items, Rcpp::_["outputs"] = static_cast<SEXP>(outputs),
      Rcpp::_["timing"] = rv::list_of(score.timing()),
      Rcpp::_["parcel_sequence"] = static_cast<double>(score.parcel_sequence()),
      Rcpp::_["delivery"] = static_cast<double>(score.delivery()),
      Rcpp::_["stage"] = static_cast<double>(score.stage()));
}

}  // namespace

// [[Rcpp::export(rng = false)]]
SEXP box_make(const Rcpp::List& info, const Rcpp::Function& evaluate, const Rcpp::List& identity) {
  return rv::guarded([&]() -> SEXP {
    const auto endpoint = Rcpp::as<std::string>(identity["endpoint"]), name = Rcpp::as<std::string>(identity["name"]);
    const auto version = Rcpp::as<std::string>(identity["version"]);
    rv::check_name("endpoint", endpoint);
    rv::check_name("model", name);
    rv::check_version(version);
    return Rcpp::XPtr<Box>(new Box(info, evaluate, {endpoint, name, version, "in-memory"}));
  });
}

// *tables*: serialized frames, one a request; returns the serialized parcel.
// [[Rcpp::export(rng = false)]]
SEXP box_parcel(const Rcpp::List& tables, const std::string& endpoint, double now_unix_us, double budget_us,
                const std::string& traceparent) {
  return rv::guarded([&]() -> SEXP {
    rv::v1::Parcel parcel;
    parcel.set_parcel_id(rv::new_id());
    parcel.set_endpoint(endpoint);
    parcel.set_router("in-memory");
    parcel.set_sealed_unix_us(static_cast<int64_t>(now_unix_us));
    std::vector<rv::v1::Frame> frames(tables.size());
    std::vector<const rv::v1::Frame*> pointers;
    for (R_xlen_t i = 0; i < tables.size(); ++i) {
      frames[i].ParseFromString(rv::octets_of(tables[i]));
      pointers.push_back(&frames[i]);
      auto* item = parcel.add_items();
      item->set_request_id(rv::new_id());
      item->set_rows(frames[i].rows());
      item->set_budget_us(static_cast<int64_t>(budget_us));
      item->set_deadline_unix_us(parcel.sealed_unix_us() + item->budget_us());
      item->set_traceparent(traceparent);
    }
    *parcel.mutable_inputs() = rv::join_frames(pointers);
    return rv::raw_of(parcel.SerializeAsString());
  });
}

// NULL: the octets are no parcel.
// [[Rcpp::export(rng = false)]]
SEXP box_parcel_facts(SEXP raw) {
  rv::v1::Parcel parcel;
  if (!parcel.ParseFromString(rv::octets_of(raw))) return R_NilValue;
  return Rcpp::List::create(Rcpp::_["parcel_id"] = parcel.parcel_id(),
                            Rcpp::_["sealed_unix_us"] = static_cast<double>(parcel.sealed_unix_us()));
}

// *deliveries*: lists of parcel, sequence, number, age_us.
// [[Rcpp::export(rng = false)]]
SEXP box_deliver(SEXP pointer, const Rcpp::List& deliveries, double now_unix_us) {
  return rv::guarded([&]() -> SEXP {
    const Rcpp::XPtr<Box> box(pointer);
    box->now_unix_us = static_cast<int64_t>(now_unix_us);
    std::vector<rv::Delivery> given(deliveries.size());
    std::vector<const rv::Delivery*> pointers;
    for (R_xlen_t i = 0; i < deliveries.size(); ++i) {
      const Rcpp::List delivery(static_cast<SEXP>(deliveries[i]));
      given[i].parcel.ParseFromString(rv::octets_of(delivery["parcel"]));
      given[i].sequence = static_cast<uint64_t>(Rcpp::as<double>(delivery["sequence"]));
      given[i].number = static_cast<unsigned>(Rcpp::as<double>(delivery["number"]));
      given[i].age_us = static_cast<int64_t>(Rcpp::as<double>(delivery["age_us"]));
      given[i].received_unix_us = box->now_unix_us;
      pointers.push_back(&given[i]);
    }
    Rcpp::List scores;
    for (const auto& score : box->scorer.score_parcels(pointers)) scores.push_back(score_list(score));
    return scores;
  });
}

// [[Rcpp::export(rng = false)]]
SEXP box_score_parse(SEXP raw) {
  return rv::guarded([&]() -> SEXP {
    rv::v1::ParcelScore score;
    score.ParseFromString(rv::octets_of(raw));
    return score_list(score);
  });
}
