// The durable consumer of a model version, and the broker's clock.
#pragma once

#include <atomic>
#include <string>

#include "nats_link.h"
#include "options.h"

namespace rv {

class ModelConsumer {
 public:
  ModelConsumer(NatsLink& link, const ServeOptions& options);

  const std::string stream;
  const std::string name;

  // Makes the consumer, or brings what it reads, `ack_wait` and `max_deliver` in line, where that is allowed; the router does so for
  // who has a key (P111, P112). Throws NatsError.
  void ensure();

  // Reads the broker's clock. Throws NatsError.
  void refresh_clock();

  // The broker's present time, microseconds since 1970, carried on by a monotonic clock (P71).
  int64_t broker_unix_us() const;

  // Why the consumer could not be ensured, for people.
  std::string reason(const NatsError& error) const;

 private:
  void make();
  void align(const google::protobuf::Struct& config, const std::string& difference);
  void adjust(const google::protobuf::Struct& config);
  google::protobuf::Struct info();

  NatsLink& link_;
  const std::string endpoint_;
  const std::string subject_;
  const int64_t ack_wait_us_;
  std::atomic<bool> is_difference_said_{false};
  std::atomic<int64_t> offset_us_;
};

// RFC 3339 as microseconds since 1970; throws NatsError.
int64_t parse_time_us(const std::string& stamp);

// A message as JSON.
std::string to_json(const google::protobuf::Message& message);

}  // namespace rv
