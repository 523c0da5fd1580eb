#include "log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <ctime>

#include "names.h"

namespace rv {

namespace {
std::atomic<int> least{static_cast<int>(Level::info)};

const char* name_of(Level level) {
  switch (level) {
    case Level::debug: return "DEBUG";
    case Level::info: return "INFO";
    case Level::warning: return "WARNING";
    default: return "ERROR";
  }
}
}  // namespace

void set_log_level(Level level) { least = static_cast<int>(level); }

void log(Level level, const std::string& text) {
  if (static_cast<int>(level) < least) return;
  const int64_t now_us = unix_us();
  const std::time_t seconds = now_us / 1'000'000;
  std::tm parts;
  localtime_r(&seconds, &parts);
  char stamp[40];
  const size_t length = std::strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &parts);
  std::snprintf(stamp + length, sizeof stamp - length, ",%03d", static_cast<int>(now_us / 1000 % 1000));
  const std::string line = std::string(stamp) + " " + name_of(level) + " rendezvous: " + text + "\n";
  // A log that cannot be written has nowhere to say so.
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

}  // namespace rv
