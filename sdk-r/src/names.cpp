#include "names.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <random>

#include "fault.h"
#include "text.h"

namespace rv {

namespace {
bool is_word(const std::string& value, bool with_dots) {
  if (value.empty() || value.size() > 64) return false;
  return std::all_of(value.begin(), value.end(), [with_dots](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           (with_dots && c == '.');
  });
}

[[noreturn]] void refuse_name(const std::string& kind, const std::string& value, const std::string& allowed) {
  throw Fault(v1::ERROR_CODE_INVALID_REQUEST,
              kind + " " + quoted(value) + " is not allowed (" + std::to_string(value.size()) +
                  " characters): use 1 to 64 of " + allowed,
              {{"kind", kind}, {"value", shown_name(value)}, {"allowed", allowed}});
}
}  // namespace

bool is_name(const std::string& value) { return is_word(value, false); }

const std::string& check_name(const std::string& kind, const std::string& value) {
  if (!is_name(value)) refuse_name(kind, value, "A-Z a-z 0-9 _ -");
  return value;
}

const std::string& check_version(const std::string& value) {
  if (!is_word(value, true)) refuse_name("version", value, "A-Z a-z 0-9 _ - .");
  return value;
}

std::string version_token(const std::string& version) {
  std::string token = check_version(version);
  std::replace(token.begin(), token.end(), '.', '-');
  return token;
}

std::string durable_stream(const std::string& endpoint) { return "RV_" + check_name("endpoint", endpoint); }

std::string input_subject(const std::string& endpoint) { return "rv." + check_name("endpoint", endpoint) + ".input"; }

std::string raw_subject(const std::string& endpoint, int stage) {
  return "rv." + check_name("endpoint", endpoint) + ".raw" + (stage == 1 ? "" : "." + std::to_string(stage));
}

std::string score_subject(const std::string& endpoint, const std::string& model, const std::string& router) {
  return "rv." + check_name("endpoint", endpoint) + ".score." + check_name("model", model) + "." +
         check_name("router", router);
}

std::string consumer_name(const std::string& model, const std::string& version) {
  return check_name("model", model) + "__" + version_token(version);
}

std::string model_key(const std::string& endpoint, const std::string& model, const std::string& version) {
  return check_name("endpoint", endpoint) + "." + check_name("model", model) + "." + version_token(version);
}

std::string new_id() {
  static std::mutex mutex;
  static std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  uint64_t high, low;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    high = random();
    low = random();
  }
  const auto ms = static_cast<uint64_t>(unix_us() / 1000);
  char text[37];
  std::snprintf(text, sizeof text, "%08llx-%04llx-%04llx-%04llx-%012llx",
                static_cast<unsigned long long>(ms >> 16 & 0xFFFFFFFF), static_cast<unsigned long long>(ms & 0xFFFF),
                static_cast<unsigned long long>(0x7000 | (high & 0x0FFF)),
                static_cast<unsigned long long>(0x8000 | (low >> 48 & 0x3FFF)),
                static_cast<unsigned long long>(low & 0xFFFFFFFFFFFFULL));
  return text;
}

namespace {
bool is_hex(const std::string& text, size_t from, size_t count) {
  return std::all_of(text.begin() + from, text.begin() + from + count,
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_zero(const std::string& text, size_t from, size_t count) {
  return std::all_of(text.begin() + from, text.begin() + from + count, [](char c) { return c == '0'; });
}
}  // namespace

bool is_traceparent(const std::string& text) {
  constexpr size_t kLength = 55;  // version-trace id-span id-flags
  if (text.size() < kLength || text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  if (!is_hex(text, 0, 2) || !is_hex(text, 3, 32) || !is_hex(text, 36, 16) || !is_hex(text, 53, 2)) return false;
  if (is_zero(text, 3, 32) || is_zero(text, 36, 16) || text.compare(0, 2, "ff") == 0) return false;
  if (text.compare(0, 2, "00") == 0) return text.size() == kLength;
  return text.size() == kLength || text[kLength] == '-';
}

int64_t unix_us() {
  using namespace std::chrono;
  return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

int64_t monotonic_us() {
  using namespace std::chrono;
  return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace rv
