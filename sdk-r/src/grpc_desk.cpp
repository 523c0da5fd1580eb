#include "grpc_desk.h"

#include <google/protobuf/stubs/logging.h>

#include "names.h"
#include "rendezvous/v1/score.grpc.pb.h"
#include "text.h"

namespace rv {

namespace {
constexpr size_t kDetailsOctets = 2000;

// Details travel with each octet that is not ASCII written as three.
std::string details_of(const std::string& message) {
  size_t size = 0;
  for (size_t i = 0; i < message.size(); ++i) {
    size += message[i] >= ' ' && message[i] <= '~' && message[i] != '%' ? 1 : 3;
    if (size > kDetailsOctets) return cut_octets(message, i);
  }
  return message;
}
}  // namespace

grpc::Status status_of(const Fault& fault) {
  return {static_cast<grpc::StatusCode>(facts_of(fault.code()).grpc_code), details_of(fault.error().message())};
}

void check_size(const grpc::ByteBuffer& buffer, int limit) {
  if (buffer.Length() <= static_cast<size_t>(limit)) return;
  throw Fault(v1::ERROR_CODE_TOO_LARGE,
              "the request has " + std::to_string(buffer.Length()) + " bytes; the limit is " + std::to_string(limit) +
                  ": send fewer rows a request",
              {{"actual", std::to_string(buffer.Length())}, {"limit", std::to_string(limit)}});
}

std::string traceparent_of(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find("traceparent");
  return found == context.client_metadata().end() ? "" : std::string(found->second.data(), found->second.size());
}

void parse(const grpc::ByteBuffer& buffer, v1::ScoreRequest* request) {
  const google::protobuf::LogSilencer silencer;  // what is wrong is said to the caller
  grpc::ByteBuffer copy = buffer;                // parsing empties it
  if (grpc::SerializationTraits<v1::ScoreRequest>::Deserialize(&copy, request).ok()) return;
  grpc::Slice slice;
  std::string column, where;
  grpc::ByteBuffer again = buffer;
  if (again.DumpToSingleSlice(&slice).ok()) {
    const std::string raw(reinterpret_cast<const char*>(slice.begin()), slice.size());
    where = diagnose_bad_utf8(raw, "rendezvous.v1.ScoreRequest", &column);
  }
  if (where.empty()) throw Fault(v1::ERROR_CODE_INVALID_REQUEST, "the message is no ScoreRequest");
  throw Fault(v1::ERROR_CODE_INVALID_FRAME, where + ": send UTF-8, or the type BYTES", {{"column", column}});
}

void Desk::check_addressed(const std::string& endpoint) const {
  if (!is_open) throw Fault(v1::ERROR_CODE_UNAVAILABLE, "the model is being set up: try again");
  if (is_closing) throw Fault(v1::ERROR_CODE_UNAVAILABLE, "the model is shutting down: try again");
  if (endpoint.empty() || endpoint == options.endpoint || endpoint == options.name) return;
  throw Fault(v1::ERROR_CODE_UNKNOWN_ENDPOINT,
              "endpoint " + quoted(endpoint) + " is not served here; here is model " + quoted(options.name) +
                  " of endpoint " + quoted(options.endpoint),
              {{"endpoint", shown_name(endpoint)}, {"served", options.endpoint}});
}

void Desk::accept(const std::shared_ptr<Call>& call) const {
  auto& request = call->request;
  check_addressed(request.endpoint());
  if (!request.request_id().empty()) check_name("request id", request.request_id());
  const auto& forced = request.diagnostics().force_model();
  if (!forced.empty() && forced != options.name) {
    throw Fault(v1::ERROR_CODE_UNKNOWN_MODEL,
                "model " + quoted(forced) + " was asked for; here is only " + quoted(options.name),
                {{"model", shown_name(forced)}});
  }
  if (request.inputs().rows() < 1) {
    throw Fault(v1::ERROR_CODE_INVALID_FRAME,
                "the request has " + std::to_string(request.inputs().rows()) + " rows: send at least 1",
                {{"rows", std::to_string(request.inputs().rows())}});
  }
  if (request.request_id().empty()) request.set_request_id(new_id());
  if (!request.traceparent().empty()) call->traceparent = request.traceparent();
  call->received_unix_us = unix_us();
  if (inbox.put(call)) return;
  throw Fault(v1::ERROR_CODE_OVERLOADED,
              std::to_string(options.queue_capacity) + " requests wait already, the most there may be: try again later",
              {{"limit", std::to_string(options.queue_capacity)}});
}

grpc::ByteBuffer serialized(const v1::ScoreReply& reply, int limit) {
  const auto size = static_cast<int64_t>(reply.ByteSizeLong());
  if (size > limit) {
    throw Fault(v1::ERROR_CODE_TOO_LARGE,
                "the answer has " + std::to_string(size) + " bytes; the limit is " + std::to_string(limit) +
                    ": send fewer rows a request",
                {{"actual", std::to_string(size)}, {"limit", std::to_string(limit)}});
  }
  grpc::ByteBuffer buffer;
  bool is_own = false;
  grpc::SerializationTraits<v1::ScoreReply>::Serialize(reply, &buffer, &is_own);
  return buffer;
}

}  // namespace rv
