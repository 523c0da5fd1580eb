#include "grpc_calls.h"

#include <atomic>
#include <chrono>
#include <climits>
#include <deque>
#include <mutex>

#include "names.h"

namespace rv {

namespace {
bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

constexpr size_t kStreamedAtOnce = 16;

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
    const auto hint = fault.error().attributes().find(kRetryAfterAttribute);
    if (hint != fault.error().attributes().end() && is_number(hint->second)) {
      context_->AddTrailingMetadata(kRetryAfterMetadataKey, hint->second);
    }
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
      if (link_->stream != nullptr) link_->stream->answer_error(*this, fault);
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
      answer_error(*call, fault);
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
      reply.clear_outputs();
      *reply.mutable_error() = fault.error();
      replies_.push_back(serialized(reply, desk_.options.max_message_bytes));
    }
    --unanswered_;
    go_on();
  }

  void answer_error(const Call& call, const Fault& fault) {
    v1::ScoreReply reply;
    reply.set_request_id(call.request.request_id());
    reply.set_model(desk_.options.name);
    reply.set_version(desk_.options.version);
    const auto& traceparent = call.request.traceparent().empty() ? call.traceparent : call.request.traceparent();
    if (is_traceparent(traceparent)) reply.set_traceparent(traceparent);
    const int64_t now = unix_us();
    auto* timing = reply.mutable_timing();
    timing->set_received_unix_us(call.received_unix_us ? call.received_unix_us : now);
    timing->set_started_unix_us(call.started_unix_us ? call.started_unix_us : timing->received_unix_us());
    timing->set_finished_unix_us(now);
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
}  // namespace

grpc::ServerUnaryReactor* begin_score(const Desk& desk, grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer& request, grpc::ByteBuffer* reply) {
  auto* reactor = new UnaryCall::Reactor;
  const auto call = std::make_shared<UnaryCall>(context, reply, desk.options.max_message_bytes, reactor);
  reactor->call = call;
  try {
    check_size(request, desk.options.max_message_bytes);
    parse(request, &call->request);
    if (call->left_us() <= 0) {
      throw Fault(v1::ERROR_CODE_EXPIRED, "the deadline had passed when the model received the request");
    }
    desk.accept(call);
  } catch (const Fault& fault) {
    call->fail(fault);
  }
  return reactor;
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* begin_stream(const Desk& desk,
                                                                          const grpc::CallbackServerContext& context) {
  return new Stream(desk, context);
}

}  // namespace rv
