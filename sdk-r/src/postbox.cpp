#include "postbox.h"

#include <algorithm>
#include <chrono>

#include "log.h"
#include "names.h"
#include "text.h"

namespace rv {

namespace {
constexpr int64_t kFirstPauseMs = 100;
constexpr int64_t kLastPauseMs = 2000;
constexpr int64_t kRepeatLogUs = 15'000'000;
constexpr int64_t kPatienceUs = 500'000;  // before the first word about waiting
constexpr int64_t kClockRefreshUs = 30'000'000;
constexpr int64_t kFlushTimeoutMs = 1000;
constexpr int64_t kLastFlushTimeoutMs = 2000;
constexpr double kMaxPayloadShare = 0.95;
constexpr int64_t kAheadUs = 20'000;
constexpr int kMostCredit = 64;

LogFields about(const v1::Parcel& parcel) {
  LogFields fields;
  fields.parcel_id = parcel.parcel_id();
  return fields;
}

// What the subject of an acknowledgement says of the delivery:
// $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<...>.<stored, ns>.<pending>,
// or with domain and account before the stream and a random token at the end.
struct Metadata {
  unsigned number = 1;
  uint64_t sequence = 0;
  int64_t stored_us = 0;
};

Metadata metadata_of(const std::string& subject) {
  std::vector<std::string> tokens;
  size_t start = 0;
  for (size_t end = subject.find('.'); end != std::string::npos; end = subject.find('.', start)) {
    tokens.push_back(subject.substr(start, end - start));
    start = end + 1;
  }
  tokens.push_back(subject.substr(start));
  const size_t first = tokens.size() == 9 ? 4 : 6;
  if (tokens.size() < first + 4) return {};
  return {static_cast<unsigned>(std::strtoul(tokens[first].c_str(), nullptr, 10)),
          std::strtoull(tokens[first + 1].c_str(), nullptr, 10),
          std::strtoll(tokens[first + 3].c_str(), nullptr, 10) / 1000};
}
}  // namespace

Postbox::Postbox(const ServeOptions& options, const v1::ModelInfo& info, const std::string& grpc_address, Inbox& inbox,
                 const std::atomic<bool>& stop)
    : options_(options),
      inbox_(inbox),
      stop_(stop),
      link_(options.nats, "model " + options.endpoint + "/" + options.name + ":" + options.version + " " + options.replica,
            options.security),
      consumer_(link_, options),
      registration_(link_, options, info, grpc_address, counters_),
      pull_(
          link_, consumer_.stream, consumer_.name, options.credit, [this] { consumer_.ensure(); },
          [this](natsMsg* msg) { take(msg); }) {
  reading_ = std::thread([this] { run(); });
}

Postbox::~Postbox() {
  if (reading_.joinable()) reading_.join();
  if (registering_.joinable()) registering_.join();
}

int64_t Postbox::max_score_bytes() const {
  const auto by_server = static_cast<int64_t>(static_cast<double>(link_.max_payload()) * kMaxPayloadShare);
  return by_server > 0 ? std::min(kMaxParcelBytes, by_server) : kMaxParcelBytes;
}

void Postbox::run() {
  try {
    if (open()) {
      registering_ = std::thread([this] { keep_registered(); });
      is_ready_ = true;
      pull_.run(stop_);
    }
    hand_back(inbox_.give_back());
  } catch (const std::exception& error) {
    log(Level::error, std::string("postbox: ") + error.what());
  }
  has_stopped_ = true;
  inbox_.wake();
}

// Waits until the consumer, the clock and the registration are there; false: it is time to stop.
bool Postbox::open() {
  int64_t pause_ms = kFirstPauseMs, logged_us = monotonic_us() - kRepeatLogUs + kPatienceUs;
  while (!stop_) {
    try {
      consumer_.ensure();
      consumer_.refresh_clock();
      registration_.register_model();
      return true;
    } catch (const NatsError& error) {
      if (monotonic_us() - logged_us >= kRepeatLogUs) {
        logged_us = monotonic_us();
        if (!link_.is_refused()) {
          log(Level::warning, link_.is_connected()
                                  ? "waiting for stream " + consumer_.stream + " (" + consumer_.reason(error) + ")"
                                  : "waiting for NATS at " + redact(options_.nats));
        }
      }
    }
    if (!sleep(pause_ms)) return false;
    pause_ms = std::min(pause_ms * 2, kLastPauseMs);
  }
  return false;
}

void Postbox::keep_registered() {
  bool is_registered = true;
  int reconnects = link_.reconnects();
  int64_t clock_read_us = monotonic_us();
  do {
    try {
      is_registered = is_registered && reconnects == link_.reconnects();  // the server may have lost it
      reconnects = link_.reconnects();
      if (!is_registered) registration_.register_model();
      is_registered = true;
      registration_.refresh();
      if (monotonic_us() - clock_read_us > kClockRefreshUs) {
        consumer_.refresh_clock();
        clock_read_us = monotonic_us();
      }
    } catch (const NatsError& error) {
      is_registered = false;
      log(Level::debug, std::string("not registered, tried again in 2 s: ") + error.what());
    }
  } while (sleep(kReplicasRefreshMs));
}

void Postbox::take(natsMsg* msg) {
  auto waiting = std::make_shared<Waiting>();
  waiting->ack_subject = natsMsg_GetReply(msg) != nullptr ? natsMsg_GetReply(msg) : "";
  waiting->signalled_us = monotonic_us();
  const Metadata metadata = metadata_of(waiting->ack_subject);
  auto& delivery = waiting->delivery;
  delivery.sequence = metadata.sequence;
  delivery.number = metadata.number;
  delivery.age_us = consumer_.broker_unix_us() - metadata.stored_us;
  delivery.received_unix_us = unix_us();
  if (!delivery.parcel.ParseFromArray(natsMsg_GetData(msg), natsMsg_GetDataLength(msg))) {
    log(Level::error, "parcel " + std::to_string(metadata.sequence) + " of " + consumer_.stream +
                          " is no Parcel: taken off the postbox");
    settle(waiting->ack_subject, "+TERM");
    pull_.release(1, pull_.credit());
    link_.flush_soon();
    return;
  }
  inbox_.put(std::move(waiting));
}

int next_credit(int present, int least, int scored, int64_t took_us, bool is_again) {
  if (least == 1 || is_again) return least;
  const int64_t affordable = kAheadUs * scored / std::max<int64_t>(1, took_us);
  const int64_t most = std::min(2 * present, std::max(kMostCredit, least));
  return static_cast<int>(std::max<int64_t>(least, std::min(affordable, most)));
}

void Postbox::answer(const std::vector<std::shared_ptr<Waiting>>& batch, const std::vector<v1::ParcelScore>& scores,
                     int64_t took_us) {
  for (size_t i = 0; i < batch.size(); ++i) {
    if (answer_one(*batch[i], scores[i])) counters_.count(scores[i], batch[i]->delivery.received_unix_us);
  }
  const int count = static_cast<int>(batch.size());
  const bool is_again = batch.front()->delivery.number > 1;
  pull_.release(count, next_credit(pull_.credit(), options_.credit, count, took_us, is_again));
  link_.flush_soon();
}

// Whether it was answered, or never can be. What is published before an acknowledgement must not be lost when that is
// not: if the connection was lost or came back in between, the acknowledgement is left out.
bool Postbox::answer_one(const Waiting& waiting, const v1::ParcelScore& score) {
  const auto& parcel = waiting.delivery.parcel;
  try {
    const uint64_t epoch = link_.epoch();
    publish_score(parcel, score);
    if (link_.epoch() == epoch) settle(waiting.ack_subject, has_rows_of_items(parcel) ? "+ACK" : "+TERM");
    return true;
  } catch (const NatsError& error) {
    log(Level::warning, "parcel " + shown_name(parcel.parcel_id()) + " comes again: " + error.what(),
        about(parcel));
    return false;
  }
}

// Throws NatsError: not now. Returns also if a redelivery would end the same way: the router, told nothing, answers by
// its policy.
void Postbox::publish_score(const v1::Parcel& parcel, const v1::ParcelScore& score) {
  std::string fault;
  try {
    if (!parcel.items_size()) return;
    return link_.publish(score_subject(options_.endpoint, options_.name, parcel.router()), score.SerializeAsString());
  } catch (const Fault& refused) {
    fault = refused.what();
  } catch (const NatsError& error) {
    if (error.status != NATS_MAX_PAYLOAD) throw;
    fault = error.what();
  }
  log(Level::error, "score of parcel " + shown_name(parcel.parcel_id()) + " cannot be published: " + fault,
      about(parcel));
}

void Postbox::leave(const std::vector<std::shared_ptr<Waiting>>& batch) {
  pull_.release(static_cast<int>(batch.size()), options_.credit);
  link_.flush_soon();
}

void Postbox::flush() {
  if (link_.is_connected() && !link_.flush(kFlushTimeoutMs)) log(Level::debug, "not flushed in time");
}

void Postbox::hand_back(const std::vector<std::shared_ptr<Waiting>>& parcels) {
  for (const auto& waiting : parcels) settle(waiting->ack_subject, "-NAK");
  link_.flush_soon();
}

void Postbox::signal_progress() {
  const int64_t now = monotonic_us();
  bool any = false;
  for (const auto& waiting : inbox_.held()) {
    if (now - waiting->signalled_us < options_.ack_wait_us / 3) continue;
    waiting->signalled_us = now;
    settle(waiting->ack_subject, "+WPI");
    any = true;
  }
  if (any) link_.flush_soon();
}

// When it cannot be sent, the parcel comes again and is scored again.
void Postbox::settle(const std::string& ack_subject, const char* what) {
  try {
    link_.publish(ack_subject, what);
  } catch (const NatsError& error) {
    log(Level::debug, std::string("acknowledgement not sent: ") + error.what());
  }
}

void Postbox::close() {
  if (reading_.joinable()) reading_.join();
  if (registering_.joinable()) registering_.join();
  if (link_.is_connected()) {
    registration_.remove();
    if (!link_.flush(kLastFlushTimeoutMs)) log(Level::warning, "the last scores may not have left");
  }
  link_.close();
}

bool Postbox::sleep(int64_t ms) const {
  const int64_t until = monotonic_us() + ms * 1000;
  while (!stop_ && monotonic_us() < until) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return !stop_;
}

}  // namespace rv
