package io.rendezvous.internal;

import io.rendezvous.ServeOptions;
import java.util.Map;

/** Who this process is, in each of its log lines: a program serves one model. */
public final class LogIdentity {
    private static volatile Map<String, String> fields = Map.of();

    private LogIdentity() {}

    /** Says it for all lines from now on. */
    public static void set(ServeOptions options, String replica) {
        fields = Map.of(
                "endpoint", options.endpoint(),
                "model", options.name(),
                "version", options.version(),
                "replica", replica);
    }

    /** Returns a field; null where it is not known. */
    public static String get(String name) {
        return fields.get(name);
    }
}
