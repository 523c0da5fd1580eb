// Continuous pull: a durable JetStream consumer read without a round trip for each message.
//
// Pull requests stand at the server, in two halves that run out at different times, so that one of them always waits
// for the next message. Every request counts against the credit: at no time are more messages on their way or
// unprocessed than that. Written on the wire: libnats' own fetch of several messages overruns its array (3.4.1).
//
// Liveness rule: when neither a message nor a heartbeat came for two intervals although a request stands, or the
// consumer is gone, or the connection was lost and is back, the subscription is rebuilt, with growing pauses.
// Source: docs/protocol.md, P20, P30.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>

#include "nats_link.h"

namespace rv {

class ContinuousPull {
 public:
  // `ensure` makes the consumer where it is missing and throws NatsError while it cannot; `on_message` takes a message.
  ContinuousPull(NatsLink& link, std::string stream, std::string consumer, int credit, std::function<void()> ensure,
                 std::function<void(natsMsg*)> on_message);
  ~ContinuousPull();

  // Reads until *stop*; then hands back (nak) what is on its way. Belongs to one thread.
  void run(const std::atomic<bool>& stop);

  // Gives back the credit of *count* processed messages; from now on the credit is *credit*. What it asks for leaves
  // with the next flush. Any thread.
  void release(int count, int credit);
  int credit();

 private:
  void subscribe();
  void unsubscribe();
  void receive(natsMsg* msg);
  void take_status(natsMsg* msg, const std::string& status);
  void check(int64_t slept_us);
  void rebuild(const std::string& reason, bool is_gone, const std::atomic<bool>& stop);
  void hand_back();
  void renew();
  void ask(int batch, int64_t expires_ms);
  int64_t next_pause_ms();
  bool pause(int64_t ms, const std::atomic<bool>& stop) const;

  NatsLink& link_;
  const std::string subject_;
  const std::string name_;
  const std::function<void()> ensure_;
  const std::function<void(natsMsg*)> on_message_;

  std::mutex mutex_;  // guards what follows
  int credit_;
  natsSubscription* subscription_ = nullptr;
  std::string inbox_;
  int standing_ = 0;
  int held_ = 0;
  bool is_stopping_ = false;

  // Of the reading thread.
  int64_t heard_us_ = 0;
  int seen_reconnects_ = 0;
  int failures_ = 0;
  std::string rebuild_reason_;
  bool rebuild_is_gone_ = false;
};

}  // namespace rv
