// Small things about text: numbers, names in messages, UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rv {

// A number as people write it.
std::string shown(double value);

// At most so many octets or characters, whole ones, and "..." where something was cut.
std::string cut_octets(const std::string& text, size_t limit);
std::string cut_characters(const std::string& text, size_t limit);

// A name for a message: in quotes, cut if it is very long.
std::string quoted(const std::string& name);

// A name for an attribute: cut if it is very long.
std::string shown_name(const std::string& name);

// `[2, 3]`.
std::string shown_shape(const std::vector<int64_t>& shape);

// Joined by ", "; of more than 20 the first, and how many there are more.
std::string listed(const std::vector<std::string>& names);

// Position of the first octet that is not UTF-8; -1: there is none.
int64_t first_bad_utf8(const char* text, size_t length);

// The name nearest to `name`; empty if none is near.
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

}  // namespace rv
