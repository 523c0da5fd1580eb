// From parcels to scores, without any I/O and without R: what the server and the in-memory postbox both run.
//
// A parcel is scored as one table, several waiting parcels as one too. Where the model fails, the table is halved by
// requests until the ones that fail stand alone; the others are answered.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "frame.h"
#include "names.h"
#include "rendezvous/v1/parcel.pb.h"

namespace rv {

// One delivery of a parcel to this replica.
struct Delivery {
  v1::Parcel parcel;
  // Its sequence in the stream.
  uint64_t sequence = 0;
  // Which delivery this is; 1 = the first.
  unsigned number = 1;
  // Microseconds from the moment when the broker stored the parcel to this delivery, by the broker's clock.
  int64_t age_us = 0;
  // When it was received, by this process's clock.
  int64_t received_unix_us = 0;
};

// Whether the parcel's items have one row at least each, and in all as many as its frame (P12).
bool has_rows_of_items(const v1::Parcel& parcel);

// Whether an item's deadline had passed: broker's present time >= stored + budget (P71).
bool is_expired(int64_t stored_unix_us, int64_t budget_us, int64_t broker_now_unix_us);

// What is said of a model in its scores.
struct Identity {
  std::string endpoint;
  std::string name;
  std::string version;
  std::string replica;
  int stage = 0;  // of an enricher; 0: a model
};

// Scores the rows of one sound frame; throws Fault.
using ScoreTable = std::function<v1::Frame(const v1::Frame&)>;
using Clock = std::function<int64_t()>;

// A request that is being scored, as logs name it. Views of the request, which outlives its scoring.
struct RequestName {
  std::string_view request_id;
  std::string_view parcel_id;  // empty: it came over gRPC
  std::string_view traceparent;
};

// Told of each failure that is one request's own.
using OnFailure = std::function<void(const Fault&, const RequestName&)>;

// Scores parcels with one model. Not thread-safe: called from R's thread only.
class ParcelScorer {
 public:
  ParcelScorer(Identity identity, ScoreTable score_table, Clock clock)
      : identity_(std::move(identity)), score_table_(std::move(score_table)), clock_(std::move(clock)) {}

  // Largest serialized score; a larger one is answered with TOO_LARGE for each request.
  int64_t max_bytes = kMaxParcelBytes;
  // Most rows of one table.
  int64_t max_rows = 1'000'000;
  OnFailure on_failure = [](const Fault&, const RequestName&) {};

  // One score for each delivery, in order. Whatever goes wrong is in it; nothing is thrown.
  std::vector<v1::ParcelScore> score_parcels(const std::vector<const Delivery*>& deliveries);

  // Scores the rows of one request; throws Fault as the error of an item in a parcel.
  v1::Frame score_request(const v1::Frame& frame, const RequestName& name);

 private:
  struct Outcome;
  struct Work;

  void check_rows(const v1::Frame& frame) const;
  void admit(Work* work);
  void check_parcel(const Delivery& delivery) const;
  void score_together(std::vector<Work*> works);
  void score_alone(Work* work);
  std::vector<Outcome> score_items(const v1::Frame& table, const std::vector<int64_t>& counts,
                                   const std::vector<RequestName>& names);
  // *name*: of its first request.
  Outcome attempt(const v1::Frame& part, size_t start, size_t stop, const RequestName& name);
  v1::ParcelScore reply(Work* work, int64_t started, int64_t finished);

  Identity identity_;
  ScoreTable score_table_;
  Clock clock_;
};

}  // namespace rv
