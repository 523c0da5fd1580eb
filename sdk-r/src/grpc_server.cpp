#include "grpc_server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <climits>

#include "grpc_calls.h"
#include "log.h"
#include "rendezvous/v1/score.grpc.pb.h"

namespace rv {

namespace {
constexpr const char* kService = "rendezvous.v1.Score";
constexpr int kPingIntervalMs = 5000;
constexpr int kReceivedAtMost = 4;  // times the limit: what is larger is refused by gRPC, in its own words

int times_limit(int limit) { return limit > INT_MAX / kReceivedAtMost ? INT_MAX : limit * kReceivedAtMost; }

using Base = v1::Score::WithCallbackMethod_Describe<
    v1::Score::WithRawCallbackMethod_Score<v1::Score::WithRawCallbackMethod_ScoreStream<v1::Score::Service>>>;

class ScoreService final : public Base {
 public:
  explicit ScoreService(const Desk& desk) : desk_(desk) {}

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context, const v1::DescribeRequest* request,
                                     v1::ModelInfo* info) override {
    auto* reactor = context->DefaultReactor();
    try {
      desk_.check_addressed(request->endpoint());
      *info = desk_.info;
      reactor->Finish(grpc::Status::OK);
    } catch (const Fault& fault) {
      context->AddTrailingMetadata(kErrorMetadataKey, fault.error().SerializeAsString());
      reactor->Finish(status_of(fault));
    }
    return reactor;
  }

  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* reply) override {
    return begin_score(desk_, context, *request, reply);
  }

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ScoreStream(
      grpc::CallbackServerContext* context) override {
    return begin_stream(desk_, *context);
  }

 private:
  const Desk& desk_;
};
}  // namespace

struct GrpcServer::Parts {
  Parts(const ServeOptions& options, Inbox& inbox) : desk(options, inbox), service(desk) {}

  Desk desk;
  ScoreService service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

GrpcServer::GrpcServer(const ServeOptions& options, Inbox& inbox) : parts_(std::make_unique<Parts>(options, inbox)) {
  gpr_set_log_function([](gpr_log_func_args* line) { log(Level::debug, std::string("gRPC: ") + line->message); });
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  const std::string address = options.grpc_host + ":" + std::to_string(options.grpc_port);
  grpc::ServerBuilder builder;
  // By default a second process shares the port in silence, and clients see half of each.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMs);
  builder.SetMaxReceiveMessageSize(times_limit(options.max_message_bytes));
  builder.SetMaxSendMessageSize(options.max_message_bytes);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &parts_->port);
  builder.RegisterService(&parts_->service);
  parts_->server = builder.BuildAndStart();
  if (parts_->server && parts_->port != 0) return;
  throw Fault(v1::ERROR_CODE_UNAVAILABLE,
              "cannot listen on " + address + ": the port is taken or not allowed; choose another, or 0 for a free one",
              {{"address", address}});
}

GrpcServer::~GrpcServer() { shut_down(0); }

int GrpcServer::port() const { return parts_->port; }

void GrpcServer::open(const v1::ModelInfo& info) {
  parts_->desk.info = info;
  parts_->desk.is_open = true;
  auto* health = parts_->server->GetHealthCheckService();
  health->SetServingStatus("", true);
  health->SetServingStatus(kService, true);
}

void GrpcServer::set_healthy(bool is_healthy) {
  if (!parts_->desk.is_open || parts_->desk.is_closing) return;
  auto* health = parts_->server->GetHealthCheckService();
  health->SetServingStatus("", is_healthy);
  health->SetServingStatus(kService, is_healthy);
}

void GrpcServer::shut_down(int64_t grace_ms) {
  if (!parts_->server || parts_->desk.is_closing.exchange(true)) return;
  parts_->server->GetHealthCheckService()->SetServingStatus(false);
  parts_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(grace_ms));
}

}  // namespace rv
