#include "grpc_client.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "grpc_channel.h"
#include "names.h"
#include "rendezvous/v1/feedback.grpc.pb.h"
#include "rendezvous/v1/score.grpc.pb.h"

namespace rv {

namespace {
constexpr int64_t kSliceMs = 50;
constexpr size_t kStreamedAtOnce = 64;

std::chrono::system_clock::time_point in(int64_t ms) {
  return std::chrono::system_clock::now() + std::chrono::milliseconds(ms);
}

v1::ErrorCode code_of(grpc::StatusCode status) {
  switch (status) {
    case grpc::StatusCode::INVALID_ARGUMENT: return v1::ERROR_CODE_INVALID_REQUEST;
    case grpc::StatusCode::NOT_FOUND: return v1::ERROR_CODE_UNKNOWN_ENDPOINT;
    case grpc::StatusCode::ALREADY_EXISTS: return v1::ERROR_CODE_REQUEST_ID_CONFLICT;
    case grpc::StatusCode::DEADLINE_EXCEEDED: return v1::ERROR_CODE_NO_ANSWER;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return v1::ERROR_CODE_OVERLOADED;
    case grpc::StatusCode::UNAVAILABLE: return v1::ERROR_CODE_UNAVAILABLE;
    // A server that shuts down cancels what reached it but had not been taken in: as good as not reached.
    case grpc::StatusCode::CANCELLED: return v1::ERROR_CODE_UNAVAILABLE;
    case grpc::StatusCode::UNAUTHENTICATED: return v1::ERROR_CODE_UNAUTHENTICATED;
    case grpc::StatusCode::PERMISSION_DENIED: return v1::ERROR_CODE_PERMISSION_DENIED;
    case grpc::StatusCode::UNIMPLEMENTED: return v1::ERROR_CODE_UNIMPLEMENTED;
    default: return v1::ERROR_CODE_INTERNAL;
  }
}

[[noreturn]] void raise(const grpc::Status& status, const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerTrailingMetadata();
  const auto value = [&metadata](const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : std::string(found->second.data(), found->second.size());
  };
  throw Fault(error_of_status(status.error_code(), status.error_message(), value(kErrorMetadataKey),
                              value(kRetryAfterMetadataKey)));
}

// Waits for the one event of the queue.
void wait(grpc::CompletionQueue* queue, grpc::ClientContext* context, const IsInterrupted& is_interrupted) {
  bool was_interrupted = false;
  void* tag = nullptr;
  bool ok = false;
  while (queue->AsyncNext(&tag, &ok, in(kSliceMs)) == grpc::CompletionQueue::TIMEOUT) {
    if (was_interrupted || !is_interrupted()) continue;
    was_interrupted = true;
    context->TryCancel();
  }
  if (was_interrupted) throw Interrupted();
}

template <typename Prepare, typename Reply>
void call_once(Prepare prepare, const Security& security, int64_t timeout_ms, const IsInterrupted& is_interrupted,
               Reply* reply) {
  grpc::ClientContext context;
  show_key(security, &context);
  context.set_deadline(in(timeout_ms));
  grpc::CompletionQueue queue;
  grpc::Status status;
  const auto reader = prepare(&context, &queue);
  reader->StartCall();
  reader->Finish(reply, &status, nullptr);
  wait(&queue, &context, is_interrupted);
  if (!status.ok()) raise(status, context);
}
}  // namespace

namespace {
v1::Error without_hint(int grpc_code, const std::string& details, const std::string& error_bin) {
  v1::Error error;
  if (!error_bin.empty() && error.ParseFromString(error_bin)) return error;
  v1::ErrorCode code = code_of(static_cast<grpc::StatusCode>(grpc_code));
  // gRPC's own limit on messages.
  if (code == v1::ERROR_CODE_OVERLOADED && details.find("larger than max") != std::string::npos) {
    code = v1::ERROR_CODE_TOO_LARGE;
  }
  return Fault(code, details.empty() ? "the call failed" : details, {{"grpc_status", std::to_string(grpc_code)}})
      .error();
}
}  // namespace

v1::Error error_of_status(int grpc_code, const std::string& details, const std::string& error_bin,
                          const std::string& retry_after_ms) {
  v1::Error error = without_hint(grpc_code, details, error_bin);
  if (!retry_after_ms.empty()) (*error.mutable_attributes())[kRetryAfterAttribute] = retry_after_ms;
  return error;
}

struct GrpcClient::Parts {
  Security security;
  std::unique_ptr<v1::Score::Stub> stub;
  std::unique_ptr<v1::Feedback::Stub> feedback;
};

GrpcClient::GrpcClient(const std::string& address, int max_message_bytes, const Security& security)
    : parts_(std::make_unique<Parts>()) {
  parts_->security = security;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_message_bytes);
  arguments.SetMaxSendMessageSize(max_message_bytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  // A server that restarts is found again quickly; gRPC's default grows to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // Retries are ours: with the same request id, and for retryable codes only.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  const auto channel = grpc::CreateCustomChannel(address, channel_credentials(security), arguments);
  parts_->stub = v1::Score::NewStub(channel);
  parts_->feedback = v1::Feedback::NewStub(channel);
}

GrpcClient::~GrpcClient() = default;

v1::ModelInfo GrpcClient::describe(const std::string& endpoint, int64_t timeout_ms,
                                   const IsInterrupted& is_interrupted) {
  v1::DescribeRequest request;
  request.set_endpoint(endpoint);
  v1::ModelInfo info;
  call_once([&](auto* context, auto* queue) { return parts_->stub->PrepareAsyncDescribe(context, request, queue); },
            parts_->security, timeout_ms, is_interrupted, &info);
  return info;
}

v1::ScoreReply GrpcClient::score(const v1::ScoreRequest& request, int64_t timeout_ms,
                                 const IsInterrupted& is_interrupted) {
  v1::ScoreReply reply;
  call_once([&](auto* context, auto* queue) { return parts_->stub->PrepareAsyncScore(context, request, queue); },
            parts_->security, timeout_ms, is_interrupted, &reply);
  return reply;
}

v1::RecordReply GrpcClient::record(const v1::RecordRequest& request, int64_t timeout_ms,
                                   const IsInterrupted& is_interrupted) {
  v1::RecordReply reply;
  call_once([&](auto* context, auto* queue) { return parts_->feedback->PrepareAsyncRecord(context, request, queue); },
            parts_->security, timeout_ms, is_interrupted, &reply);
  return reply;
}

namespace {
// One stream: a thread that writes, a thread that reads, the caller who waits.
struct Streaming {
  std::mutex mutex;
  std::condition_variable changed;
  size_t sent = 0;
  std::unordered_map<std::string, v1::ScoreReply> arrived;
  bool has_ended = false;

  // Whether one more may be unanswered; false: the stream has ended.
  bool wait_for_credit() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return has_ended || sent - arrived.size() < kStreamedAtOnce; });
    ++sent;
    return !has_ended;
  }
};
}  // namespace

std::vector<v1::ScoreReply> GrpcClient::stream(const std::vector<v1::ScoreRequest>& requests, int64_t timeout_ms,
                                               const IsInterrupted& is_interrupted) {
  grpc::ClientContext context;
  show_key(parts_->security, &context);
  if (timeout_ms > 0) context.set_deadline(in(timeout_ms));
  const auto call = parts_->stub->ScoreStream(&context);
  Streaming streaming;
  std::thread writing([&] {
    for (const auto& request : requests) {
      if (!streaming.wait_for_credit() || !call->Write(request)) break;
    }
    call->WritesDone();
  });
  std::thread reading([&] {
    v1::ScoreReply reply;
    while (call->Read(&reply)) {
      const std::lock_guard<std::mutex> lock(streaming.mutex);
      const std::string id = reply.request_id();
      streaming.arrived.emplace(id, std::move(reply));
      streaming.changed.notify_all();
    }
    const std::lock_guard<std::mutex> lock(streaming.mutex);
    streaming.has_ended = true;
    streaming.changed.notify_all();
  });
  bool was_interrupted = false;
  {
    std::unique_lock<std::mutex> lock(streaming.mutex);
    while (!streaming.has_ended) {
      streaming.changed.wait_for(lock, std::chrono::milliseconds(kSliceMs));
      if (was_interrupted || streaming.has_ended) continue;
      lock.unlock();
      was_interrupted = is_interrupted();
      if (was_interrupted) context.TryCancel();
      lock.lock();
    }
  }
  reading.join();
  writing.join();
  const grpc::Status status = call->Finish();
  if (was_interrupted) throw Interrupted();
  if (!status.ok()) raise(status, context);
  std::vector<v1::ScoreReply> replies;
  for (const auto& request : requests) {
    const auto found = streaming.arrived.find(request.request_id());
    if (found == streaming.arrived.end()) {
      throw Fault(v1::ERROR_CODE_INTERNAL, "the stream ended with request " + request.request_id() + " unanswered");
    }
    replies.push_back(std::move(found->second));
  }
  return replies;
}

int write_unread(const std::string& address, const v1::ScoreRequest& request, int count, int64_t stuck_ms) {
  const auto stub = v1::Score::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto call = stub->ScoreStream(&context);
  std::atomic<int> written{0};
  std::atomic<bool> has_ended{false};
  std::thread writing([&] {
    while (written < count && call->Write(request)) ++written;
    has_ended = true;
  });
  int seen = -1;
  for (int64_t moved_us = monotonic_us(); !has_ended && monotonic_us() - moved_us < stuck_ms * 1000;) {
    if (seen != written) moved_us = monotonic_us();
    seen = written;
    std::this_thread::sleep_for(std::chrono::milliseconds(kSliceMs));
  }
  context.TryCancel();
  writing.join();
  return written;
}

}  // namespace rv
