#include "nats_link.h"

#include <google/protobuf/util/json_util.h>

#include <thread>
#include <vector>

#include "log.h"
#include "names.h"

namespace rv {

namespace {
constexpr int64_t kReconnectWaitMs = 200;
constexpr int64_t kPingIntervalMs = 3000;
constexpr int64_t kConnectTimeoutMs = 2000;
constexpr int kBufferBytes = 8 * 1024 * 1024;
constexpr int64_t kRepeatLogUs = 10'000'000;
constexpr int64_t kFlushTimeoutMs = 1000;

void check(natsStatus status, const std::string& what) {
  if (status != NATS_OK) throw NatsError(what, status);
}

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, start)) {
    parts.push_back(trimmed(text.substr(start, end - start)));
    start = end + 1;
  }
  parts.push_back(trimmed(text.substr(start)));
  return parts;
}

struct OptionsDeleter {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};
}  // namespace

std::string redact(const std::string& urls) {
  std::string shown;
  for (const auto& url : split(urls, ',')) {
    const size_t scheme = url.find("://"), at = url.rfind('@');
    const size_t host = scheme == std::string::npos ? 0 : scheme + 3;
    shown += (shown.empty() ? "" : ",") + url.substr(0, host) + url.substr(at == std::string::npos ? host : at + 1);
  }
  return shown;
}

// libnats leaves published messages in a buffer for a millisecond, and its flush waits for the server. So another
// thread flushes: what was published together leaves together, and nobody waits.
struct NatsLink::Flusher {
  std::mutex mutex;
  std::condition_variable wanted_changed;
  bool is_wanted = false;
  bool is_stopping = false;
  std::thread thread;
};

NatsLink::NatsLink(const std::string& urls, const std::string& name)
    : url_(redact(urls)), flusher_(std::make_unique<Flusher>()) {
  natsOptions* made = nullptr;
  check(natsOptions_Create(&made), "NATS options");
  const std::unique_ptr<natsOptions, OptionsDeleter> options(made);
  const auto servers = split(urls, ',');
  std::vector<const char*> addresses;
  for (const auto& server : servers) addresses.push_back(server.c_str());
  check(natsOptions_SetServers(made, addresses.data(), static_cast<int>(addresses.size())), "NATS at " + url_);
  check(natsOptions_SetName(made, name.c_str()), "NATS connection's name");
  check(natsOptions_SetTimeout(made, kConnectTimeoutMs), "NATS options");
  check(natsOptions_SetMaxReconnect(made, -1), "NATS options");
  check(natsOptions_SetReconnectWait(made, kReconnectWaitMs), "NATS options");
  check(natsOptions_SetReconnectBufSize(made, kBufferBytes), "NATS options");
  check(natsOptions_SetPingInterval(made, kPingIntervalMs), "NATS options");
  check(natsOptions_SetMaxPingsOut(made, 2), "NATS options");
  check(natsOptions_SetRetryOnFailedConnect(made, true, on_connected, this), "NATS options");
  check(natsOptions_SetReconnectedCB(made, on_connected, this), "NATS options");
  check(natsOptions_SetDisconnectedCB(made, on_disconnected, this), "NATS options");
  check(natsOptions_SetClosedCB(made, on_closed, this), "NATS options");
  check(natsOptions_SetErrorHandler(made, on_error, this), "NATS options");
  const natsStatus status = natsConnection_Connect(&connection_, made);
  if (status != NATS_NOT_YET_CONNECTED) check(status, "NATS at " + url_);
  if (status == NATS_OK) was_connected_ = true;
  flusher_->thread = std::thread([this] { run_flusher(); });
}

NatsLink::~NatsLink() {
  close();
  natsConnection_Destroy(connection_);
}

void NatsLink::close() {
  closing_ = true;
  if (flusher_->thread.joinable()) {
    {
      const std::lock_guard<std::mutex> lock(flusher_->mutex);
      flusher_->is_stopping = true;
    }
    flusher_->wanted_changed.notify_all();
    flusher_->thread.join();
  }
  natsConnection_Close(connection_);
}

bool NatsLink::is_connected() const { return natsConnection_Status(connection_) == NATS_CONN_STATUS_CONNECTED; }

// Told by the library itself at the moment of asking: its callbacks come later.
uint64_t NatsLink::epoch() const {
  natsStatistics* made = nullptr;
  check(natsStatistics_Create(&made), "NATS statistics");
  const std::unique_ptr<natsStatistics, void (*)(natsStatistics*)> statistics(made, natsStatistics_Destroy);
  uint64_t reconnects = 0;
  check(natsConnection_GetStats(connection_, made), "NATS statistics");
  check(natsStatistics_GetCounts(made, nullptr, nullptr, nullptr, nullptr, &reconnects), "NATS statistics");
  return 2 * reconnects + (is_connected() ? 1 : 0);
}

void NatsLink::publish(const std::string& subject, const std::string& data) {
  check(natsConnection_Publish(connection_, subject.c_str(), data.data(), static_cast<int>(data.size())), "publish");
}

void NatsLink::publish_request(const std::string& subject, const std::string& reply, const std::string& data) {
  check(natsConnection_PublishRequest(connection_, subject.c_str(), reply.c_str(), data.data(),
                                      static_cast<int>(data.size())),
        "publish");
}

void NatsLink::flush_soon() const {
  {
    const std::lock_guard<std::mutex> lock(flusher_->mutex);
    flusher_->is_wanted = true;
  }
  flusher_->wanted_changed.notify_one();
}

bool NatsLink::flush(int64_t timeout_ms) { return natsConnection_FlushTimeout(connection_, timeout_ms) == NATS_OK; }

void NatsLink::run_flusher() {
  std::unique_lock<std::mutex> lock(flusher_->mutex);
  while (true) {
    flusher_->wanted_changed.wait(lock, [this] { return flusher_->is_wanted || flusher_->is_stopping; });
    if (flusher_->is_stopping) return;
    flusher_->is_wanted = false;
    lock.unlock();
    // Not connected: what was published waits in the buffer and leaves with the reconnection.
    if (is_connected() && !flush(kFlushTimeoutMs)) log(Level::debug, "not flushed in time");
    lock.lock();
  }
}

std::string NatsLink::request(const std::string& subject, const std::string& data, int64_t timeout_ms) {
  natsMsg* reply = nullptr;
  check(natsConnection_Request(&reply, connection_, subject.c_str(), data.data(), static_cast<int>(data.size()),
                               timeout_ms),
        "request");
  const Msg msg(reply);
  return std::string(natsMsg_GetData(reply), natsMsg_GetDataLength(reply));
}

google::protobuf::Struct NatsLink::request_json(const std::string& subject, const std::string& data,
                                                int64_t timeout_ms) {
  google::protobuf::Struct json;
  const auto parsed = google::protobuf::util::JsonStringToMessage(request(subject, data, timeout_ms), &json);
  if (!parsed.ok()) throw NatsError("the server's reply is no JSON", NATS_ERR);
  const auto error = json.fields().find("error");
  if (error == json.fields().end()) return json;
  const auto& fields = error->second.struct_value().fields();
  const auto number = [&fields](const char* name, int otherwise) {
    const auto found = fields.find(name);
    return found == fields.end() ? otherwise : static_cast<int>(found->second.number_value());
  };
  const auto description = fields.find("description");
  throw NatsError(description == fields.end() ? "refused" : description->second.string_value(), number("code", 500),
                  number("err_code", 0));
}

void NatsLink::on_connected(natsConnection*, void* closure) {
  auto* self = static_cast<NatsLink*>(closure);
  if (self->was_connected_.exchange(true)) log(Level::info, "reconnected to NATS at " + self->url_);
  ++self->reconnects_;
}

void NatsLink::on_disconnected(natsConnection*, void* closure) {
  const auto* self = static_cast<NatsLink*>(closure);
  if (self->closing_ || !self->was_connected_) return;
  log(Level::warning, "disconnected from NATS at " + self->url_ + "; trying to reconnect");
}

void NatsLink::on_closed(natsConnection*, void* closure) {
  auto* self = static_cast<NatsLink*>(closure);
  self->closed_ = true;
  if (!self->closing_) log(Level::error, "the connection to NATS at " + self->url_ + " was closed for good");
}

void NatsLink::on_error(natsConnection*, natsSubscription*, natsStatus status, void* closure) {
  auto* self = static_cast<NatsLink*>(closure);
  const int64_t now = monotonic_us();
  if (now - self->error_logged_us_.exchange(now) < kRepeatLogUs) return;
  log(Level::warning, "NATS at " + self->url_ + ": " + natsStatus_GetText(status));
}

}  // namespace rv
