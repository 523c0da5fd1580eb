#include "log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <ctime>
#include <mutex>

#include "names.h"
#include "security.h"
#include "text.h"

namespace rv {

namespace {
std::atomic<int> least{static_cast<int>(Level::info)};
std::atomic<bool> is_json{false};
std::mutex identity_mutex;
LogIdentity identity;

const char* name_of(Level level) {
  switch (level) {
    case Level::debug: return "DEBUG";
    case Level::info: return "INFO";
    case Level::warning: return "WARNING";
    default: return "ERROR";
  }
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string time_text(int64_t now_us) {
  const std::time_t seconds = now_us / 1'000'000;
  std::tm parts;
  localtime_r(&seconds, &parts);
  char stamp[40];
  const size_t length = std::strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &parts);
  std::snprintf(stamp + length, sizeof stamp - length, ",%03d", static_cast<int>(now_us / 1000 % 1000));
  return stamp;
}

std::string time_json(int64_t now_us) {
  const std::time_t seconds = now_us / 1'000'000;
  std::tm parts;
  gmtime_r(&seconds, &parts);
  char stamp[40];
  const size_t length = std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(stamp + length, sizeof stamp - length, ".%06dZ", static_cast<int>(now_us % 1'000'000));
  return stamp;
}

// A JSON string; octets that are no UTF-8 become question marks, so that each line can be read.
std::string json_string(std::string text) {
  for (int64_t bad; (bad = first_bad_utf8(text.data(), text.size())) >= 0;) text[static_cast<size_t>(bad)] = '?';
  std::string json = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': json += "\\\""; break;
      case '\\': json += "\\\\"; break;
      case '\n': json += "\\n"; break;
      case '\r': json += "\\r"; break;
      case '\t': json += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) {
          json += c;
          continue;
        }
        char escaped[8];
        std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
        json += escaped;
    }
  }
  return json + "\"";
}

void add(std::string* line, const char* name, const std::string& value) {
  if (!value.empty()) *line += std::string(", \"") + name + "\": " + json_string(value);
}

std::string json_line(Level level, const std::string& text, const LogFields& fields) {
  std::string line = "{\"time\": \"" + time_json(unix_us()) + "\"";
  add(&line, "level", lower(name_of(level)));
  add(&line, "logger", "rendezvous");
  add(&line, "event", text);
  add(&line, "trace_id", fields.trace_id);
  add(&line, "request_id", fields.request_id);
  {
    const std::lock_guard<std::mutex> lock(identity_mutex);
    add(&line, "endpoint", identity.endpoint);
    add(&line, "model", identity.model);
    add(&line, "version", identity.version);
    add(&line, "replica", identity.replica);
  }
  add(&line, "parcel_id", fields.parcel_id);
  add(&line, "error_code", fields.error_code);
  add(&line, "exception", fields.exception);
  return line + "}\n";
}

std::string text_line(Level level, const std::string& text, const LogFields& fields) {
  const std::string line = time_text(unix_us()) + " " + name_of(level) + " rendezvous: " + text + "\n";
  return fields.exception.empty() ? line : line + fields.exception + "\n";
}
}  // namespace

void set_log(Level level, LogFormat format) {
  least = static_cast<int>(level);
  is_json = format == LogFormat::json;
}

bool is_log_json() { return is_json; }

void set_log_identity(const LogIdentity& given) {
  const std::lock_guard<std::mutex> lock(identity_mutex);
  identity = given;
}

void log(Level level, const std::string& text, const LogFields& fields) {
  if (static_cast<int>(level) < least) return;
  const std::string line = hide_keys(is_json ? json_line(level, text, fields) : text_line(level, text, fields));
  // A log that cannot be written has nowhere to say so.
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

Level level_of(const std::string& name) {
  const std::string known = lower(name);
  if (known == "debug" || known == "trace") return Level::debug;
  if (known == "warning" || known == "warn") return Level::warning;
  return known == "error" ? Level::error : Level::info;
}

LogFormat log_format_of(const std::string& name) { return lower(name) == "json" ? LogFormat::json : LogFormat::text; }

}  // namespace rv
