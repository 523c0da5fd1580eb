#include "security.h"

#include <algorithm>

namespace rv {

namespace {
const std::string kPrefix = "rv_";
constexpr size_t kIdCharacters = 12;
constexpr size_t kSecretCharacters = 52;
constexpr size_t kIdAt = 3;
constexpr size_t kSecretAt = kIdAt + kIdCharacters + 1;
constexpr size_t kKeyCharacters = kSecretAt + kSecretCharacters;

bool is_base32(const std::string& text, size_t from, size_t count) {
  return std::all_of(text.begin() + from, text.begin() + from + count,
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7'); });
}

bool is_key_at(const std::string& text, size_t at) {
  return text.size() >= at + kKeyCharacters && text.compare(at, kIdAt, kPrefix) == 0 && text[at + kSecretAt - 1] == '_' &&
         is_base32(text, at + kIdAt, kIdCharacters) && is_base32(text, at + kSecretAt, kSecretCharacters);
}
}  // namespace

bool is_key(const std::string& text) { return text.size() == kKeyCharacters && is_key_at(text, 0); }

std::string key_id(const std::string& key) { return key.substr(kIdAt, kIdCharacters); }

std::string key_secret(const std::string& key) { return key.substr(kSecretAt); }

std::string hide_keys(std::string text) {
  for (size_t at = text.find(kPrefix); at != std::string::npos; at = text.find(kPrefix, at + 1)) {
    if (is_key_at(text, at)) text.replace(at + kSecretAt, kSecretCharacters, "***");
  }
  return text;
}

}  // namespace rv
