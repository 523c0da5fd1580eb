// The service `Score` for one model, with health and reflection. Its threads never touch R: requests go into the inbox.
#pragma once

#include <memory>
#include <string>

#include "inbox.h"
#include "options.h"
#include "rendezvous/v1/model.pb.h"

namespace rv {

class GrpcServer {
 public:
  // Listens. Throws Fault (UNAVAILABLE) if the port is taken.
  GrpcServer(const ServeOptions& options, Inbox& inbox);
  ~GrpcServer();

  int port() const;
  // What `Describe` answers; reports SERVING. Until then requests are UNAVAILABLE.
  void open(const v1::ModelInfo& info);
  // Whether health says SERVING, once open. Any thread.
  void set_healthy(bool is_healthy);
  // Reports NOT_SERVING, refuses new calls, waits until running ones have ended or the time is over.
  void shut_down(int64_t grace_ms);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace rv
