package io.rendezvous.internal;

/** A parcel that was delivered and is not yet acknowledged. */
final class Waiting {
    static final long NOT_PUBLISHED = -1;

    final String reply;
    final Delivery delivery;
    /** Guarded by the reader's timer, which alone uses it. */
    long signalledNs = System.nanoTime();
    /** Life of the connection in which its score was published; set before the parcel is handed to the settlement. */
    long publishedIn;

    Waiting(String reply, Delivery delivery) {
        this.reply = reply;
        this.delivery = delivery;
    }
}
