// Channels to servers, as a connection's security wants them.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "security.h"

namespace rv {

// Plaintext, TLS or mutual TLS; reads the files. Throws Fault (INVALID_REQUEST) for one that cannot be read.
std::shared_ptr<grpc::ChannelCredentials> channel_credentials(const Security& security);

// The metadata with which a call shows the key, where there is one.
void show_key(const Security& security, grpc::ClientContext* context);

}  // namespace rv
