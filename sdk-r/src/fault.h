// The closed list of errors, and the one exception that carries them through the C++ core.
// Source: docs/protocol.md, section "Errors".
#pragma once

#include <exception>
#include <initializer_list>
#include <string>
#include <utility>

#include "rendezvous/v1/error.pb.h"

namespace rv {

namespace v1 = ::rendezvous::v1;

// What is fixed about one code.
struct ErrorFacts {
  v1::ErrorCode code;
  const char* name;
  const char* meaning;
  bool retryable;
  const char* grpc_status;
  int grpc_code;
  int http_status;
};

constexpr int kErrorCodes = 18;

// The table, in the order of the codes.
extern const ErrorFacts kErrorTable[kErrorCodes];

// Facts of a code; of a code not in the list, those of INTERNAL.
const ErrorFacts& facts_of(int code);

using Attributes = std::initializer_list<std::pair<const char*, std::string>>;

// An error of the closed list. Texts that are too long are cut: message 1,000 characters, attributes 4 KiB.
class Fault : public std::exception {
 public:
  Fault(v1::ErrorCode code, std::string message, Attributes attributes = {});
  explicit Fault(v1::Error error);

  const char* what() const noexcept override { return error_.message().c_str(); }
  const v1::Error& error() const { return error_; }
  v1::ErrorCode code() const { return error_.code(); }

 private:
  v1::Error error_;
};

}  // namespace rv
