package io.rendezvous.internal;

import io.grpc.Server;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.services.HealthStatusManager;
import io.grpc.protobuf.services.ProtoReflectionServiceV1;
import io.rendezvous.ServeOptions;
import io.rendezvous.UnavailableException;
import io.rendezvous.v1.ScoreGrpc;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The gRPC server of one model: {@code Score}, health and reflection (P100). */
final class GrpcDoor {
    private static final long PING_INTERVAL_MS = 5000;

    private final ServeOptions options;
    private final HealthStatusManager health = new HealthStatusManager();
    private final Server server;
    private final ScoreService service;

    @SuppressWarnings("deprecation") // reflection v1alpha: what most clients still ask for
    GrpcDoor(ScoreService service, ServeOptions options) {
        this.options = options;
        this.service = service;
        this.server = NettyServerBuilder.forAddress(new InetSocketAddress(options.grpcHost(), options.grpcPort()))
                .directExecutor() // nothing in the services waits
                // A larger message is refused by the service, which can say so.
                .maxInboundMessageSize((int) Math.min(Integer.MAX_VALUE, options.maxMessageBytes() * 4L))
                .permitKeepAliveTime(PING_INTERVAL_MS, TimeUnit.MILLISECONDS)
                .permitKeepAliveWithoutCalls(true)
                .intercept(new TraceHeaders.Interceptor())
                .addService(service.definition())
                .addService(health.getHealthService())
                .addService(ProtoReflectionServiceV1.newInstance())
                .addService(io.grpc.protobuf.services.ProtoReflectionService.newInstance())
                .build();
    }

    /** Listens and reports SERVING. */
    void start() {
        String address = options.grpcHost() + ":" + options.grpcPort();
        try {
            server.start();
        } catch (IOException error) {
            throw new UnavailableException(
                    "cannot listen on " + address
                            + ": the port is taken or not allowed; choose another, or 0 for a free one",
                    Map.of("address", address));
        }
        service.listensAt(server.getPort());
        report(ServingStatus.SERVING);
    }

    private void report(ServingStatus status) {
        health.setStatus(HealthStatusManager.SERVICE_NAME_ALL_SERVICES, status);
        health.setStatus(ScoreGrpc.SERVICE_NAME, status);
    }

    /** Where it listens, as {@code host:port}. */
    String address() {
        return options.grpcHost() + ":" + server.getPort();
    }

    /** Reports whether it serves; calls are answered anyhow. */
    void report(boolean serves) {
        report(serves ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
    }

    /** Reports NOT_SERVING, refuses new calls, lets running ones end within a time. */
    void stop(Duration grace) throws InterruptedException {
        health.enterTerminalState();
        server.shutdown();
        if (!server.awaitTermination(grace.toMillis(), TimeUnit.MILLISECONDS)) {
            server.shutdownNow();
        }
    }
}
