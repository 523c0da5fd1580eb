// What the NATS library or the server said instead of doing what was asked.
#pragma once

#include <nats/nats.h>

#include <stdexcept>
#include <string>

namespace rv {

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

// Throws NatsError unless it went well.
inline void check(natsStatus status, const std::string& what) {
  if (status != NATS_OK) throw NatsError(what, status);
}

}  // namespace rv
