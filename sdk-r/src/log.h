// Lines on standard error; may be written from any thread.
#pragma once

#include <string>

namespace rv {

enum class Level { debug = 10, info = 20, warning = 30, error = 40 };

// Least level that is written. Default: info.
void set_log_level(Level level);
void log(Level level, const std::string& text);

}  // namespace rv
