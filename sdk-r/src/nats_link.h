// A NATS connection with the settings that a long-running process needs: reconnects for ever, also to a server that
// refuses it, notices a silent server within seconds, logs what happens to it. May be used from any thread.
//
// The library gives a connection up for good when its credentials or certificates are refused twice. A thread then makes a
// new one, with the certificates as they are in their files by then.
#pragma once

#include <nats/nats.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <string>

#include <google/protobuf/struct.pb.h>

#include "nats_error.h"
#include "nats_options.h"

namespace rv {

struct MsgDeleter {
  void operator()(natsMsg* msg) const { natsMsg_Destroy(msg); }
};
using Msg = std::unique_ptr<natsMsg, MsgDeleter>;
using Connection = std::shared_ptr<natsConnection>;

class NatsLink {
 public:
  // Begins to connect and returns; `is_connected` tells when it is. Throws NatsError for an address that is none and for
  // files that hold no certificate.
  NatsLink(const std::string& urls, const std::string& name, const Security& security);
  ~NatsLink();
  NatsLink(const NatsLink&) = delete;
  NatsLink& operator=(const NatsLink&) = delete;

  // Null before it was connected for the first time; replaced when the library has given it up.
  Connection raw() const;
  bool is_connected() const;
  // Whether the server refuses the key, the credentials or the certificate, or we refuse its. It is tried again.
  bool is_refused() const { return is_refused_; }
  // Whether there is no connection that could come back by itself.
  bool is_given_up() const { return natsConnection_Status(raw().get()) == NATS_CONN_STATUS_CLOSED; }
  // Whether a key was given: then only what the key's owner may do is tried.
  bool has_key() const { return !security_.key.empty(); }
  // How often the server has refused a subject.
  int violations() const { return violations_; }
  // A new subject for replies to this connection.
  std::string new_inbox() const;
  // How often it came back.
  int reconnects() const { return reconnects_; }
  // Which connection what is published now leaves by: each has a number, and so has the time between two. Messages
  // published at one and the same arrive in their order or, from the first that is lost on, not at all.
  uint64_t epoch() const;
  int64_t max_payload() const { return natsConnection_GetMaxPayload(raw().get()); }

  // Buffered; leaves with the next flush. Throws NatsError.
  void publish(const std::string& subject, const std::string& data);
  void publish_request(const std::string& subject, const std::string& reply, const std::string& data);
  // Has what was published sent at once, without waiting for it.
  void flush_soon() const;
  // Waits until the server has what was published; false: it did not say so in time.
  bool flush(int64_t timeout_ms);

  // Asks and waits. Throws NatsError; with NATS_NOT_PERMITTED where the server refused the subject meanwhile.
  std::string request(const std::string& subject, const std::string& data, int64_t timeout_ms);
  // The same for JetStream's API: the reply as JSON; throws NatsError with its code if it has an error.
  google::protobuf::Struct request_json(const std::string& subject, const std::string& data, int64_t timeout_ms);

  void close();

 private:
  static void on_reconnected(natsConnection*, void* self);
  static void on_disconnected(natsConnection*, void* self);
  static void on_closed(natsConnection*, void* self);
  static void on_error(natsConnection*, natsSubscription*, natsStatus status, void* self);

  NatsOptions options();
  void run();
  void look_after();
  void connect();
  void take(natsConnection* made);
  void explain(natsStatus status, const std::string& why);
  bool is_outdated();

  const std::string urls_;
  const std::string url_;  // without credentials
  const std::string name_;
  const Security security_;
  mutable std::mutex connection_mutex_;
  Connection connection_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> closing_{false};
  std::atomic<bool> is_refused_{false};
  std::atomic<int> open_{0};  // connections of which the library has yet to say that they are closed
  std::atomic<int> reconnects_{0};
  std::atomic<int> violations_{0};
  std::atomic<int64_t> error_logged_us_{0};
  int64_t explained_us_ = 0;
  int64_t lost_us_ = 0;
  natsStatus explained_ = NATS_OK;

  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable wanted_changed_;
  mutable bool is_flush_wanted_ = false;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace rv
