// The one bounded queue between the library threads, which fill it, and R, which alone empties it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "rendezvous/v1/score.pb.h"
#include "scoring.h"

namespace rv {

// A parcel that was delivered and is not yet acknowledged.
struct Waiting {
  Delivery delivery;
  std::string ack_subject;
  int64_t signalled_us = 0;
};

// One request over gRPC, unary or streamed. `finish` and `fail` are called once, from R's thread or at shutdown.
class Call {
 public:
  virtual ~Call() = default;
  // Whether nobody waits for the answer any more.
  virtual bool is_abandoned() = 0;
  // Microseconds left to the call's deadline; negative: it has passed.
  virtual int64_t left_us() = 0;
  virtual void finish(v1::ScoreReply reply) = 0;
  virtual void fail(const Fault& fault) = 0;

  v1::ScoreRequest request;
  std::string traceparent;
  int64_t received_unix_us = 0;
  // When R began with it; 0: not yet.
  int64_t started_unix_us = 0;
};

// What R does next: a batch of parcels to be scored as one table, or one call, or nothing.
struct Work {
  std::vector<std::shared_ptr<Waiting>> parcels;
  std::shared_ptr<Call> call;
};

class Inbox {
 public:
  Inbox(size_t capacity, int64_t max_joined_rows) : capacity_(capacity), max_joined_rows_(max_joined_rows) {}

  // Parcels are bounded by the credit of the pull, calls by the capacity.
  void put(std::shared_ptr<Waiting> parcel);
  // False: the queue is full.
  bool put(std::shared_ptr<Call> call);

  // Waits until there is work or the time is over. The parcels of the work count as being scored until `done`.
  // With *calls_only*, parcels are left for `give_back`.
  Work take(int64_t timeout_ms, bool calls_only);
  void done();

  // Parcels not begun are handed out and forgotten.
  std::vector<std::shared_ptr<Waiting>> give_back();

  // All parcels that are held, begun or not.
  std::vector<std::shared_ptr<Waiting>> held();
  bool has_calls();
  void wake();

 private:
  std::vector<std::shared_ptr<Waiting>> next_batch();

  const size_t capacity_;
  const int64_t max_joined_rows_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::shared_ptr<Waiting>> parcels_;
  std::deque<std::shared_ptr<Call>> calls_;
  std::vector<std::shared_ptr<Waiting>> scoring_;
  bool was_call_ = false;
  bool was_first_time_ = false;
};

}  // namespace rv
