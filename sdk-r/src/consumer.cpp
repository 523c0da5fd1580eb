#include "consumer.h"

#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <cmath>

#include "log.h"
#include "names.h"
#include "text.h"

namespace rv {

namespace {
constexpr int64_t kRequestTimeoutMs = 2000;
constexpr int kNotFound = 404;
constexpr int kNoConsumer = 10014;

double number_in(const google::protobuf::Struct& fields, const std::string& name) {
  const auto found = fields.fields().find(name);
  return found == fields.fields().end() ? 0 : found->second.number_value();
}

std::string text_in(const google::protobuf::Struct& fields, const std::string& name) {
  const auto found = fields.fields().find(name);
  return found == fields.fields().end() ? "" : found->second.string_value();
}

void set(google::protobuf::Struct* fields, const std::string& name, double value) {
  (*fields->mutable_fields())[name].set_number_value(value);
}

void set(google::protobuf::Struct* fields, const std::string& name, const std::string& value) {
  (*fields->mutable_fields())[name].set_string_value(value);
}
}  // namespace

std::string to_json(const google::protobuf::Message& message) {
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json);
  if (!status.ok()) throw NatsError("a message cannot be written as JSON", NATS_ERR);
  return json;
}

int64_t parse_time_us(const std::string& stamp) {
  google::protobuf::Timestamp parsed;
  if (!google::protobuf::util::TimeUtil::FromString(stamp, &parsed)) {
    throw NatsError("the server's time is no time: " + stamp.substr(0, 40), NATS_ERR);
  }
  return google::protobuf::util::TimeUtil::TimestampToMicroseconds(parsed);
}

ModelConsumer::ModelConsumer(NatsLink& link, const ServeOptions& options)
    : stream(durable_stream(options.endpoint)),
      name(consumer_name(options.name, options.version)),
      link_(link),
      endpoint_(options.endpoint),
      subject_(options.enricher ? raw_subject(options.endpoint, options.enricher) : input_subject(options.endpoint)),
      ack_wait_us_(options.ack_wait_us),
      offset_us_(unix_us() - monotonic_us()) {}

google::protobuf::Struct ModelConsumer::info() {
  return link_.request_json("$JS.API.CONSUMER.INFO." + stream + "." + name, "", kRequestTimeoutMs);
}

void ModelConsumer::ensure() {
  google::protobuf::Struct found;
  try {
    found = info();
  } catch (const NatsError& error) {
    if (error.code != kNotFound || (link_.has_key() && error.err_code == kNoConsumer)) throw;
    return make();
  }
  const auto config = found.fields().find("config");
  if (config == found.fields().end()) throw NatsError("the consumer's info has no config", NATS_ERR);
  const auto& fields = config->second.struct_value();
  const double wait_ns = number_in(fields, "ack_wait");
  const bool is_same_wait = std::fabs(wait_ns - static_cast<double>(ack_wait_us_) * 1e3) < 1e3;
  const std::string subject = text_in(fields, "filter_subject");
  if (subject != subject_) {
    align(fields, "reads " + subject + ", not this one's " + subject_);
  } else if (!is_same_wait) {
    align(fields, "has ack_wait " + shown(wait_ns / 1e9) + " s, not this model's " +
                      shown(static_cast<double>(ack_wait_us_) / 1e6) + " s");
  } else if (number_in(fields, "max_deliver") != kMaxDeliver) {
    align(fields, "has another max_deliver than this model's");
  }
}

// Where it is not allowed, what is configured is kept to.
void ModelConsumer::align(const google::protobuf::Struct& config, const std::string& difference) {
  if (!is_difference_said_ && !link_.has_key()) {
    try {
      return adjust(config);
    } catch (const NatsError& error) {
      if (error.status != NATS_NOT_PERMITTED) throw;
    }
  }
  if (is_difference_said_.exchange(true)) return;
  log(Level::warning, "consumer " + name + " " + difference + ", and this model may not change it: it stays");
}

void ModelConsumer::make() {
  google::protobuf::Struct config;
  set(&config, "durable_name", name);
  set(&config, "name", name);
  set(&config, "deliver_policy", "new");
  set(&config, "ack_policy", "explicit");
  set(&config, "ack_wait", static_cast<double>(ack_wait_us_) * 1e3);
  set(&config, "max_deliver", kMaxDeliver);
  set(&config, "replay_policy", "instant");
  set(&config, "max_ack_pending", kMaxAckPending);
  adjust(config);
  log(Level::info, "made consumer " + name + " of stream " + stream);
}

void ModelConsumer::adjust(const google::protobuf::Struct& config) {
  google::protobuf::Struct request;
  set(&request, "stream_name", stream);
  auto* wanted = (*request.mutable_fields())["config"].mutable_struct_value();
  *wanted = config;
  wanted->mutable_fields()->erase("metadata");  // the server's own
  set(wanted, "ack_wait", static_cast<double>(ack_wait_us_) * 1e3);
  set(wanted, "max_deliver", kMaxDeliver);
  set(wanted, "filter_subject", subject_);
  link_.request_json("$JS.API.CONSUMER.DURABLE.CREATE." + stream + "." + name, to_json(request), kRequestTimeoutMs);
}

void ModelConsumer::refresh_clock() {
  const int64_t sent = monotonic_us();
  const auto found = info();
  const int64_t middle = (sent + monotonic_us()) / 2;
  const auto stamp = found.fields().find("ts");
  if (stamp == found.fields().end()) throw NatsError("the server does not tell its time", NATS_ERR);
  offset_us_ = parse_time_us(stamp->second.string_value()) - middle;
}

int64_t ModelConsumer::broker_unix_us() const { return monotonic_us() + offset_us_; }

std::string ModelConsumer::reason(const NatsError& error) const {
  if (error.err_code == kNoConsumer) return "the router makes consumer " + name + " when the endpoint names this model";
  if (error.status == NATS_NOT_PERMITTED) return "this model may not make consumer " + name + ", the router does";
  if (error.code == kNotFound) return "a router makes it when endpoint " + endpoint_ + " is applied";
  return error.what();
}

}  // namespace rv
