package io.rendezvous.internal;

import io.rendezvous.v1.Parcel;

/**
 * One delivery of a parcel to this replica.
 *
 * @param parcel the parcel
 * @param sequence its sequence in the stream
 * @param number which delivery this is; 1 = the first
 * @param ageUs microseconds from the moment when the broker stored the parcel to this delivery, by the broker's clock
 * @param receivedUnixUs when it was received, by this process's clock
 */
public record Delivery(Parcel parcel, long sequence, int number, long ageUs, long receivedUnixUs) {}
