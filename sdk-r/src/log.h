// Lines on standard error, as text or as JSON; may be written from any thread.
#pragma once

#include <string>

namespace rv {

enum class Level { debug = 10, info = 20, warning = 30, error = 40 };
enum class LogFormat { text, json };

// Which model and process each line is of; told in JSON alone.
struct LogIdentity {
  std::string endpoint;
  std::string model;
  std::string version;
  std::string replica;
};

// What one line is about; what is empty is not known.
struct LogFields {
  std::string request_id;
  std::string parcel_id;
  std::string trace_id;
  std::string error_code;
  // Calls that led to an error, one a line; in text it follows the line.
  std::string exception;
};

// Least level that is written (default: info), and how (default: text).
void set_log(Level level, LogFormat format);
bool is_log_json();
void set_log_identity(const LogIdentity& identity);
void log(Level level, const std::string& text, const LogFields& fields = {});

// By their names in the environment; anything else is the default.
Level level_of(const std::string& name);
LogFormat log_format_of(const std::string& name);

}  // namespace rv
