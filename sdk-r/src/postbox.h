// A model at its postbox: takes parcels into the inbox, publishes their scores, acknowledges. Its threads never touch R.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "consumer.h"
#include "counters.h"
#include "inbox.h"
#include "nats_link.h"
#include "options.h"
#include "pull.h"
#include "registration.h"

namespace rv {

class Postbox {
 public:
  // Begins to connect; waits for the broker, the stream and the buckets as long as it takes, in a thread of its own.
  Postbox(const ServeOptions& options, const v1::ModelInfo& info, const std::string& grpc_address, Inbox& inbox,
          const std::atomic<bool>& stop);
  ~Postbox();

  // Whether parcels are being read.
  bool is_ready() const { return is_ready_; }
  // Whether the broker refuses this model's key or certificate; it is tried again.
  bool is_refused() const { return link_.is_refused(); }
  // Whether, after *stop*, nothing more will be put into the inbox.
  bool has_stopped() const { return has_stopped_; }
  int64_t max_score_bytes() const;

  // Publishes the scores, then acknowledges: both leave in this order with the next flush. A parcel whose score could
  // not be published is left to come again. R's thread.
  // *took_us*: what scoring them took.
  void answer(const std::vector<std::shared_ptr<Waiting>>& batch, const std::vector<v1::ParcelScore>& scores,
              int64_t took_us);
  // What was answered before must have left: what comes next may end this process. R's thread.
  void flush();
  // Gives up on parcels, not acknowledged: they come again. R's thread.
  void leave(const std::vector<std::shared_ptr<Waiting>>& batch);
  // Hands parcels back at once.
  void hand_back(const std::vector<std::shared_ptr<Waiting>>& parcels);
  // Defends what is held against redelivery; called often, from the thread that watches.
  void signal_progress();
  // Removes the replica's entry, flushes and closes. R's thread, after `has_stopped`.
  void close();

 private:
  void run();
  bool open();
  void keep_registered();
  void take(natsMsg* msg);
  bool answer_one(const Waiting& waiting, const v1::ParcelScore& score);
  void publish_score(const v1::Parcel& parcel, const v1::ParcelScore& score);
  void settle(const std::string& ack_subject, const char* what);
  bool sleep(int64_t ms) const;

  const ServeOptions& options_;
  Inbox& inbox_;
  const std::atomic<bool>& stop_;
  Counters counters_;
  NatsLink link_;
  ModelConsumer consumer_;
  Registration registration_;
  ContinuousPull pull_;
  std::atomic<bool> is_ready_{false};
  std::atomic<bool> has_stopped_{false};
  std::thread reading_;
  std::thread registering_;
};

// How many parcels may be taken ahead: as many as are scored in 20 ms, at most twice as many as now. What waits is scored
// as one table, so that more is taken ahead in a backlog of cheap parcels. A replica that dies delays what it had taken
// by `ack_wait`; where one did (*is_again*), or nothing is to be taken ahead (1), it stays at the *least*.
int next_credit(int present, int least, int scored, int64_t took_us, bool is_again);

}  // namespace rv
