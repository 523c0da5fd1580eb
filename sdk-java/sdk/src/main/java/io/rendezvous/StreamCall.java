package io.rendezvous;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreReply;
import io.rendezvous.v1.ScoreRequest;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;

/** One {@code ScoreStream}: requests as they may be sent, answers back in their order. Guarded by its own lock. */
final class StreamCall implements ClientResponseObserver<ScoreRequest, ScoreReply> {
    private final int most;
    private final ServerAddress server;
    private final Deque<String> sent = new ArrayDeque<>();
    private final Map<String, ClientSpan> spans = new HashMap<>();
    private final Map<String, ScoreReply> arrived = new HashMap<>();
    private final CompletableFuture<Void> done = new CompletableFuture<>();
    private ClientCallStreamObserver<ScoreRequest> call;
    private Iterator<Frame> tables;
    private Function<Frame, Sent> encode;
    private Consumer<Answer> onAnswer;
    private boolean halfClosed;

    /**
     * A request on its way.
     *
     * @param request as it is sent
     * @param span its span, ended with its answer
     */
    record Sent(ScoreRequest request, ClientSpan span) {}

    StreamCall(Channel channel, int most, ServerAddress server) {
        this.most = most;
        this.server = server;
        ClientCalls.asyncBidiStreamingCall(
                channel.newCall(ScoreGrpc.getScoreStreamMethod(), CallOptions.DEFAULT), this);
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<ScoreRequest> requests) {
        call = requests;
    }

    CompletableFuture<Void> done() {
        return done;
    }

    /** Sends the tables and hands over the answers until there are no more. */
    synchronized void pump(Iterator<Frame> frames, Function<Frame, Sent> encoder, Consumer<Answer> consumer) {
        tables = frames;
        encode = encoder;
        onAnswer = consumer;
        done.whenComplete((nothing, error) -> {
            if (error != null) {
                call.cancel("the stream ended early", error);
                endSpans(error);
            }
        });
        guarded(this::send);
    }

    @Override
    public synchronized void onNext(ScoreReply reply) {
        arrived.put(reply.getRequestId(), reply);
        ClientSpan span = spans.remove(reply.getRequestId());
        if (span != null) {
            span.end(new Answer(reply).error().orElse(null));
        }
        guarded(() -> {
            while (!sent.isEmpty() && arrived.containsKey(sent.peek())) {
                onAnswer.accept(new Answer(arrived.remove(sent.poll())));
            }
            send();
        });
    }

    @Override
    public void onError(Throwable failure) {
        fail(server.failure(failure));
    }

    @Override
    public synchronized void onCompleted() {
        if (sent.isEmpty()) {
            done.complete(null);
        } else {
            fail(new InternalException("the stream ended with " + sent.size() + " requests unanswered"));
        }
    }

    /** Spans end before the caller goes on: a program that ends then has them. */
    private void fail(Throwable error) {
        endSpans(error);
        done.completeExceptionally(error);
    }

    private synchronized void endSpans(Throwable error) {
        spans.values().forEach(span -> span.end(error));
        spans.clear();
    }

    private void send() {
        while (!halfClosed && sent.size() < most) {
            if (!tables.hasNext()) {
                halfClosed = true;
                call.onCompleted();
                return;
            }
            Sent next = encode.apply(tables.next());
            sent.add(next.request().getRequestId());
            spans.put(next.request().getRequestId(), next.span());
            call.onNext(next.request());
        }
    }

    /** What the caller's own code throws ends the stream with it. */
    private void guarded(Runnable step) {
        if (done.isDone()) {
            return;
        }
        try {
            step.run();
        } catch (RuntimeException error) {
            fail(error);
        }
    }
}
