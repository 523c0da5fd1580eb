package io.rendezvous.internal;

import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import io.rendezvous.RendezvousException;
import io.rendezvous.v1.ScoreReply;

/** One {@code ScoreStream}: so many requests at a time, each answered once, in any order (P102). */
final class ScoreStreamCall implements StreamObserver<Inbound>, ScoreService.Caller {
    private static final int STREAMED_AT_ONCE = 64;

    private final ScoreService service;
    private final ServerCallStreamObserver<ScoreReply> call;
    private int open;
    private int owed;
    private boolean halfClosed;

    ScoreStreamCall(ScoreService service, ServerCallStreamObserver<ScoreReply> call) {
        this.service = service;
        this.call = call;
        call.disableAutoRequest();
        call.setOnCancelHandler(() -> {}); // else an answer that nobody waits for would throw
        call.setOnReadyHandler(this::askForMore);
        call.request(STREAMED_AT_ONCE);
    }

    @Override
    public void onNext(Inbound inbound) {
        synchronized (this) {
            open++;
        }
        service.begin(inbound, ScoreService.SCORE_STREAM, null, this);
    }

    @Override
    public boolean isCancelled() {
        return call.isCancelled();
    }

    @Override
    public void refuse(RendezvousException error, ScoreReply reply) {
        take(reply);
    }

    @Override
    public void onError(Throwable error) {
        // The client is gone; what waits for the model is skipped.
    }

    @Override
    public synchronized void onCompleted() {
        halfClosed = true;
        completeIfDone();
    }

    @Override
    public synchronized void take(ScoreReply reply) {
        open--;
        owed++;
        call.onNext(reply);
        if (call.isReady()) {
            askForMore();
        }
        completeIfDone();
    }

    /** A client that does not read its answers is not asked for more requests. */
    private synchronized void askForMore() {
        if (owed > 0) {
            call.request(owed);
            owed = 0;
        }
    }

    private void completeIfDone() {
        if (halfClosed && open == 0) {
            call.onCompleted();
        }
    }
}
