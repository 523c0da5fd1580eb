#include "text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace rv {

namespace {
constexpr size_t kShownBytes = 80;
constexpr size_t kListedNames = 20;

// Octets that follow a leading one, and the range of the first of them (RFC 3629).
struct Sequence {
  int following;
  unsigned char least;
  unsigned char most;
};

Sequence sequence_of(unsigned char lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return {1, 0x80, 0xBF};
  if (lead == 0xE0) return {2, 0xA0, 0xBF};
  if (lead == 0xED) return {2, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {2, 0x80, 0xBF};
  if (lead == 0xF0) return {3, 0x90, 0xBF};
  if (lead >= 0xF1 && lead <= 0xF3) return {3, 0x80, 0xBF};
  if (lead == 0xF4) return {3, 0x80, 0x8F};
  return {-1, 0, 0};
}
}  // namespace

std::string shown(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Inf" : "-Inf";
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.15g", value);
  return buffer;
}

std::string cut_octets(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text;
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

std::string cut_characters(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text;
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_first = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (is_first && ++characters > limit) return cut_octets(text, i);
  }
  return text;
}

std::string shown_name(const std::string& name) { return cut_octets(name, kShownBytes); }

std::string quoted(const std::string& name) { return "'" + shown_name(name) + "'"; }

std::string shown_shape(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kListedNames; ++i) text += (i ? ", " : "") + shown_name(names[i]);
  if (names.size() > kListedNames) text += " and " + std::to_string(names.size() - kListedNames) + " more";
  return text;
}

int64_t first_bad_utf8(const char* text, size_t length) {
  for (size_t i = 0; i < length;) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const Sequence sequence = sequence_of(lead);
    if (sequence.following < 0 || i + sequence.following >= length) return static_cast<int64_t>(i);
    for (int k = 1; k <= sequence.following; ++k) {
      const auto octet = static_cast<unsigned char>(text[i + k]);
      const unsigned char least = k == 1 ? sequence.least : 0x80;
      const unsigned char most = k == 1 ? sequence.most : 0xBF;
      if (octet < least || octet > most) return static_cast<int64_t>(i);
    }
    i += sequence.following + 1;
  }
  return -1;
}

namespace {
size_t edit_distance(const std::string& left, const std::string& right) {
  std::vector<size_t> row(right.size() + 1);
  for (size_t j = 0; j <= right.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= left.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= right.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (left[i - 1] != right[j - 1])});
      diagonal = above;
    }
  }
  return row[right.size()];
}
}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& known) {
  std::string nearest;
  if (name.size() > kShownBytes) return nearest;
  size_t least = std::max<size_t>(1, name.size() / 3) + 1;
  for (const auto& candidate : known) {
    if (candidate.size() > kShownBytes) continue;
    const size_t distance = edit_distance(name, candidate);
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace rv
