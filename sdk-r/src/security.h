// What a connection shows and asks for: a key, and certificates. A key never gets into a message.
// Source: docs/protocol.md, section "What a model may do" (P110, P114).
#pragma once

#include <string>

namespace rv {

struct Security {
  // `rv_<id>_<secret>`; empty: none.
  std::string key;
  // PEM files; empty: the system's authorities, no certificate of our own.
  std::string ca;
  std::string cert;
  std::string cert_key;
  bool is_tls = false;
};

// Whether the text is a key as a whole.
bool is_key(const std::string& text);
// The parts of a key: its public name, also the user's in NATS, and the password.
std::string key_id(const std::string& key);
std::string key_secret(const std::string& key);

// The text with the secret of each key in it as stars.
std::string hide_keys(std::string text);

}  // namespace rv
