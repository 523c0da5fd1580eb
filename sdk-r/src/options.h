// How one model version is served; checked in R before it gets here.
#pragma once

#include <cstdint>
#include <string>

#include "security.h"

namespace rv {

struct ServeOptions {
  std::string endpoint;
  std::string name;
  std::string version;
  std::string replica;
  std::string nats;
  std::string grpc_host;
  int grpc_port = 0;
  bool postbox = true;
  bool grpc = true;
  int64_t ack_wait_us = 1'000'000;
  int64_t scoring_limit_us = 60'000'000;
  int credit = 4;
  int enricher = 0;  // its stage; 0: a model
  int64_t max_joined_rows = 16384;
  int max_message_bytes = 4 * 1024 * 1024;
  size_t queue_capacity = 1024;
  Security security;
};

}  // namespace rv
