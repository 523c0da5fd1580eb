// What all calls of the service share: how requests are read, checked and queued, and how answers and errors are written.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <string>

#include "inbox.h"
#include "options.h"
#include "rendezvous/v1/model.pb.h"

namespace rv {

struct Desk {
  Desk(const ServeOptions& options, Inbox& inbox) : options(options), inbox(inbox) {}

  const ServeOptions& options;
  Inbox& inbox;
  std::atomic<bool> is_open{false};
  std::atomic<bool> is_closing{false};
  v1::ModelInfo info;

  // Throws Fault unless this model is meant and serves.
  void check_addressed(const std::string& endpoint) const;
  // Checks a request and queues it; throws Fault.
  void accept(const std::shared_ptr<Call>& call) const;
};

grpc::Status status_of(const Fault& fault);

// Throws Fault (TOO_LARGE).
void check_size(const grpc::ByteBuffer& buffer, int limit);

std::string traceparent_of(const grpc::CallbackServerContext& context);

// Parses a request; refuses what is none, with the column at fault where its text is not UTF-8 (P45).
void parse(const grpc::ByteBuffer& buffer, v1::ScoreRequest* request);

// Throws Fault (TOO_LARGE).
grpc::ByteBuffer serialized(const v1::ScoreReply& reply, int limit);

}  // namespace rv
