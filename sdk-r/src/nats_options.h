// How a connection to NATS is made: addresses, patience, key, certificates. No connection is opened here.
#pragma once

#include <nats/nats.h>

#include <memory>
#include <string>

#include "security.h"

namespace rv {

struct NatsOptionsDeleter {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};
using NatsOptions = std::unique_ptr<natsOptions, NatsOptionsDeleter>;

// Reads the certificates, each time anew. Throws NatsError for an address that is none and for files that hold none.
NatsOptions make_nats_options(const std::string& urls, const std::string& name, const Security& security);

// The addresses without user names, passwords and tokens.
std::string redact(const std::string& urls);

// Whether the connections are encrypted: an address may ask for it.
bool is_nats_tls(const std::string& urls, const Security& security);

// Under which the replies to this connection arrive; of a key's owner, the only prefix allowed (P110).
std::string inbox_prefix(const Security& security);

}  // namespace rv
