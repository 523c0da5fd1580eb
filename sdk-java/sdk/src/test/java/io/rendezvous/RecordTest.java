package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Server;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import io.rendezvous.internal.GrpcErrors;
import io.rendezvous.v1.FeedbackGrpc;
import io.rendezvous.v1.OutcomeKind;
import io.rendezvous.v1.RecordReply;
import io.rendezvous.v1.RecordRequest;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Outcomes, recorded at a server that fails as told. */
@Timeout(20)
class RecordTest {
    private final Queue<ErrorCode> failures = new ConcurrentLinkedQueue<>();
    private final Queue<RecordRequest> seen = new ConcurrentLinkedQueue<>();
    private Server server;

    @BeforeEach
    void start() throws Exception {
        server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
                .addService(new FeedbackGrpc.FeedbackImplBase() {
                    @Override
                    public void record(RecordRequest request, StreamObserver<RecordReply> observer) {
                        seen.add(request);
                        ErrorCode failure = failures.poll();
                        if (failure != null) {
                            observer.onNext(RecordReply.getDefaultInstance()); // as gRPC for Python does
                            Map<String, String> attributes = Map.of("outcome.0", "told so");
                            observer.onError(
                                    GrpcErrors.toStatus(RendezvousException.of(failure, "told so", attributes)));
                            return;
                        }
                        RecordReply.Builder reply = RecordReply.newBuilder();
                        request.getOutcomesList().forEach(each -> reply.addFeedbackIds(each.getFeedbackId()));
                        observer.onNext(reply.build());
                        observer.onCompleted();
                    }
                })
                .build()
                .start();
    }

    @AfterEach
    void stop() {
        server.shutdownNow();
    }

    private Client client() {
        return new Client("127.0.0.1:" + server.getPort(), "credit");
    }

    /** What the outcomes say arrives, and their ids come back. */
    @Test
    void outcomesTravel() {
        Outcome truth = Outcome.truth(1)
                .aboutRequest("r-1")
                .withRow(0)
                .withOutput("p")
                .withObservedAt(Instant.parse("2026-05-01T00:00:00.000001Z"))
                .withSource("collections");
        Outcome verdict = Outcome.verdict(true).aboutKey("customer_id", "C-17");
        Outcome reward = Outcome.reward(-0.5).aboutRequest("r-2").withFeedbackId("mine");
        try (Client client = client()) {
            List<String> ids = client.record(List.of(truth, verdict, reward));
            assertEquals(List.of(truth.feedbackId(), verdict.feedbackId(), "mine"), ids);
        }
        RecordRequest request = seen.remove();
        assertEquals("credit", request.getEndpoint());
        var first = request.getOutcomes(0);
        assertEquals(OutcomeKind.OUTCOME_KIND_TRUTH, first.getKind());
        assertEquals(1_777_593_600_000_001L, first.getObservedUnixUs());
        assertTrue(first.hasRow());
        assertEquals(
                "r-1p1.0collections", first.getRequestId() + first.getOutput() + first.getNumber() + first.getSource());
        var second = request.getOutcomes(1);
        assertEquals(
                "customer_idC-17", second.getKey().getName() + second.getKey().getValue());
        assertTrue(second.getFlag());
        assertFalse(second.hasRow());
        assertEquals(-0.5, request.getOutcomes(2).getNumber());
    }

    /** After UNAVAILABLE the same call is sent again, with the same ids. */
    @Test
    void retriesKeepTheIds() {
        failures.addAll(List.of(ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED));
        try (Client client = client()) {
            client.record(List.of(Outcome.truth("bad").aboutRequest("r-1")));
        }
        assertEquals(3, seen.size());
        assertEquals(1, seen.stream().distinct().count());
    }

    /** Wrong outcomes are refused once, with what is wrong; what cannot be encoded is not sent. */
    @Test
    void wrongOutcomesAreRefused() {
        failures.add(ErrorCode.INVALID_REQUEST);
        try (Client client = client()) {
            List<Outcome> outcomes = List.of(Outcome.truth(true).aboutRequest("r-1"));
            var error = assertThrows(InvalidRequestException.class, () -> client.record(outcomes));
            assertEquals("told so", error.attributes().get("outcome.0"));
        }
        assertEquals(1, seen.size());
        Outcome truth = Outcome.truth(1);
        assertThrows(InvalidRequestException.class, () -> truth.withRow(-1));
        assertThrows(InvalidRequestException.class, () -> truth.aboutRequest("a b"));
        assertThrows(InvalidRequestException.class, () -> truth.withFeedbackId(""));
    }
}
