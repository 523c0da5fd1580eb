// One served model in one process. R's thread waits for work and does it; everything else happens in library threads.

#include <chrono>
#include <memory>
#include <thread>

#include "grpc_server.h"
#include "inbox.h"
#include "log.h"
#include "names.h"
#include "postbox.h"
#include "r_model.h"
#include "scoring.h"
#include "signals.h"
#include "text.h"

namespace rv {

namespace {
constexpr int64_t kWaitMs = 50;
constexpr size_t kTraceIdAt = 3;
constexpr size_t kTraceIdOctets = 32;
constexpr int64_t kTickMs = 20;
constexpr int64_t kGrpcGraceMs = 3000;
constexpr int64_t kInterruptAgainUs = 2'000'000;
constexpr int64_t kAbandonAfterUs = 7'500'000;
constexpr int64_t kDrainLimitUs = 8'800'000;

class Replica {
 public:
  Replica(ServeOptions options, const Rcpp::List& info, const Rcpp::Function& evaluate)
      : options_(std::move(options)),
        info_(info_of(info)),
        inbox_(options_.queue_capacity, options_.max_joined_rows),
        model_(evaluate, info_.signature(), hints_of(info["inputs"], Rcpp::as<bool>(info["int64_as_numeric"])), options_.scoring_limit_us),
        scorer_({options_.endpoint, options_.name, options_.version, options_.replica, options_.enricher},
                [this](const v1::Frame& frame) { return model_.score(frame); }, unix_us) {
    scorer_.on_failure = [this](const Fault& fault, const RequestName& name) { log_failure(fault, name); };
  }

  // Serves until a signal comes, then drains; true: all was answered or given back in time.
  bool run() {
    std::string address;
    if (options_.grpc) {
      grpc_ = std::make_unique<GrpcServer>(options_, inbox_);
      address = options_.grpc_host + ":" + std::to_string(grpc_->port());
    }
    if (options_.postbox) postbox_ = std::make_unique<Postbox>(options_, info_, address, inbox_, Signals::stop);
    if (grpc_) grpc_->open(info_);
    watching_ = std::thread([this] { watch(); });
    const bool is_good = work(address);
    end();
    return is_good;
  }

  ~Replica() { end(); }

 private:
  bool work(const std::string& address) {
    bool is_announced = false;
    while (!has_drained()) {
      Work next = inbox_.take(kWaitMs, Signals::stop);
      if (!is_announced && (!postbox_ || postbox_->is_ready())) {
        is_announced = true;
        announce(address);  // before the first parcel, which may end this process
      }
      if (next.call) answer_call(*next.call);
      if (!next.parcels.empty()) answer_parcels(next.parcels);
      if (!next.call && next.parcels.empty()) Signals::forget_interrupt();
    }
    return !model_.watch.is_abandoned;
  }

  // Ends what was begun. After an exception there are calls that nobody will work on: they are told so, for gRPC waits
  // until each is answered.
  void end() {
    if (!watching_.joinable()) return;
    Signals::stop = true;
    while (!has_drained()) {
      const Work next = inbox_.take(kWaitMs, true);
      if (next.call) next.call->fail(shutting_down());
    }
    is_done_ = true;
    watching_.join();
    if (postbox_) postbox_->close();
  }

  static Fault shutting_down() {
    return Fault(v1::ERROR_CODE_UNAVAILABLE, "the model is shutting down: try again");
  }

  bool has_drained() {
    return Signals::stop && has_grpc_ended_ && (!postbox_ || postbox_->has_stopped()) && !inbox_.has_calls();
  }

  void announce(const std::string& address) const {
    Rprintf("ready: model %s:%s of endpoint %s, replica %s, %s%s\n", options_.name.c_str(), options_.version.c_str(),
            options_.endpoint.c_str(), options_.replica.c_str(), address.empty() ? "no grpc" : "grpc ",
            address.c_str());
    R_FlushConsole();
  }

  void answer_call(Call& call) {
    if (call.is_abandoned()) return call.fail(Fault(v1::ERROR_CODE_UNAVAILABLE, "the caller has gone"));
    try {
      if (call.left_us() <= 0) {
        throw Fault(v1::ERROR_CODE_EXPIRED, "the deadline had passed before the model began with the request");
      }
      call.started_unix_us = unix_us();
      v1::ScoreReply reply;
      reply.mutable_timing()->set_received_unix_us(call.received_unix_us);
      reply.mutable_timing()->set_started_unix_us(call.started_unix_us);
      *reply.mutable_outputs() = scorer_.score_request(
          call.request.inputs(), {call.request.request_id(), std::string_view(), call.traceparent});
      reply.mutable_timing()->set_finished_unix_us(unix_us());
      reply.set_request_id(call.request.request_id());
      reply.set_model(options_.name);
      reply.set_version(options_.version);
      if (is_traceparent(call.traceparent)) reply.set_traceparent(call.traceparent);
      call.finish(std::move(reply));
    } catch (const Fault& fault) {
      call.fail(fault);
    } catch (const Abandoned&) {
      call.fail(shutting_down());
    } catch (const std::exception& error) {
      log(Level::error, std::string("a request over gRPC: ") + error.what());
      call.fail(Fault(v1::ERROR_CODE_INTERNAL, "the model's server failed on this request: see its log"));
    }
  }

  void answer_parcels(const std::vector<std::shared_ptr<Waiting>>& batch) {
    if (batch.front()->delivery.number > 1) postbox_->flush();
    std::vector<const Delivery*> deliveries;
    for (const auto& waiting : batch) deliveries.push_back(&waiting->delivery);
    scorer_.max_bytes = postbox_->max_score_bytes();
    try {
      const int64_t began = monotonic_us();
      const auto scores = scorer_.score_parcels(deliveries);
      postbox_->answer(batch, scores, monotonic_us() - began);
    } catch (const Abandoned&) {
      postbox_->hand_back(batch);
    } catch (const std::exception& error) {
      log(Level::error, std::string("parcels that come again: ") + error.what());
      postbox_->leave(batch);
    }
    inbox_.done();
  }

  void log_failure(const Fault& fault, const RequestName& name) const {
    LogFields fields;
    fields.request_id = name.request_id;
    fields.parcel_id = name.parcel_id;
    fields.error_code = facts_of(fault.code()).name;
    const std::string traceparent(name.traceparent);
    if (is_traceparent(traceparent)) fields.trace_id = traceparent.substr(kTraceIdAt, kTraceIdOctets);
    if (fault.code() == v1::ERROR_CODE_MODEL_FAILED) fields.exception = model_.last_trace;
    log(Level::warning,
        "model " + options_.name + ":" + options_.version + " failed on one request: " + fields.error_code + ": " +
            fault.error().message(),
        fields);
  }

  // The thread that watches: progress signals, scoring limit, drain.
  void watch() {
    const int64_t tick_ms = std::max<int64_t>(1, std::min(kTickMs, options_.ack_wait_us / 6000));
    int64_t stopped_us = 0, interrupted_us = 0;
    std::thread closing;
    bool was_refused = false;
    while (!is_done_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(tick_ms));
      const int64_t now = monotonic_us(), since = model_.watch.since_us;
      const bool is_over = since && now - since > options_.scoring_limit_us;
      if (is_over && now - interrupted_us > kInterruptAgainUs) {
        interrupted_us = now;
        interrupt();
      }
      if (postbox_ && !(is_over && now - since > options_.scoring_limit_us + options_.ack_wait_us)) {
        postbox_->signal_progress();
      }
      if (!Signals::stop) {
        was_refused = tell_health(was_refused);
        continue;
      }
      if (!stopped_us) {
        stopped_us = now;
        log(Level::info, "draining; a second signal ends this process at once");
        closing = std::thread([this] { close_grpc(); });
      }
      drain(since, now - stopped_us);
    }
    if (closing.joinable()) closing.join();
  }

  // Whether the broker refuses this model: then health says NOT_SERVING.
  bool tell_health(bool was_refused) {
    if (!postbox_ || !grpc_ || postbox_->is_refused() == was_refused) return was_refused;
    grpc_->set_healthy(was_refused);
    return !was_refused;
  }

  void close_grpc() {
    if (grpc_) grpc_->shut_down(kGrpcGraceMs);
    has_grpc_ended_ = true;
    inbox_.wake();
  }

  void drain(int64_t since, int64_t draining_us) {
    if (draining_us > kAbandonAfterUs && since && !model_.watch.is_abandoned) {
      log(Level::error, "not drained in time: what is still being scored comes again elsewhere");
      model_.watch.is_abandoned = true;
      interrupt();
    }
    if (draining_us > kDrainLimitUs && since) {
      log(Level::error, "the model's code cannot be interrupted: this process ends without it");
      Signals::end_process();
    }
  }

  void interrupt() {
    model_.watch.was_interrupted = true;
    signals_.interrupt_r();
  }

  const Signals signals_;
  const ServeOptions options_;
  const v1::ModelInfo info_;
  Inbox inbox_;
  RModel model_;
  ParcelScorer scorer_;
  std::unique_ptr<GrpcServer> grpc_;
  std::unique_ptr<Postbox> postbox_;
  std::atomic<bool> has_grpc_ended_{false};
  std::atomic<bool> is_done_{false};
  std::thread watching_;
};

ServeOptions options_of(const Rcpp::List& list) {
  ServeOptions options;
  options.endpoint = Rcpp::as<std::string>(list["endpoint"]);
  options.name = Rcpp::as<std::string>(list["name"]);
  options.version = Rcpp::as<std::string>(list["version"]);
  options.replica = Rcpp::as<std::string>(list["replica"]);
  options.nats = Rcpp::as<std::string>(list["nats"]);
  options.grpc_host = Rcpp::as<std::string>(list["grpc_host"]);
  options.grpc_port = Rcpp::as<int>(list["grpc_port"]);
  options.postbox = Rcpp::as<bool>(list["postbox"]);
  options.grpc = Rcpp::as<bool>(list["grpc"]);
  options.ack_wait_us = static_cast<int64_t>(Rcpp::as<double>(list["ack_wait_s"]) * 1e6);
  options.scoring_limit_us = static_cast<int64_t>(Rcpp::as<double>(list["scoring_limit_s"]) * 1e6);
  options.credit = Rcpp::as<int>(list["credit"]);
  options.enricher = Rcpp::as<int>(list["enricher"]);
  options.max_joined_rows = static_cast<int64_t>(Rcpp::as<double>(list["max_joined_rows"]));
  options.max_message_bytes = Rcpp::as<int>(list["max_message_bytes"]);
  options.queue_capacity = static_cast<size_t>(Rcpp::as<int>(list["queue_capacity"]));
  options.security = security_of(list["security"]);
  check_name("endpoint", options.endpoint);
  check_name("model", options.name);
  check_version(options.version);
  return options;
}
}  // namespace

}  // namespace rv

// [[Rcpp::export(rng = false)]]
SEXP serve_check(const Rcpp::List& options) {
  return rv::guarded([&]() -> SEXP {
    rv::options_of(options);
    return Rcpp::wrap(true);
  });
}

// [[Rcpp::export(rng = false)]]
SEXP serve_run(const Rcpp::List& options, const Rcpp::List& info, const Rcpp::Function& evaluate) {
  return rv::guarded([&]() -> SEXP {
    return Rcpp::wrap(rv::Replica(rv::options_of(options), info, evaluate).run());
  });
}

// Before anything is logged.
// [[Rcpp::export(rng = false)]]
void log_set(const Rcpp::List& options) {
  rv::set_log(rv::level_of(Rcpp::as<std::string>(options["log_level"])),
              rv::log_format_of(Rcpp::as<std::string>(options["log_format"])));
  rv::set_log_identity({Rcpp::as<std::string>(options["endpoint"]), Rcpp::as<std::string>(options["name"]),
                        Rcpp::as<std::string>(options["version"]), Rcpp::as<std::string>(options["replica"])});
}

// [[Rcpp::export(rng = false)]]
void log_write(const std::string& level, const std::string& text) { rv::log(rv::level_of(level), text); }
