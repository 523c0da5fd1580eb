package io.rendezvous.internal;

import java.security.SecureRandom;
import java.util.UUID;

/** Identities of requests, parcels and replicas: UUID version 7 (RFC 9562, section 5.7). */
public final class Ids {
    private static final SecureRandom RANDOM = new SecureRandom();

    private Ids() {}

    /** Returns a new id: canonical text, sortable by the time of making. */
    public static String newId() {
        long time = System.currentTimeMillis() << 16;
        long high = time | 0x7000 | RANDOM.nextInt(0x1000);
        long low = RANDOM.nextLong() & 0x3fff_ffff_ffff_ffffL | 0x8000_0000_0000_0000L;
        return new UUID(high, low).toString();
    }

    /** Returns a name for this process: host, process id and a random part. */
    public static String newReplicaName(String host) {
        String clean = host.replaceAll("[^A-Za-z0-9_-]", "-");
        clean = clean.substring(0, Math.min(clean.length(), 32));
        String random = String.format("%04x", RANDOM.nextInt(0x1_0000));
        return clean + "-" + ProcessHandle.current().pid() + "-" + random;
    }
}
