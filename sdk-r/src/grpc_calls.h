// One call each of `Score` and `ScoreStream`, from its arrival to its end.
#pragma once

#include <grpcpp/grpcpp.h>

#include "grpc_desk.h"

namespace rv {

grpc::ServerUnaryReactor* begin_score(const Desk& desk, grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer& request, grpc::ByteBuffer* reply);

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* begin_stream(const Desk& desk,
                                                                          const grpc::CallbackServerContext& context);

}  // namespace rv
