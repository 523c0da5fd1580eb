#include "grpc_server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <atomic>
#include <climits>
#include <chrono>
#include <deque>
#include <mutex>

#include "log.h"
#include "names.h"
#include "rendezvous/v1/score.grpc.pb.h"
#include "text.h"

namespace rv {

namespace {
constexpr const char* kService = "rendezvous.v1.Score";
constexpr size_t kStreamedAtOnce = 16;
constexpr int kPingIntervalMs = 5000;

constexpr int kReceivedAtMost = 4;  // times the limit: what is larger is refused by gRPC, in its own words
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

grpc::Status status_of(const Fault& fault) {
  return {static_cast<grpc::StatusCode>(facts_of(fault.code()).grpc_code), details_of(fault.error().message())};
}

int times_limit(int limit) { return limit > INT_MAX / kReceivedAtMost ? INT_MAX : limit * kReceivedAtMost; }

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

// Parses a request; refuses what is none, with the column at fault where its text is not UTF-8 (P45).
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

// What all calls share.
struct Desk {
  Desk(const ServeOptions& options, Inbox& inbox) : options(options), inbox(inbox) {}

  const ServeOptions& options;
  Inbox& inbox;
  std::atomic<bool> is_open{false};
  std::atomic<bool> is_closing{false};
  v1::ModelInfo info;

  void check_addressed(const std::string& endpoint) const {
    if (!is_open) throw Fault(v1::ERROR_CODE_UNAVAILABLE, "the model is being set up: try again");
    if (is_closing) throw Fault(v1::ERROR_CODE_UNAVAILABLE, "the model is shutting down: try again");
    if (endpoint.empty() || endpoint == options.endpoint || endpoint == options.name) return;
    throw Fault(v1::ERROR_CODE_UNKNOWN_ENDPOINT,
                "endpoint " + quoted(endpoint) + " is not served here; here is model " + quoted(options.name) +
                    " of endpoint " + quoted(options.endpoint),
                {{"endpoint", shown_name(endpoint)}, {"served", options.endpoint}});
  }

  // Checks a request and queues it; throws Fault.
  void accept(const std::shared_ptr<Call>& call) const {
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
};

// The reply, or the error in its place if it is too large.
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

// Lives from the call's arrival until gRPC is done with it *and* R has answered: R holds it through the inbox.
class UnaryCall final : public Call {
 public:
  class Reactor final : public grpc::ServerUnaryReactor {
   public:
    std::shared_ptr<UnaryCall> call;

   private:
    void OnCancel() override { call->is_cancelled_ = true; }
    void OnDone() override { delete this; }
  };

  UnaryCall(grpc::CallbackServerContext* context, grpc::ByteBuffer* reply, int limit, Reactor* reactor)
      : context_(context),
        reply_(reply),
        limit_(limit),
        reactor_(reactor),
        deadline_(context->deadline()) {
    traceparent = traceparent_of(*context);
  }

  bool is_abandoned() override { return is_cancelled_; }

  int64_t left_us() override {
    using namespace std::chrono;
    if (deadline_ == system_clock::time_point::max()) return INT64_MAX;
    return duration_cast<microseconds>(deadline_ - system_clock::now()).count();
  }

  void finish(v1::ScoreReply reply) override {
    if (is_finished_.exchange(true)) return;
    try {
      *reply_ = serialized(reply, limit_);
    } catch (const Fault& fault) {
      return end_with(fault);
    }
    reactor_->Finish(grpc::Status::OK);
  }

  void fail(const Fault& fault) override {
    if (!is_finished_.exchange(true)) end_with(fault);
  }

 private:
  void end_with(const Fault& fault) {
    context_->AddTrailingMetadata(kErrorMetadataKey, fault.error().SerializeAsString());
    reactor_->Finish(status_of(fault));
  }

  grpc::CallbackServerContext* context_;
  grpc::ByteBuffer* reply_;
  const int limit_;
  Reactor* reactor_;
  const std::chrono::system_clock::time_point deadline_;
  std::atomic<bool> is_cancelled_{false};
  std::atomic<bool> is_finished_{false};
};

// One `ScoreStream`: reads on while fewer than 16 requests are unanswered or their answers not taken; writes answers as
// they are ready.
class Stream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  // Answers of a stream may come after gRPC is done with it: they are kept out by this.
  struct Link {
    std::recursive_mutex mutex;  // gRPC may call back from within
    Stream* stream;
  };

  class StreamedCall final : public Call {
   public:
    explicit StreamedCall(std::shared_ptr<Link> link) : link_(std::move(link)) {}
    bool is_abandoned() override {
      const std::lock_guard<std::recursive_mutex> lock(link_->mutex);
      return link_->stream == nullptr;
    }
    int64_t left_us() override { return INT64_MAX; }
    void finish(v1::ScoreReply reply) override {
      const std::lock_guard<std::recursive_mutex> lock(link_->mutex);
      if (link_->stream != nullptr) link_->stream->answer(std::move(reply));
    }
    void fail(const Fault& fault) override {
      const std::lock_guard<std::recursive_mutex> lock(link_->mutex);
      if (link_->stream != nullptr) link_->stream->answer_error(request.request_id(), fault);
    }

   private:
    std::shared_ptr<Link> link_;
  };

  Stream(const Desk& desk, const grpc::CallbackServerContext& context)
      : desk_(desk), traceparent_(traceparent_of(context)), link_(std::make_shared<Link>()) {
    link_->stream = this;
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    const std::lock_guard<std::recursive_mutex> lock(link_->mutex);
    is_reading_ = false;
    if (!ok) {
      is_read_out_ = true;
      return go_on();
    }
    ++unanswered_;
    auto call = std::make_shared<StreamedCall>(link_);
    call->traceparent = traceparent_;
    try {
      parse(incoming_, &call->request);
      check_size(incoming_, desk_.options.max_message_bytes);
      desk_.accept(call);
    } catch (const Fault& fault) {
      answer_error(call->request.request_id(), fault);
    }
    incoming_.Clear();
    go_on();
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::recursive_mutex> lock(link_->mutex);
    is_writing_ = false;
    replies_.pop_front();
    if (!ok) is_broken_ = true;
    go_on();
  }

  void OnCancel() override {
    const std::lock_guard<std::recursive_mutex> lock(link_->mutex);
    is_broken_ = true;
    go_on();
  }

  void OnDone() override {
    {
      const std::lock_guard<std::recursive_mutex> lock(link_->mutex);
      link_->stream = nullptr;
    }
    delete this;
  }

 private:
  void answer(v1::ScoreReply reply) {
    try {
      replies_.push_back(serialized(reply, desk_.options.max_message_bytes));
    } catch (const Fault& fault) {
      return answer_error(reply.request_id(), fault);
    }
    --unanswered_;
    go_on();
  }

  void answer_error(const std::string& request_id, const Fault& fault) {
    v1::ScoreReply reply;
    reply.set_request_id(request_id);
    reply.set_model(desk_.options.name);
    reply.set_version(desk_.options.version);
    *reply.mutable_error() = fault.error();
    answer(std::move(reply));
  }

  // Starts what can be started; ends the call when all is said.
  void go_on() {
    if (is_finished_) return;
    if (is_broken_ || (is_read_out_ && unanswered_ == 0 && replies_.empty())) {
      if (is_writing_) return;  // gRPC wants the write to end first
      is_finished_ = true;
      return Finish(is_broken_ ? grpc::Status::CANCELLED : grpc::Status::OK);
    }
    if (!is_writing_ && !replies_.empty()) {
      is_writing_ = true;
      StartWrite(&replies_.front());
    }
    if (!is_reading_ && !is_read_out_ && unanswered_ + replies_.size() < kStreamedAtOnce) {
      is_reading_ = true;
      StartRead(&incoming_);
    }
  }

  const Desk& desk_;
  const std::string traceparent_;
  std::shared_ptr<Link> link_;  // its mutex guards what follows
  grpc::ByteBuffer incoming_;
  std::deque<grpc::ByteBuffer> replies_;
  size_t unanswered_ = 0;
  bool is_reading_ = true;
  bool is_writing_ = false;
  bool is_read_out_ = false;
  bool is_broken_ = false;
  bool is_finished_ = false;
};

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
    auto* reactor = new UnaryCall::Reactor;
    const auto call = std::make_shared<UnaryCall>(context, reply, desk_.options.max_message_bytes, reactor);
    reactor->call = call;
    try {
      check_size(*request, desk_.options.max_message_bytes);
      parse(*request, &call->request);
      if (call->left_us() <= 0) {
        throw Fault(v1::ERROR_CODE_EXPIRED, "the deadline had passed when the model received the request");
      }
      desk_.accept(call);
    } catch (const Fault& fault) {
      call->fail(fault);
    }
    return reactor;
  }

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ScoreStream(
      grpc::CallbackServerContext* context) override {
    return new Stream(desk_, *context);
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

void GrpcServer::shut_down(int64_t grace_ms) {
  if (!parts_->server || parts_->desk.is_closing.exchange(true)) return;
  parts_->server->GetHealthCheckService()->SetServingStatus(false);
  parts_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(grace_ms));
}

}  // namespace rv
