package io.rendezvous.internal;

/**
 * Where a delivery comes from, as its reply subject tells:
 * {@code $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<...>.<stored, ns>.<pending>}, or with domain and account
 * before the stream and a random token at the end.
 *
 * @param delivered which delivery this is; 1 = the first
 * @param sequence the message's sequence in the stream
 * @param storedUnixUs when the broker stored it
 */
record AckSubject(int delivered, long sequence, long storedUnixUs) {
    private static final int SHORT_TOKENS = 9;

    static AckSubject parse(String reply) {
        String[] tokens = reply.split("\\.");
        int first = tokens.length == SHORT_TOKENS ? 4 : 6;
        return new AckSubject(
                Integer.parseInt(tokens[first]),
                Long.parseLong(tokens[first + 1]),
                Long.parseLong(tokens[first + 3]) / 1000);
    }
}
