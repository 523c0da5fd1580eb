#include "pull.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "log.h"
#include "names.h"

namespace rv {

namespace {
constexpr int64_t kExpiresMs = 20'000;
constexpr int64_t kHeartbeatMs = 1000;
constexpr int64_t kSliceMs = 100;
constexpr int64_t kFirstPauseMs = 50;
constexpr int64_t kLastPauseMs = 2000;
constexpr int64_t kDrainMs = 2000;

std::string header(natsMsg* msg, const char* key) {
  const char* value = nullptr;
  return natsMsgHeader_Get(msg, key, &value) == NATS_OK && value != nullptr ? value : "";
}
}  // namespace

ContinuousPull::ContinuousPull(NatsLink& link, std::string stream, std::string consumer, int credit,
                               std::function<void()> ensure, std::function<void(natsMsg*)> on_message)
    : link_(link),
      subject_("$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer),
      name_(stream + "/" + consumer),
      ensure_(std::move(ensure)),
      on_message_(std::move(on_message)),
      credit_(credit) {}

ContinuousPull::~ContinuousPull() { unsubscribe(); }

void ContinuousPull::run(const std::atomic<bool>& stop) {
  seen_reconnects_ = link_.reconnects();
  try {
    subscribe();
  } catch (const NatsError& error) {
    rebuild_reason_ = error.what();
  }
  while (!stop) {
    if (link_.is_given_up()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(kSliceMs));  // another connection is being made
      continue;
    }
    if (link_.reconnects() != seen_reconnects_) {
      seen_reconnects_ = link_.reconnects();
      failures_ = 0;
      rebuild_reason_ = "reconnected";
      rebuild_is_gone_ = false;
    }
    if (!rebuild_reason_.empty()) {
      rebuild(rebuild_reason_, rebuild_is_gone_, stop);
      continue;
    }
    const int64_t began = monotonic_us();
    natsMsg* received = nullptr;
    const natsStatus status = natsSubscription_NextMsg(&received, subscription_, kSliceMs);
    if (status == NATS_OK) {
      const Msg msg(received);
      receive(received);
    } else if (status == NATS_TIMEOUT) {
      check(monotonic_us() - began);
    } else {
      rebuild_reason_ = natsStatus_GetText(status);
      rebuild_is_gone_ = false;
    }
  }
  hand_back();
}

int ContinuousPull::credit() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return credit_;
}

void ContinuousPull::release(int count, int credit) {
  const std::lock_guard<std::mutex> lock(mutex_);
  held_ -= count;
  credit_ = credit;
  renew();
}

void ContinuousPull::subscribe() {
  const std::lock_guard<std::mutex> lock(mutex_);
  inbox_ = link_.new_inbox();
  standing_ = 0;
  heard_us_ = monotonic_us();
  const natsStatus status = natsConnection_SubscribeSync(&subscription_, link_.raw().get(), inbox_.c_str());
  if (status != NATS_OK) throw NatsError("subscribe", status);
  const int free = credit_ - held_;
  // One half runs out earlier, and so they stay apart: a request is always standing.
  if (free > 1) ask(free / 2, kExpiresMs / 2);
  ask(credit_ - held_ - standing_, kExpiresMs);
  link_.flush_soon();
}

void ContinuousPull::unsubscribe() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (subscription_ == nullptr) return;
  const natsStatus status = natsSubscription_Unsubscribe(subscription_);
  if (status != NATS_OK) log(Level::debug, "pull " + name_ + ": old subscription: " + natsStatus_GetText(status));
  natsSubscription_Destroy(subscription_);
  subscription_ = nullptr;
}

void ContinuousPull::receive(natsMsg* msg) {
  heard_us_ = monotonic_us();
  const std::string status = natsMsg_GetDataLength(msg) == 0 ? header(msg, "Status") : "";
  if (!status.empty()) return take_status(msg, status);
  failures_ = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    standing_ = std::max(0, standing_ - 1);
    ++held_;
  }
  on_message_(msg);
}

void ContinuousPull::take_status(natsMsg* msg, const std::string& status) {
  if (status == "100") {
    failures_ = 0;
    return;
  }
  const std::string description = header(msg, "Description");
  if (status == "404" || status == "408" || description.find("Batch Completed") != std::string::npos) {
    const std::string pending = header(msg, "Nats-Pending-Messages");
    const std::lock_guard<std::mutex> lock(mutex_);
    standing_ = std::max(0, standing_ - (pending.empty() ? standing_ : std::atoi(pending.c_str())));
    renew();
    link_.flush_soon();
    return;
  }
  rebuild_reason_ = status + " " + description;
  rebuild_is_gone_ = status == "503" || description.find("Consumer Deleted") != std::string::npos;
}

void ContinuousPull::check(int64_t slept_us) {
  const int64_t now = monotonic_us();
  if (slept_us > (kSliceMs + kHeartbeatMs / 2) * 1000 || !link_.is_connected()) {
    heard_us_ = now;  // this process was stopped, or there is nobody to be heard
    return;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (standing_ == 0 && held_ == 0) renew();  // what was asked for could not be sent
  if (standing_ == 0 || now - heard_us_ <= 2 * kHeartbeatMs * 1000) return;
  rebuild_reason_ = "nothing heard for " + std::to_string((now - heard_us_) / 1000) + " ms";
  rebuild_is_gone_ = true;
}

void ContinuousPull::rebuild(const std::string& reason, bool is_gone, const std::atomic<bool>& stop) {
  const int64_t pause_ms = next_pause_ms();
  log(failures_ < 2 ? Level::info : Level::warning,
      "pull " + name_ + ": " + reason + "; subscribing again in " + std::to_string(pause_ms) + " ms");
  unsubscribe();
  if (!pause(pause_ms, stop)) return;
  try {
    if (is_gone) ensure_();
    subscribe();
    rebuild_reason_.clear();
  } catch (const NatsError& error) {
    rebuild_reason_ = std::string("consumer not there (") + error.what() + ")";
    rebuild_is_gone_ = true;
  }
}

// P30: stop to pull, then give back what was on its way.
void ContinuousPull::hand_back() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_stopping_ = true;
  }
  if (subscription_ == nullptr || natsSubscription_DrainTimeout(subscription_, kDrainMs) != NATS_OK) return unsubscribe();
  natsMsg* received = nullptr;
  while (natsSubscription_NextMsg(&received, subscription_, kDrainMs) == NATS_OK) {
    const Msg msg(received);
    const char* reply = natsMsg_GetReply(received);
    if (reply != nullptr && header(received, "Status").empty()) link_.publish(reply, "-NAK");
  }
  link_.flush_soon();
  const std::lock_guard<std::mutex> lock(mutex_);
  natsSubscription_Destroy(subscription_);
  subscription_ = nullptr;
}

// Asks for what credit allows, once half of it is free: fewer requests than one for each message.
void ContinuousPull::renew() {
  const int free = credit_ - held_ - standing_;
  if (free * 2 >= credit_ || (free > 0 && standing_ == 0)) ask(free, kExpiresMs);
}

void ContinuousPull::ask(int batch, int64_t expires_ms) {
  if (batch < 1 || is_stopping_ || subscription_ == nullptr || !link_.is_connected()) return;
  const std::string request = "{\"batch\":" + std::to_string(batch) + ",\"expires\":" + std::to_string(expires_ms) +
                              "000000,\"idle_heartbeat\":" + std::to_string(kHeartbeatMs) + "000000}";
  try {
    link_.publish_request(subject_, inbox_, request);
    standing_ += batch;
  } catch (const NatsError& error) {
    // The liveness rule asks again.
    log(Level::debug, "pull " + name_ + ": not asked: " + error.what());
  }
}

// Nothing at first, then doubling from 50 ms to 2 s, give or take a quarter.
int64_t ContinuousPull::next_pause_ms() {
  static thread_local std::minstd_rand random(std::random_device{}());
  if (++failures_ == 1) return 0;
  const int64_t doubled = kFirstPauseMs << std::min(failures_ - 2, 10);
  const double spread = std::uniform_real_distribution<double>(0.75, 1.25)(random);
  return static_cast<int64_t>(static_cast<double>(std::min(doubled, kLastPauseMs)) * spread);
}

// In slices, so that a reconnection or the end is noticed; false: it is time to stop.
bool ContinuousPull::pause(int64_t ms, const std::atomic<bool>& stop) const {
  const int64_t until = monotonic_us() + ms * 1000;
  while (!stop && monotonic_us() < until && link_.reconnects() == seen_reconnects_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return !stop;
}

}  // namespace rv
