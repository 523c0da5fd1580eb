#include "half.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rv {

namespace {
constexpr int kFractionBits = 10;
constexpr int kLeastExponent = -14;
constexpr int kGreatestExponent = 15;
constexpr uint16_t kInfinite = 0x7C00;
constexpr uint16_t kQuietNan = 0x7E00;
}  // namespace

double half_to_double(uint16_t bits) {
  const int exponent = bits >> kFractionBits & 0x1F, fraction = bits & 0x3FF;
  double value;
  if (exponent == 0x1F) {
    value = fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(fraction, kLeastExponent - kFractionBits);
  } else {
    value = std::ldexp(fraction | 0x400, exponent - 15 - kFractionBits);
  }
  return bits & 0x8000 ? -value : value;
}

uint16_t double_to_half(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  if (std::isnan(value)) return kQuietNan;
  if (std::isinf(value)) return sign | kInfinite;
  if (magnitude == 0) return sign;
  const int exponent = std::max(std::ilogb(magnitude), kLeastExponent);
  if (exponent > kGreatestExponent) return sign | kInfinite;
  // Units of the last place; rounding up may carry into the exponent, which is what the sum below does.
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, kFractionBits - exponent)));
  const uint32_t bits = (static_cast<uint32_t>(exponent - kLeastExponent) << kFractionBits) + units;
  return sign | static_cast<uint16_t>(bits > kInfinite ? kInfinite : bits);
}

}  // namespace rv
