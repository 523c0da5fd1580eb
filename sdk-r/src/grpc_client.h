// Calls an endpoint, or a model directly. Calls wait in slices, so that the caller can be interrupted.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fault.h"
#include "rendezvous/v1/feedback.pb.h"
#include "rendezvous/v1/score.pb.h"
#include "security.h"

namespace rv {

// Asked between slices of waiting; true: the call is cancelled and ends with `Interrupted`.
using IsInterrupted = std::function<bool()>;
class Interrupted : public std::exception {};

// The error of a failed call: from its metadata (*error_bin*, may be empty), else from its status. *retry_after_ms*, what
// the server says of when to try again (may be empty), becomes the attribute of that name.
v1::Error error_of_status(int grpc_code, const std::string& details, const std::string& error_bin,
                          const std::string& retry_after_ms);

class GrpcClient {
 public:
  // Throws Fault for certificates that cannot be read.
  GrpcClient(const std::string& address, int max_message_bytes, const Security& security);
  ~GrpcClient();

  // One attempt each. Throw Fault, Interrupted.
  v1::ModelInfo describe(const std::string& endpoint, int64_t timeout_ms, const IsInterrupted& is_interrupted);
  v1::ScoreReply score(const v1::ScoreRequest& request, int64_t timeout_ms, const IsInterrupted& is_interrupted);
  v1::RecordReply record(const v1::RecordRequest& request, int64_t timeout_ms, const IsInterrupted& is_interrupted);

  // Sends all over one call, at most 64 unanswered at a time; answers in the order of the requests. A request that
  // failed has `error` in its reply. *timeout_ms* 0: no limit.
  std::vector<v1::ScoreReply> stream(const std::vector<v1::ScoreRequest>& requests, int64_t timeout_ms,
                                     const IsInterrupted& is_interrupted);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// Writes the request on one stream again and again without reading an answer, until one write has waited for *stuck_ms*
// or *count* are written; how often that went well. For tests of servers.
int write_unread(const std::string& address, const v1::ScoreRequest& request, int count, int64_t stuck_ms);

}  // namespace rv
