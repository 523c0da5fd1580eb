// Serves the scorecard as a model: gRPC and the messages of proto/rendezvous/v1, no SDK.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <regex>
#include <thread>

#include "model.h"

namespace {

constexpr int64_t kMaxRows = 100'000;  // a request that claims more is refused before anything of that size is made
constexpr std::chrono::seconds kGrace(5);

std::string setting(const char* name, const char* otherwise) {
  const char* value = std::getenv((std::string("RENDEZVOUS_") + name).c_str());
  return value != nullptr && *value != '\0' ? value : otherwise;
}

int64_t unix_us() {
  using namespace std::chrono;
  return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

// UUID version 7: milliseconds, then chance (RFC 9562, section 5.7).
std::string new_id() {
  unsigned char octets[16];
  if (getrandom(octets, sizeof octets, 0) != sizeof octets) throw std::runtime_error("no random bytes to be had");
  const uint64_t milliseconds = static_cast<uint64_t>(unix_us() / 1000);
  for (int i = 0; i < 6; ++i) octets[i] = static_cast<unsigned char>(milliseconds >> (40 - 8 * i));
  octets[6] = static_cast<unsigned char>(0x70 | (octets[6] & 0x0f));
  octets[8] = static_cast<unsigned char>(0x80 | (octets[8] & 0x3f));
  std::string text;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += "0123456789abcdef"[octets[i] >> 4];
    text += "0123456789abcdef"[octets[i] & 15];
  }
  return text;
}

bool is_name(const std::string& text) {
  static const std::regex form("[A-Za-z0-9_-]{1,64}");
  return text.size() <= 64 && std::regex_match(text, form);
}

// The request's own, unchanged, since no span is made here; empty if there is none or it is malformed.
std::string traceparent(const v1::ScoreRequest& request, const grpc::ServerContext& context) {
  static const std::regex form("(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}");
  std::string parent = request.traceparent();
  const auto field = context.client_metadata().find("traceparent");
  if (parent.empty() && field != context.client_metadata().end()) {
    parent.assign(field->second.data(), field->second.size());
  }
  return parent.size() == 55 && std::regex_match(parent, form) ? parent : "";
}

// An error as the call's status; programs read the whole of it from the trailing metadata.
grpc::Status to_status(grpc::ServerContext& context, const v1::Error& error) {
  context.AddTrailingMetadata("rendezvous-error-bin", error.SerializeAsString());
  switch (error.code()) {
    case v1::ERROR_CODE_UNKNOWN_ENDPOINT:
    case v1::ERROR_CODE_UNKNOWN_MODEL:
      return {grpc::StatusCode::NOT_FOUND, error.message()};
    case v1::ERROR_CODE_MODEL_FAILED:
      return {grpc::StatusCode::INTERNAL, error.message()};
    default:
      return {grpc::StatusCode::INVALID_ARGUMENT, error.message()};
  }
}

v1::Error to_error(const Refusal& refusal) {
  v1::Error error;
  error.set_code(refusal.code);
  error.set_message(refusal.what());
  if (!refusal.column.empty()) (*error.mutable_attributes())["column"] = refusal.column;
  return error;
}

v1::Error to_error(const std::exception& exception) {
  v1::Error error;
  error.set_code(v1::ERROR_CODE_MODEL_FAILED);
  std::string message = std::string("the model raised std::exception: ") + cut(exception.what());
  std::replace(message.begin(), message.end(), '\n', ' ');
  error.set_message(message);
  (*error.mutable_attributes())["exception"] = "std::exception";
  return error;
}

class Server final : public v1::Score::Service {
 public:
  const std::string endpoint = setting("ENDPOINT", "scorecard");
  const std::string name = setting("MODEL", "cpp");
  const std::string version = setting("VERSION", "1");

  grpc::Status Describe(grpc::ServerContext* context, const v1::DescribeRequest* request,
                        v1::ModelInfo* info) override {
    try {
      check_endpoint(request->endpoint());
    } catch (const Refusal& refusal) {
      return to_status(*context, to_error(refusal));
    }
    *info = description();
    info->set_name(name);
    info->set_version(version);
    info->set_language("c++");
    info->set_runtime("g++ " __VERSION__);
    *info->mutable_signature() = signature_;
    v1::Package* package = info->add_packages();
    package->set_name("grpc++");
    package->set_version(grpc::Version());
    return grpc::Status::OK;
  }

  grpc::Status Score(grpc::ServerContext* context, const v1::ScoreRequest* request, v1::ScoreReply* reply) override {
    answer(*context, *request, *reply);
    return reply->has_error() ? to_status(*context, reply->error()) : grpc::Status::OK;
  }

  // In the order asked: scoring takes microseconds, so nothing is won by more threads.
  grpc::Status ScoreStream(grpc::ServerContext* context,
                           grpc::ServerReaderWriter<v1::ScoreReply, v1::ScoreRequest>* stream) override {
    v1::ScoreRequest request;
    while (stream->Read(&request)) {
      v1::ScoreReply reply;
      answer(*context, request, reply);
      if (!stream->Write(reply)) break;
    }
    return grpc::Status::OK;
  }

 private:
  // Never throws: what is wrong is in the reply, as ScoreStream sends it.
  void answer(const grpc::ServerContext& context, const v1::ScoreRequest& request, v1::ScoreReply& reply) const {
    reply.set_request_id(request.request_id());
    reply.set_model(name);
    reply.set_version(version);
    reply.set_traceparent(traceparent(request, context));
    reply.mutable_timing()->set_received_unix_us(unix_us());
    try {
      const Columns columns = check(request);
      if (request.request_id().empty()) reply.set_request_id(new_id());
      reply.mutable_timing()->set_started_unix_us(unix_us());
      reply.mutable_outputs()->set_rows(request.inputs().rows());
      score(columns, *reply.mutable_outputs());
      reply.mutable_timing()->set_finished_unix_us(unix_us());
      return;
    } catch (const Refusal& refusal) {
      *reply.mutable_error() = to_error(refusal);
    } catch (const std::exception& exception) {  // one bad request must not end the process
      std::cerr << "the model failed: " << exception.what() << std::endl;
      *reply.mutable_error() = to_error(exception);
    }
    reply.clear_outputs();
  }

  Columns check(const v1::ScoreRequest& request) const {
    if (!request.request_id().empty() && !is_name(request.request_id())) {
      throw Refusal(v1::ERROR_CODE_INVALID_REQUEST, "the request id is not allowed: use 1 to 64 of A-Z a-z 0-9 _ -");
    }
    check_endpoint(request.endpoint());
    const std::string& forced = request.diagnostics().force_model();
    if (!forced.empty() && forced != name) {
      const std::string here = "here is only '" + name + "'";
      throw Refusal(v1::ERROR_CODE_UNKNOWN_MODEL, "model '" + cut(forced) + "' was asked for; " + here);
    }
    check_frame(request.inputs());
    const std::string rows = "the request has " + std::to_string(request.inputs().rows()) + " rows";
    if (request.inputs().rows() < 1) throw Refusal(v1::ERROR_CODE_INVALID_FRAME, rows + ": send at least 1");
    if (request.inputs().rows() > kMaxRows) {
      const std::string limit = std::to_string(kMaxRows);
      throw Refusal(v1::ERROR_CODE_TOO_LARGE, rows + "; the limit is " + limit + ": send it in parts");
    }
    return check_signature(request.inputs(), signature_);
  }

  void check_endpoint(const std::string& asked) const {
    if (asked.empty() || asked == endpoint || asked == name) return;
    const std::string here = "here is model '" + name + "' of endpoint '" + endpoint + "'";
    throw Refusal(v1::ERROR_CODE_UNKNOWN_ENDPOINT, "endpoint '" + cut(asked) + "' is not served here; " + here);
  }

  const v1::Signature signature_ = signature();
};

}  // namespace

int main() {
  // Blocked before any thread is started, so that no thread of gRPC takes them: sigwait below does.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  Server model;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  const std::string host = setting("GRPC_HOST", "127.0.0.1");
  int port = 0;
  builder.AddListeningPort(host + ":" + setting("GRPC_PORT", "0"), grpc::InsecureServerCredentials(), &port);
  // By default a second process shares the port in silence, and clients see half of each.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Clients ping every 30 s; by default gRPC takes that for an attack and closes the connection.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder.RegisterService(&model);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::cerr << "cannot listen on " << host << ": choose another RENDEZVOUS_GRPC_PORT, or 0 for a free one\n";
    return 1;
  }
  server->GetHealthCheckService()->SetServingStatus(v1::Score::service_full_name(), true);
  std::cout << "ready: model " << model.name << ":" << model.version << " of endpoint " << model.endpoint
            << ", replica " << model.name << "-" << getpid() << ", grpc " << host << ":" << port << std::endl;

  int received = 0;
  sigwait(&signals, &received);
  std::thread([signals] {  // a second signal ends at once
    int second = 0;
    sigwait(&signals, &second);
    std::_Exit(130);
  }).detach();
  server->GetHealthCheckService()->Shutdown();  // NOT_SERVING, so that callers go elsewhere
  server->Shutdown(std::chrono::system_clock::now() + kGrace);  // open streams may never end by themselves
  return 0;
}
