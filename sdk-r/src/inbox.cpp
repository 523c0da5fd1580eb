#include "inbox.h"

#include <algorithm>
#include <chrono>

namespace rv {

void Inbox::put(std::shared_ptr<Waiting> parcel) {
  const std::lock_guard<std::mutex> lock(mutex_);
  parcels_.push_back(std::move(parcel));
  arrived_.notify_one();
}

bool Inbox::put(std::shared_ptr<Call> call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (calls_.size() >= capacity_) return false;
  calls_.push_back(std::move(call));
  arrived_.notify_one();
  return true;
}

Work Inbox::take(int64_t timeout_ms, bool calls_only) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (calls_.empty() && (calls_only || parcels_.empty())) arrived_.wait_for(lock, std::chrono::milliseconds(timeout_ms));
  Work work;
  // Both doors take turns.
  if (!calls_.empty() && (!was_call_ || calls_only || parcels_.empty())) {
    work.call = calls_.front();
    calls_.pop_front();
    was_call_ = true;
  } else if (!calls_only && !parcels_.empty()) {
    work.parcels = scoring_ = next_batch();
    was_call_ = false;
  }
  return work;
}

void Inbox::done() {
  const std::lock_guard<std::mutex> lock(mutex_);
  scoring_.clear();
}

std::vector<std::shared_ptr<Waiting>> Inbox::give_back() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::shared_ptr<Waiting>> given(parcels_.begin(), parcels_.end());
  parcels_.clear();
  return given;
}

std::vector<std::shared_ptr<Waiting>> Inbox::held() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::shared_ptr<Waiting>> all = scoring_;
  all.insert(all.end(), parcels_.begin(), parcels_.end());
  return all;
}

bool Inbox::has_calls() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return !calls_.empty();
}

void Inbox::wake() { arrived_.notify_all(); }

// A parcel that came before may have ended a process. It is scored alone, after what waits for the first time; of
// several such the first and the last take turns, so that a deadly one does not take others along each time.
std::vector<std::shared_ptr<Waiting>> Inbox::next_batch() {
  std::vector<std::shared_ptr<Waiting>> again;
  for (const auto& waiting : parcels_) {
    if (waiting->delivery.number > 1) again.push_back(waiting);
  }
  if (!again.empty() && (was_first_time_ || again.size() == parcels_.size())) {
    was_first_time_ = false;
    std::sort(again.begin(), again.end(),
              [](const auto& l, const auto& r) { return l->delivery.sequence < r->delivery.sequence; });
    const auto chosen = again.front()->delivery.number % 2 ? again.front() : again.back();
    parcels_.erase(std::find(parcels_.begin(), parcels_.end(), chosen));
    return {chosen};
  }
  was_first_time_ = true;
  std::vector<std::shared_ptr<Waiting>> batch;
  int64_t rows = 0;
  for (auto waiting = parcels_.begin(); waiting != parcels_.end();) {
    if ((*waiting)->delivery.number > 1) {
      ++waiting;
      continue;
    }
    // Not yet checked: it may be anything.
    rows += std::clamp<int64_t>((*waiting)->delivery.parcel.inputs().rows(), 0, max_joined_rows_ + 1);
    if (!batch.empty() && rows > max_joined_rows_) break;
    batch.push_back(*waiting);
    waiting = parcels_.erase(waiting);
  }
  return batch;
}

}  // namespace rv
