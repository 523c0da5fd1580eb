// What scorecard.cpp, frame.cpp and main.cpp know of each other.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>

#include "rendezvous/v1/score.grpc.pb.h"

namespace v1 = rendezvous::v1;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns are read as they came, little endian");

// The beginning of a text for a message: at most 80 bytes, not ending within a character.
inline std::string cut(const std::string& text) {
  if (text.size() <= 80) return text;
  size_t end = 80;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

// Why a request is not scored; the column is named where one is at fault.
struct Refusal : std::runtime_error {
  Refusal(v1::ErrorCode code, const std::string& message, const std::string& column = "")
      : std::runtime_error(column.empty() ? message : "column '" + cut(column) + "': " + message),
        code(code),
        column(cut(column)) {}
  v1::ErrorCode code;
  std::string column;
};

// Reads elements in the bytes that came; memcpy because they need not be aligned, and it costs one instruction.
class Column {
 public:
  explicit Column(const v1::Column& message) : message_(&message) {}
  bool missing(int64_t row) const {
    const std::string& bits = message_->missing();
    return !bits.empty() && (static_cast<unsigned char>(bits[row / 8]) >> (row % 8) & 1);
  }
  int64_t int64(int64_t row) const { return element<int64_t>(row); }
  double fp64(int64_t row) const { return element<double>(row); }
  const std::string& string(int64_t row) const { return message_->strings(static_cast<int>(row)); }

 private:
  template <typename Element>
  Element element(int64_t row) const {
    Element value;
    std::memcpy(&value, message_->values().data() + row * sizeof(Element), sizeof(Element));
    return value;
  }
  const v1::Column* message_;
};

using Columns = std::map<std::string, Column>;

// scorecard.cpp: the model.
v1::Signature signature();
v1::ModelInfo description();
void score(const Columns& columns, v1::Frame& outputs);  // outputs.rows() is set

// frame.cpp: both throw Refusal.
void check_frame(const v1::Frame& frame);
Columns check_signature(const v1::Frame& frame, const v1::Signature& signature);
