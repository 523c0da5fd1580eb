// A NATS connection with the settings that a long-running process needs: reconnects for ever, notices a silent server
// within seconds, logs what happens to it. May be used from any thread.
#pragma once

#include <nats/nats.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>

#include <google/protobuf/struct.pb.h>

namespace rv {

// What the NATS library or the server said instead of doing what was asked.
class NatsError : public std::runtime_error {
 public:
  NatsError(const std::string& what, natsStatus status)
      : std::runtime_error(what + ": " + natsStatus_GetText(status)), status(status) {}
  NatsError(const std::string& what, int code, int err_code)
      : std::runtime_error(what), status(NATS_ERR), code(code), err_code(err_code) {}

  natsStatus status;
  // JetStream's code (as HTTP's); 0: the server did not answer.
  int code = 0;
  // JetStream's own, finer code.
  int err_code = 0;
};

struct MsgDeleter {
  void operator()(natsMsg* msg) const { natsMsg_Destroy(msg); }
};
using Msg = std::unique_ptr<natsMsg, MsgDeleter>;

class NatsLink {
 public:
  // Begins to connect and returns; `is_connected` tells when it is. Throws NatsError for an address that is none.
  NatsLink(const std::string& urls, const std::string& name);
  ~NatsLink();
  NatsLink(const NatsLink&) = delete;
  NatsLink& operator=(const NatsLink&) = delete;

  natsConnection* raw() const { return connection_; }
  bool is_connected() const;
  // For good: the server refused the credentials, or `close` was called.
  bool is_closed() const { return closed_; }
  // How often it came back.
  int reconnects() const { return reconnects_; }
  // Which connection what is published now leaves by: each has a number, and so has the time between two. Messages
  // published at one and the same arrive in their order or, from the first that is lost on, not at all.
  uint64_t epoch() const;
  int64_t max_payload() const { return natsConnection_GetMaxPayload(connection_); }

  // Buffered; leaves with the next flush. Throws NatsError.
  void publish(const std::string& subject, const std::string& data);
  void publish_request(const std::string& subject, const std::string& reply, const std::string& data);
  // Has what was published sent at once, without waiting for it.
  void flush_soon() const;
  // Waits until the server has what was published; false: it did not say so in time.
  bool flush(int64_t timeout_ms);

  // Asks and waits. Throws NatsError.
  std::string request(const std::string& subject, const std::string& data, int64_t timeout_ms);
  // The same for JetStream's API: the reply as JSON; throws NatsError with its code if it has an error.
  google::protobuf::Struct request_json(const std::string& subject, const std::string& data, int64_t timeout_ms);

  void close();

 private:
  static void on_connected(natsConnection*, void* self);
  static void on_disconnected(natsConnection*, void* self);
  static void on_closed(natsConnection*, void* self);
  static void on_error(natsConnection*, natsSubscription*, natsStatus status, void* self);

  void run_flusher();

  natsConnection* connection_ = nullptr;
  std::string url_;
  std::atomic<bool> was_connected_{false};
  std::atomic<bool> closing_{false};
  std::atomic<bool> closed_{false};
  std::atomic<int> reconnects_{0};
  std::atomic<int64_t> error_logged_us_{0};

  struct Flusher;
  std::unique_ptr<Flusher> flusher_;
};

// The address without user names, passwords and tokens.
std::string redact(const std::string& urls);

}  // namespace rv
