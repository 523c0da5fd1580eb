#include "counters.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace rv {

namespace {
constexpr size_t kWindow = 512;
}

void Counters::count(const v1::ParcelScore& score, int64_t received_unix_us) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++parcels_;
  for (const auto& item : score.items()) {
    if (!item.has_error()) {
      ++scored_items_;
      scored_rows_ += item.rows();
    } else if (item.error().code() == v1::ERROR_CODE_EXPIRED) {
      ++expired_items_;
    } else {
      ++failed_items_;
    }
  }
  durations_ms_.push_back(static_cast<double>(score.timing().finished_unix_us() - received_unix_us) / 1000);
  if (durations_ms_.size() > kWindow) durations_ms_.pop_front();
}

std::string Counters::as_json_fields() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  char text[320];
  std::snprintf(text, sizeof text,
                "\"scored_rows\": %lld, \"scored_items\": %lld, \"failed_items\": %lld, \"expired_items\": %lld, "
                "\"parcels\": %lld, \"p50_ms\": %.3f, \"p99_ms\": %.3f",
                static_cast<long long>(scored_rows_), static_cast<long long>(scored_items_),
                static_cast<long long>(failed_items_), static_cast<long long>(expired_items_),
                static_cast<long long>(parcels_), quantile_ms(0.5), quantile_ms(0.99));
  return text;
}

double Counters::quantile_ms(double share) const {
  if (durations_ms_.empty()) return 0;
  std::vector<double> ordered(durations_ms_.begin(), durations_ms_.end());
  std::sort(ordered.begin(), ordered.end());
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(ordered.size())));
  return ordered[rank ? rank - 1 : 0];
}

}  // namespace rv
