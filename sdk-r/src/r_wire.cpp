// A bare connection to the broker, with which the package's tests play the router.

#include "grpc_client.h"
#include "nats_link.h"
#include "postbox.h"
#include "r_model.h"

namespace {

struct Wire {
  Wire(const std::string& url, const rv::Security& security) : link(url, "test", security) {}
  ~Wire() { natsSubscription_Destroy(subscription); }

  rv::NatsLink link;
  natsSubscription* subscription = nullptr;
};

template <typename Body>
auto on_wire(SEXP pointer, Body body) {
  const Rcpp::XPtr<Wire> wire(pointer);
  return body(*wire);
}

}  // namespace

// [[Rcpp::export(rng = false)]]
SEXP wire_open(const std::string& url, const Rcpp::List& security) {
  return rv::guarded([&]() -> SEXP { return Rcpp::XPtr<Wire>(new Wire(url, rv::security_of(security))); });
}

// [[Rcpp::export(rng = false)]]
bool wire_is_connected(SEXP wire) {
  return on_wire(wire, [](Wire& open) { return open.link.is_connected(); });
}

// [[Rcpp::export(rng = false)]]
std::string wire_request(SEXP wire, const std::string& subject, SEXP data, double timeout_ms) {
  return on_wire(wire, [&](Wire& open) {
    return open.link.request(subject, rv::octets_of(data), static_cast<int64_t>(timeout_ms));
  });
}

// [[Rcpp::export(rng = false)]]
bool wire_subscribe(SEXP wire, const std::string& subject) {
  return on_wire(wire, [&](Wire& open) {
    return natsConnection_SubscribeSync(&open.subscription, open.link.raw().get(), subject.c_str()) == NATS_OK &&
           open.link.flush(static_cast<int64_t>(2000));
  });
}

// The next message, NULL if none comes in time.
// [[Rcpp::export(rng = false)]]
SEXP wire_next(SEXP wire, double timeout_ms) {
  return on_wire(wire, [&](Wire& open) -> SEXP {
    natsMsg* received = nullptr;
    if (natsSubscription_NextMsg(&received, open.subscription, static_cast<int64_t>(timeout_ms)) != NATS_OK) {
      return R_NilValue;
    }
    const rv::Msg msg(received);
    return rv::raw_of(std::string(natsMsg_GetData(received), natsMsg_GetDataLength(received)));
  });
}

// [[Rcpp::export(rng = false)]]
int credit_after(int present, int least, int scored, double took_us, bool is_again) {
  return rv::next_credit(present, least, scored, static_cast<int64_t>(took_us), is_again);
}

// [[Rcpp::export(rng = false)]]
int stream_unread(const std::string& address, SEXP frame, int count, double stuck_ms) {
  rv::v1::ScoreRequest request;
  request.mutable_inputs()->ParseFromString(rv::octets_of(frame));
  return rv::write_unread(address, request, count, static_cast<int64_t>(stuck_ms));
}
