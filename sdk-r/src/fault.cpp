#include "fault.h"

#include <algorithm>
#include <vector>

#include "security.h"
#include "text.h"

namespace rv {

const ErrorFacts kErrorTable[kErrorCodes] = {
    {v1::ERROR_CODE_INVALID_REQUEST, "INVALID_REQUEST",
     "A field of the request (id, endpoint name, context) is malformed.", false, "INVALID_ARGUMENT", 3, 400},
    {v1::ERROR_CODE_INVALID_FRAME, "INVALID_FRAME",
     "The frame contradicts itself: lengths, bitmap, UTF-8, duplicate or unnamed columns, no rows.", false,
     "INVALID_ARGUMENT", 3, 400},
    {v1::ERROR_CODE_SIGNATURE_MISMATCH, "SIGNATURE_MISMATCH",
     "The frame does not match the signature: missing, extra, mistyped or misshapen column, value not allowed.",
     false, "INVALID_ARGUMENT", 3, 400},
    {v1::ERROR_CODE_TOO_LARGE, "TOO_LARGE", "More rows or bytes than the limit.", false, "INVALID_ARGUMENT", 3, 413},
    {v1::ERROR_CODE_UNKNOWN_ENDPOINT, "UNKNOWN_ENDPOINT",
     "The endpoint does not exist (here, or for this caller).", false, "NOT_FOUND", 5, 404},
    {v1::ERROR_CODE_UNKNOWN_MODEL, "UNKNOWN_MODEL",
     "A model was forced or addressed that the endpoint does not have.", false, "NOT_FOUND", 5, 404},
    {v1::ERROR_CODE_REQUEST_ID_CONFLICT, "REQUEST_ID_CONFLICT",
     "The same request id was used before with other content.", false, "ALREADY_EXISTS", 6, 409},
    {v1::ERROR_CODE_INVALID_SPEC, "INVALID_SPEC", "The endpoint's specification is not valid.", false,
     "INVALID_ARGUMENT", 3, 400},
    {v1::ERROR_CODE_EXPIRED, "EXPIRED", "The deadline had passed before the request could be scored.", false,
     "DEADLINE_EXCEEDED", 4, 504},
    {v1::ERROR_CODE_NO_ANSWER, "NO_ANSWER",
     "No score satisfied the policy by the deadline, and the policy's `otherwise` is `error`.", true,
     "DEADLINE_EXCEEDED", 4, 504},
    {v1::ERROR_CODE_OVERLOADED, "OVERLOADED", "Too many requests in flight; try again later.", true,
     "RESOURCE_EXHAUSTED", 8, 429},
    {v1::ERROR_CODE_UNAVAILABLE, "UNAVAILABLE",
     "The postbox, the router or the model cannot be reached or is shutting down; "
     "try again with the same request id.",
     true, "UNAVAILABLE", 14, 503},
    {v1::ERROR_CODE_MODEL_FAILED, "MODEL_FAILED", "The model raised an error on this input.", false, "INTERNAL", 13,
     500},
    {v1::ERROR_CODE_INVALID_OUTPUT, "INVALID_OUTPUT",
     "The model answered something that its signature does not allow: rows, columns, types, NaN.", false, "INTERNAL",
     13, 502},
    {v1::ERROR_CODE_UNAUTHENTICATED, "UNAUTHENTICATED", "No or no valid credentials.", false, "UNAUTHENTICATED", 16,
     401},
    {v1::ERROR_CODE_PERMISSION_DENIED, "PERMISSION_DENIED", "The credentials do not allow this.", false,
     "PERMISSION_DENIED", 7, 403},
    {v1::ERROR_CODE_UNIMPLEMENTED, "UNIMPLEMENTED", "This server does not offer the operation.", false,
     "UNIMPLEMENTED", 12, 501},
    {v1::ERROR_CODE_INTERNAL, "INTERNAL", "A fault of this system; please report it.", false, "INTERNAL", 13, 500},
};

const ErrorFacts& facts_of(int code) {
  if (code < 1 || code > kErrorCodes) return kErrorTable[kErrorCodes - 1];
  return kErrorTable[code - 1];
}

namespace {
constexpr size_t kMessageCharacters = 1000;
constexpr size_t kValueOctets = 2000;
constexpr size_t kAttributesOctets = 4096;

// An error travels in metadata, of which there is little (P81): of the attributes, the shortest stay.
v1::Error bounded(v1::Error error) {
  error.set_message(hide_keys(error.message()));
  for (auto& each : *error.mutable_attributes()) each.second = hide_keys(each.second);
  if (error.ByteSizeLong() <= kMessageCharacters) return error;
  error.set_message(cut_characters(error.message(), kMessageCharacters - 3));
  std::vector<std::pair<std::string, std::string>> attributes;
  for (const auto& [name, value] : error.attributes()) {
    attributes.emplace_back(shown_name(name), cut_octets(value, kValueOctets));
  }
  const auto size_of = [](const auto& each) { return each.first.size() + each.second.size(); };
  std::sort(attributes.begin(), attributes.end(), [&](const auto& left, const auto& right) {
    return std::make_pair(size_of(left), left.first) < std::make_pair(size_of(right), right.first);
  });
  error.clear_attributes();
  size_t octets = 0;
  for (const auto& each : attributes) {
    octets += size_of(each);
    if (octets <= kAttributesOctets) (*error.mutable_attributes())[each.first] = each.second;
  }
  return error;
}
}  // namespace

Fault::Fault(v1::Error error) : error_(bounded(std::move(error))) {}

Fault::Fault(v1::ErrorCode code, std::string message, Attributes attributes) {
  error_.set_code(code);
  error_.set_message(std::move(message));
  for (const auto& [name, value] : attributes) (*error_.mutable_attributes())[name] = value;
  error_ = bounded(std::move(error_));
}

}  // namespace rv
