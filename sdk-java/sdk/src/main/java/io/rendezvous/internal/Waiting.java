package io.rendezvous.internal;

/** A parcel that was delivered and is not yet acknowledged. */
final class Waiting {
    final String reply;
    final Delivery delivery;
    /** Guarded by the reader's timer, which alone uses it. */
    long signalledNs = System.nanoTime();
    /** Set before the parcel is handed to the settlement. */
    long publishedIn;

    Waiting(String reply, Delivery delivery) {
        this.reply = reply;
        this.delivery = delivery;
    }
}
