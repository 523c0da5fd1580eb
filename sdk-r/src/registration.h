// Tells the installation what serves: the model once, the replica every two seconds (P91, P92).
#pragma once

#include <string>

#include "counters.h"
#include "nats_link.h"
#include "options.h"
#include "rendezvous/v1/model.pb.h"

namespace rv {

class Registration {
 public:
  Registration(NatsLink& link, const ServeOptions& options, const v1::ModelInfo& info, const std::string& grpc_address,
               const Counters& counters);

  // Writes the model's entry, making the buckets where they are missing. Throws NatsError.
  void register_model();
  // Writes the replica's entry. Throws NatsError.
  void refresh();
  // Takes the replica's entry away, so that nobody counts on it for the rest of its time to live.
  void remove();

 private:
  void ensure_bucket(const char* bucket, int64_t history, int64_t ttl_s, bool in_memory);
  void put(const std::string& bucket, const std::string& key, const std::string& value);

  NatsLink& link_;
  const Counters& counters_;
  const std::string model_key_;
  const std::string replica_key_;
  const std::string model_json_;
  const std::string status_;  // what does not change, an unfinished JSON object
};

}  // namespace rv
