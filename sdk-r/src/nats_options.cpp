#include "nats_options.h"

#include <algorithm>
#include <vector>

#include "nats_error.h"

namespace rv {

namespace {
constexpr int64_t kReconnectWaitMs = 200;
constexpr int64_t kPingIntervalMs = 3000;
constexpr int64_t kConnectTimeoutMs = 2000;
constexpr int kBufferBytes = 8 * 1024 * 1024;

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, start)) {
    parts.push_back(trimmed(text.substr(start, end - start)));
    start = end + 1;
  }
  parts.push_back(trimmed(text.substr(start)));
  return parts;
}

void set_security(natsOptions* options, const std::string& urls, const Security& security) {
  if (!security.key.empty()) {
    check(natsOptions_SetUserInfo(options, key_id(security.key).c_str(), key_secret(security.key).c_str()), "NATS key");
    check(natsOptions_SetCustomInboxPrefix(options, inbox_prefix(security).c_str()), "NATS inbox prefix");
  }
  if (!is_nats_tls(urls, security)) return;
  check(natsOptions_SetSecure(options, true), "TLS for NATS");
  if (!security.ca.empty()) {
    check(natsOptions_LoadCATrustedCertificates(options, security.ca.c_str()), "the authority in '" + security.ca + "'");
  }
  if (!security.cert.empty()) {
    check(natsOptions_LoadCertificatesChain(options, security.cert.c_str(), security.cert_key.c_str()),
          "the certificate in '" + security.cert + "' with the private key in '" + security.cert_key + "'");
  }
}
}  // namespace

std::string redact(const std::string& urls) {
  std::string shown;
  for (const auto& url : split(urls, ',')) {
    const size_t scheme = url.find("://"), at = url.rfind('@');
    const size_t host = scheme == std::string::npos ? 0 : scheme + 3;
    shown += (shown.empty() ? "" : ",") + url.substr(0, host) + url.substr(at == std::string::npos ? host : at + 1);
  }
  return shown;
}

bool is_nats_tls(const std::string& urls, const Security& security) {
  const auto servers = split(urls, ',');
  return security.is_tls ||
         std::any_of(servers.begin(), servers.end(), [](const auto& url) { return url.compare(0, 6, "tls://") == 0; });
}

std::string inbox_prefix(const Security& security) {
  return security.key.empty() ? "_INBOX" : "_INBOX_" + key_id(security.key);
}

NatsOptions make_nats_options(const std::string& urls, const std::string& name, const Security& security) {
  natsOptions* made = nullptr;
  check(natsOptions_Create(&made), "NATS options");
  NatsOptions options(made);
  const auto servers = split(urls, ',');
  std::vector<const char*> addresses;
  for (const auto& server : servers) addresses.push_back(server.c_str());
  check(natsOptions_SetServers(made, addresses.data(), static_cast<int>(addresses.size())), "NATS at " + redact(urls));
  check(natsOptions_SetName(made, name.c_str()), "NATS connection's name");
  check(natsOptions_SetTimeout(made, kConnectTimeoutMs), "NATS options");
  check(natsOptions_SetMaxReconnect(made, -1), "NATS options");
  check(natsOptions_SetReconnectWait(made, kReconnectWaitMs), "NATS options");
  check(natsOptions_SetReconnectBufSize(made, kBufferBytes), "NATS options");
  check(natsOptions_SetPingInterval(made, kPingIntervalMs), "NATS options");
  check(natsOptions_SetMaxPingsOut(made, 2), "NATS options");
  set_security(made, urls, security);
  return options;
}

}  // namespace rv
