#include "registration.h"

#include <unistd.h>

#include "consumer.h"
#include "log.h"
#include "names.h"

namespace rv {

namespace {
constexpr int64_t kRequestTimeoutMs = 2000;
constexpr int64_t kModelsHistory = 8;
constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;

// A bucket of a cluster is kept on so many servers, of which one may fail; of a single server, on that.
constexpr int kClusterServers = 3;
constexpr int kTooFewPeers = 10005;
constexpr int kNotClustered = 10074;
constexpr int kNameInUse = 10058;

std::string bucket_config(const char* bucket, int64_t history, int64_t ttl_s, bool in_memory, int servers) {
  const int64_t two_minutes = 120;
  const int64_t window_s = ttl_s > 0 && ttl_s < two_minutes ? ttl_s : two_minutes;
  return std::string("{\"name\": \"KV_") + bucket + "\", \"subjects\": [\"$KV." + bucket +
         ".>\"], \"max_msgs_per_subject\": " + std::to_string(history) +
         ", \"max_age\": " + std::to_string(ttl_s * kNanosecondsPerSecond) +
         ", \"duplicate_window\": " + std::to_string(window_s * kNanosecondsPerSecond) + ", \"storage\": \"" +
         (in_memory ? "memory" : "file") + "\", \"num_replicas\": " + std::to_string(servers) +
         ", \"retention\": \"limits\", \"discard\": \"new\", \"max_msgs\": -1, \"max_bytes\": -1, "
         "\"max_consumers\": -1, \"max_msg_size\": -1, \"allow_direct\": true, \"allow_rollup_hdrs\": true, "
         "\"deny_delete\": true}";
}

std::string field(const std::string& name, const std::string& value) {
  return "\"" + name + "\": \"" + value + "\", ";  // names, versions and addresses hold nothing to escape
}
}  // namespace

Registration::Registration(NatsLink& link, const ServeOptions& options, const v1::ModelInfo& info,
                           const std::string& grpc_address, const Counters& counters)
    : link_(link),
      counters_(counters),
      model_key_(model_key(options.endpoint, options.name, options.version)),
      replica_key_(model_key_ + "." + check_name("replica", options.replica)),
      model_json_(to_json(info)),
      status_("{" + field("replica", options.replica) + field("grpc", grpc_address) + "\"pid\": " +
              std::to_string(getpid()) + ", \"started_unix_us\": " + std::to_string(unix_us()) + ", " +
              field("model", options.name) + field("version", options.version) + field("endpoint", options.endpoint)) {}

void Registration::register_model() {
  ensure_bucket(kModelsBucket, kModelsHistory, 0, false);
  ensure_bucket(kReplicasBucket, 1, kReplicasTtlSeconds, true);
  put(kModelsBucket, model_key_, model_json_);
}

void Registration::refresh() { put(kReplicasBucket, replica_key_, status_ + counters_.as_json_fields() + "}"); }

void Registration::remove() {
  natsMsg* made = nullptr;
  const std::string subject = std::string("$KV.") + kReplicasBucket + "." + replica_key_;
  if (natsMsg_Create(&made, subject.c_str(), nullptr, "", 0) != NATS_OK) return;
  const Msg msg(made);
  natsMsg* reply = nullptr;
  natsStatus status = natsMsgHeader_Set(made, "KV-Operation", "DEL");
  if (status == NATS_OK) status = natsConnection_RequestMsg(&reply, link_.raw().get(), made, kRequestTimeoutMs);
  const Msg answer(reply);
  if (status != NATS_OK) {
    log(Level::debug, std::string("replica's entry not removed, it runs out by itself: ") + natsStatus_GetText(status));
  }
}

void Registration::ensure_bucket(const char* bucket, int64_t history, int64_t ttl_s, bool in_memory) {
  const std::string stream = std::string("KV_") + bucket;
  try {
    link_.request_json("$JS.API.STREAM.INFO." + stream, "", kRequestTimeoutMs);
    return;
  } catch (const NatsError& error) {
    if (error.code != 404) throw;
    if (link_.has_key()) throw NatsError("bucket " + stream + " is not there yet, the router makes it", 404, 0);
  }
  for (const int servers : {kClusterServers, 1}) {
    try {
      link_.request_json("$JS.API.STREAM.CREATE." + stream, bucket_config(bucket, history, ttl_s, in_memory, servers),
                         kRequestTimeoutMs);
      log(Level::info, std::string("made bucket ") + bucket);
      return;
    } catch (const NatsError& error) {
      if (error.err_code == kNameInUse) return;  // another process was faster
      const bool is_too_few = error.err_code == kTooFewPeers || error.err_code == kNotClustered;
      if (servers == 1 || !is_too_few) throw;
    }
  }
}

void Registration::put(const std::string& bucket, const std::string& key, const std::string& value) {
  link_.request_json("$KV." + bucket + "." + key, value, kRequestTimeoutMs);
}

}  // namespace rv
