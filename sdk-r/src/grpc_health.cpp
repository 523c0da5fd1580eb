// Asks a server's health. The messages of grpc.health.v1 have one field each, a text and a number, as these of
// protobuf's own have: what is on the wire is the same.

#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>

#include "fault.h"
#include "grpc_channel.h"
#include "r_model.h"
#include "text.h"

namespace rv {

namespace {
constexpr const char* kCheck = "/grpc.health.v1.Health/Check";

std::string status_name(int status) {
  const char* names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  return status >= 0 && status < 4 ? names[status] : "in state " + std::to_string(status);
}

std::string why(const grpc::Status& status, const std::string& address, const std::string& service, int64_t timeout_ms) {
  switch (status.error_code()) {
    case grpc::StatusCode::NOT_FOUND: return "no service " + quoted(service) + " at " + address;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "no answer from " + address + " within " + shown(static_cast<double>(timeout_ms) / 1000) + " s";
    case grpc::StatusCode::UNIMPLEMENTED: return "no health service at " + address;
    case grpc::StatusCode::UNAVAILABLE: return "no connection to " + address + ": " + status.error_message();
    default: return address + ": " + status.error_message();
  }
}

// Throws Fault (UNAVAILABLE) if the server does not say.
std::string health_of(const std::string& address, const std::string& service, int64_t timeout_ms,
                      const Security& security) {
  grpc::TemplatedGenericStub<google::protobuf::StringValue, google::protobuf::Int32Value> stub(
      grpc::CreateChannel(address, channel_credentials(security)));
  google::protobuf::StringValue request;
  request.set_value(service);
  google::protobuf::Int32Value reply;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
  grpc::CompletionQueue queue;
  grpc::Status status;
  const auto reader = stub.PrepareUnaryCall(&context, kCheck, request, &queue);
  reader->StartCall();
  reader->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);  // the deadline ends it
  if (status.ok()) return status_name(reply.value());
  throw Fault(v1::ERROR_CODE_UNAVAILABLE, why(status, address, service, timeout_ms), {{"address", address}});
}
}  // namespace

}  // namespace rv

// [[Rcpp::export(rng = false)]]
SEXP health_status(const std::string& address, const std::string& service, double timeout_ms,
                   const Rcpp::List& security) {
  return rv::guarded([&]() -> SEXP {
    return Rcpp::wrap(rv::health_of(address, service, static_cast<int64_t>(timeout_ms), rv::security_of(security)));
  });
}
