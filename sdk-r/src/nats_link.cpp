#include "nats_link.h"

#include <google/protobuf/util/json_util.h>

#include <chrono>

#include "log.h"
#include "names.h"

namespace rv {

namespace {
constexpr int64_t kRepeatLogUs = 10'000'000;
constexpr int64_t kRepeatExplanationUs = 15'000'000;
constexpr int64_t kFlushTimeoutMs = 1000;
constexpr int64_t kLookMs = 100;
constexpr int64_t kAttemptMs = 500;
constexpr int64_t kOutdatedUs = 5'000'000;
constexpr int64_t kLastWordsUs = 1'000'000;
constexpr uint64_t kGeneration = uint64_t{1} << 32;

// What the library said last in this thread, without the place in its sources: `(conn.c:733): SSL handshake error...`.
std::string last_words(natsStatus status) {
  natsStatus said = status;
  const char* text = nats_GetLastError(&said);
  const std::string words = said == status && text != nullptr ? text : "";
  const size_t place = words.find("): ");
  const std::string cause = words.empty() || words[0] != '(' || place == std::string::npos ? words : words.substr(place + 3);
  return cause.empty() ? natsStatus_GetText(status) : natsStatus_GetText(status) + (": " + cause);
}
}  // namespace

NatsLink::NatsLink(const std::string& urls, const std::string& name, const Security& security)
    : urls_(urls), url_(redact(urls)), name_(name), security_(security) {
  options();  // what is wrong with them is said here
  thread_ = std::thread([this] { run(); });
}

NatsLink::~NatsLink() {
  close();
  // The library's callbacks come later, and are given this object.
  const int64_t until = monotonic_us() + kLastWordsUs;
  while (open_ > 0 && monotonic_us() < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void NatsLink::close() {
  closing_ = true;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_stopping_ = true;
  }
  wanted_changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  natsConnection_Close(raw().get());
}

NatsOptions NatsLink::options() {
  auto made = make_nats_options(urls_, name_, security_);
  check(natsOptions_SetReconnectedCB(made.get(), on_reconnected, this), "NATS options");
  check(natsOptions_SetDisconnectedCB(made.get(), on_disconnected, this), "NATS options");
  check(natsOptions_SetClosedCB(made.get(), on_closed, this), "NATS options");
  check(natsOptions_SetErrorHandler(made.get(), on_error, this), "NATS options");
  return made;
}

Connection NatsLink::raw() const {
  const std::lock_guard<std::mutex> lock(connection_mutex_);
  return connection_;
}

bool NatsLink::is_connected() const { return natsConnection_Status(raw().get()) == NATS_CONN_STATUS_CONNECTED; }

std::string NatsLink::new_inbox() const { return inbox_prefix(security_) + "." + new_id(); }

// Told by the library itself at the moment of asking: its callbacks come later.
uint64_t NatsLink::epoch() const {
  const uint64_t generation = generation_;
  natsStatistics* made = nullptr;
  check(natsStatistics_Create(&made), "NATS statistics");
  const std::unique_ptr<natsStatistics, void (*)(natsStatistics*)> statistics(made, natsStatistics_Destroy);
  uint64_t reconnects = 0;
  check(natsConnection_GetStats(raw().get(), made), "NATS statistics");
  check(natsStatistics_GetCounts(made, nullptr, nullptr, nullptr, nullptr, &reconnects), "NATS statistics");
  return generation * kGeneration + 2 * reconnects + (is_connected() ? 1 : 0);
}

void NatsLink::publish(const std::string& subject, const std::string& data) {
  check(natsConnection_Publish(raw().get(), subject.c_str(), data.data(), static_cast<int>(data.size())), "publish");
}

void NatsLink::publish_request(const std::string& subject, const std::string& reply, const std::string& data) {
  check(natsConnection_PublishRequest(raw().get(), subject.c_str(), reply.c_str(), data.data(),
                                      static_cast<int>(data.size())),
        "publish");
}

// libnats leaves published messages in a buffer for a millisecond, and its flush waits for the server. So another
// thread flushes: what was published together leaves together, and nobody waits.
void NatsLink::flush_soon() const {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_flush_wanted_ = true;
  }
  wanted_changed_.notify_one();
}

bool NatsLink::flush(int64_t timeout_ms) { return natsConnection_FlushTimeout(raw().get(), timeout_ms) == NATS_OK; }

// The thread that connects, and flushes.
void NatsLink::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!is_stopping_) {
    const bool is_wanted = is_flush_wanted_;
    is_flush_wanted_ = false;
    lock.unlock();
    // Not connected: what was published waits in the buffer and leaves with the reconnection.
    if (is_wanted && is_connected() && !flush(kFlushTimeoutMs)) log(Level::debug, "not flushed in time");
    look_after();
    lock.lock();
    const auto pause = std::chrono::milliseconds(is_given_up() ? kAttemptMs : kLookMs);
    wanted_changed_.wait_for(lock, pause, [this] { return is_flush_wanted_ || is_stopping_; });
    if (is_given_up()) is_flush_wanted_ = false;  // there is nothing to flush, and no hurry
  }
}

void NatsLink::look_after() {
  if (is_given_up() || is_outdated()) connect();
}

// Whether the connection cannot come back for some time although it is tried: its certificates may have run out, and new
// ones be in the files.
bool NatsLink::is_outdated() {
  const bool is_lost = !is_connected();
  if (!is_lost) lost_us_ = 0;
  if (is_lost && lost_us_ == 0) lost_us_ = monotonic_us();
  return is_lost && is_nats_tls(urls_, security_) && monotonic_us() - lost_us_ > kOutdatedUs;
}

// One attempt, which tells why it failed: the library's own attempts do not.
void NatsLink::connect() {
  lost_us_ = 0;
  try {
    const auto made = options();
    natsConnection* connection = nullptr;
    const natsStatus status = natsConnection_Connect(&connection, made.get());
    if (status != NATS_OK) return explain(status, last_words(status));
    take(connection);
  } catch (const NatsError& error) {
    explain(error.status, error.what());
  }
}

void NatsLink::take(natsConnection* made) {
  ++open_;
  const bool is_first = generation_ == 0;
  Connection before(made, natsConnection_Destroy);
  {
    const std::lock_guard<std::mutex> lock(connection_mutex_);
    connection_.swap(before);
    ++generation_;
  }
  is_refused_ = false;
  explained_ = NATS_OK;
  ++reconnects_;
  if (!is_first) log(Level::info, "reconnected to NATS at " + url_);
}

void NatsLink::explain(natsStatus status, const std::string& why) {
  const bool is_unwanted = status == NATS_CONNECTION_AUTH_FAILED;
  is_refused_ = is_unwanted || status == NATS_SSL_ERROR;
  const int64_t now = monotonic_us();
  if (status == explained_ && now - explained_us_ < kRepeatExplanationUs) return;
  explained_ = status;
  explained_us_ = now;
  if (!is_refused_) return log(Level::debug, "no connection to NATS at " + url_ + ": " + why);
  if (!is_unwanted) {
    return log(Level::error, "no secure connection to NATS at " + url_ + " (" + why + "); trying again");
  }
  const std::string whom = has_key() ? "the key " + key_id(security_.key) + ": it is wrong, revoked or has expired, or this is not its server"
                                     : "this connection, which shows no key: set RENDEZVOUS_KEY";
  log(Level::error, "NATS at " + url_ + " refuses " + whom + "; trying again");
}

std::string NatsLink::request(const std::string& subject, const std::string& data, int64_t timeout_ms) {
  const Connection connection = raw();
  if (connection == nullptr) throw NatsError("request", NATS_NOT_YET_CONNECTED);
  const int violations = violations_;
  natsMsg* reply = nullptr;
  const natsStatus status = natsConnection_Request(&reply, connection.get(), subject.c_str(), data.data(),
                                                   static_cast<int>(data.size()), timeout_ms);
  check(status == NATS_TIMEOUT && violations_ != violations ? NATS_NOT_PERMITTED : status, "request");
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

void NatsLink::on_reconnected(natsConnection*, void* closure) {
  auto* self = static_cast<NatsLink*>(closure);
  log(Level::info, "reconnected to NATS at " + self->url_);
  ++self->reconnects_;
}

void NatsLink::on_disconnected(natsConnection* connection, void* closure) {
  const auto* self = static_cast<NatsLink*>(closure);
  if (self->closing_ || connection != self->raw().get()) return;
  log(Level::warning, "disconnected from NATS at " + self->url_ + "; trying to reconnect");
}

void NatsLink::on_closed(natsConnection*, void* closure) { --static_cast<NatsLink*>(closure)->open_; }

void NatsLink::on_error(natsConnection* connection, natsSubscription*, natsStatus status, void* closure) {
  auto* self = static_cast<NatsLink*>(closure);
  if (status == NATS_NOT_PERMITTED) ++self->violations_;
  const int64_t now = monotonic_us();
  if (now - self->error_logged_us_.exchange(now) < kRepeatLogUs) return;
  const char* said = nullptr;
  natsConnection_GetLastError(connection, &said);
  const std::string why = status == NATS_NOT_PERMITTED && said != nullptr ? std::string(": ") + said : "";
  log(Level::warning, "NATS at " + self->url_ + ": " + natsStatus_GetText(status) + why);
}

}  // namespace rv
