package io.rendezvous.telemetry;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.grpc.Server;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import io.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;
import io.opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse;
import io.opentelemetry.proto.collector.trace.v1.TraceServiceGrpc;
import io.opentelemetry.proto.trace.v1.ResourceSpans;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.zip.GZIPInputStream;

/** Takes spans by OTLP, over gRPC or over HTTP, and keeps them. */
final class OtlpReceiver {
    private final List<ResourceSpans> received = new CopyOnWriteArrayList<>();
    private final Server grpc;
    private final HttpServer http;

    OtlpReceiver() throws IOException {
        grpc = NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
                .addService(new TraceServiceGrpc.TraceServiceImplBase() {
                    @Override
                    public void export(
                            ExportTraceServiceRequest request, StreamObserver<ExportTraceServiceResponse> observer) {
                        received.addAll(request.getResourceSpansList());
                        observer.onNext(ExportTraceServiceResponse.getDefaultInstance());
                        observer.onCompleted();
                    }
                })
                .build()
                .start();
        http = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        http.createContext("/v1/traces", this::take);
        http.start();
    }

    private void take(HttpExchange exchange) throws IOException {
        boolean isZipped = "gzip".equals(exchange.getRequestHeaders().getFirst("Content-Encoding"));
        var body = isZipped ? new GZIPInputStream(exchange.getRequestBody()) : exchange.getRequestBody();
        received.addAll(ExportTraceServiceRequest.parseFrom(body).getResourceSpansList());
        exchange.getResponseHeaders().add("Content-Type", "application/x-protobuf");
        exchange.sendResponseHeaders(200, -1);
        exchange.close();
    }

    /** Address for a value of OTEL_EXPORTER_OTLP_PROTOCOL. */
    String endpoint(String protocol) {
        int port = protocol.equals("grpc") ? grpc.getPort() : http.getAddress().getPort();
        return "http://127.0.0.1:" + port;
    }

    List<ResourceSpans> received() {
        return received;
    }

    void close() {
        grpc.shutdownNow();
        http.stop(0);
    }
}
