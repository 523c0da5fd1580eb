#include "grpc_channel.h"

#include <fstream>
#include <sstream>

#include "fault.h"

namespace rv {

namespace {
std::string content_of(const std::string& file) {
  if (file.empty()) return "";
  std::ifstream stream(file, std::ios::binary);
  std::stringstream content;
  content << stream.rdbuf();
  if (stream.good() || stream.eof()) {
    if (!content.str().empty()) return content.str();
  }
  throw Fault(v1::ERROR_CODE_INVALID_REQUEST, "the PEM file '" + file + "' cannot be read", {{"file", file}});
}
}  // namespace

std::shared_ptr<grpc::ChannelCredentials> channel_credentials(const Security& security) {
  if (!security.is_tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = content_of(security.ca);
  options.pem_cert_chain = content_of(security.cert);
  options.pem_private_key = content_of(security.cert_key);
  return grpc::SslCredentials(options);
}

void show_key(const Security& security, grpc::ClientContext* context) {
  if (!security.key.empty()) context->AddMetadata("authorization", "Bearer " + security.key);
}

}  // namespace rv
