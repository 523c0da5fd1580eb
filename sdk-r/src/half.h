// IEEE 754 binary16, and floating-point elements of any width as double.
#pragma once

#include <cstdint>
#include <cstring>

#include "rendezvous/v1/frame.pb.h"

namespace rv {

// Exact.
double half_to_double(uint16_t bits);

// Rounded to nearest, ties to even; beyond the range: infinite.
uint16_t double_to_half(double value);

// Element *index* of a floating-point column, as double.
inline double float_at(const ::rendezvous::v1::Column& column, int64_t index) {
  const char* values = column.values().data();
  if (column.type() == ::rendezvous::v1::DATA_TYPE_FP16) {
    uint16_t bits;
    std::memcpy(&bits, values + index * 2, sizeof bits);
    return half_to_double(bits);
  }
  if (column.type() == ::rendezvous::v1::DATA_TYPE_FP32) {
    float value;
    std::memcpy(&value, values + index * 4, sizeof value);
    return value;
  }
  double value;
  std::memcpy(&value, values + index * 8, sizeof value);
  return value;
}

}  // namespace rv
