// What a replica has done, and how fast. May be used from any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "rendezvous/v1/parcel.pb.h"

namespace rv {

namespace v1 = ::rendezvous::v1;

class Counters {
 public:
  void count(const v1::ParcelScore& score, int64_t received_unix_us);

  // Adds the totals, and the 0.5 and 0.99 quantiles of the last 512 durations in milliseconds, to a JSON object.
  std::string as_json_fields() const;

 private:
  double quantile_ms(double share) const;

  mutable std::mutex mutex_;
  int64_t parcels_ = 0;
  int64_t scored_items_ = 0;
  int64_t scored_rows_ = 0;
  int64_t failed_items_ = 0;
  int64_t expired_items_ = 0;
  std::deque<double> durations_ms_;
};

}  // namespace rv
