// Names in the postbox: subjects, streams, consumers, buckets, keys and limits; identities. No I/O.
// Source: docs/protocol.md, section "Names".
#pragma once

#include <cstdint>
#include <string>

namespace rv {

constexpr int64_t kMaxParcelBytes = 900 * 1024;
constexpr int kMaxAckPending = 1000;
constexpr unsigned kMaxDeliver = 5;
constexpr const char* kModelsBucket = "rv_models";
constexpr const char* kReplicasBucket = "rv_replicas";
constexpr int64_t kReplicasTtlSeconds = 15;
constexpr int64_t kReplicasRefreshMs = 2000;
constexpr const char* kErrorMetadataKey = "rendezvous-error-bin";
constexpr const char* kRetryAfterMetadataKey = "retry-after-ms";
constexpr const char* kRetryAfterAttribute = "retry_after_ms";

// Whether the text may name an endpoint, model, router, replica or request.
bool is_name(const std::string& value);

// Returns the value, or refuses it (INVALID_REQUEST).
const std::string& check_name(const std::string& kind, const std::string& value);
const std::string& check_version(const std::string& value);

std::string version_token(const std::string& version);
std::string durable_stream(const std::string& endpoint);
std::string input_subject(const std::string& endpoint);
std::string raw_subject(const std::string& endpoint, int stage);
std::string score_subject(const std::string& endpoint, const std::string& model, const std::string& router);
std::string consumer_name(const std::string& model, const std::string& version);
std::string model_key(const std::string& endpoint, const std::string& model, const std::string& version);

// A new UUID version 7 as canonical text. May be called from any thread. Source: RFC 9562, section 5.7.
std::string new_id();

// Whether the text is a W3C `traceparent`.
bool is_traceparent(const std::string& text);

// Microseconds since 1970-01-01 UTC by the wall clock; of a clock that only goes forward.
int64_t unix_us();
int64_t monotonic_us();

}  // namespace rv
