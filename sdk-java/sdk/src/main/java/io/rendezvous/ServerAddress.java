package io.rendezvous;

import io.grpc.Status;
import io.rendezvous.internal.GrpcErrors;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Where a client's server is, checked; names itself in what goes wrong on the way there.
 *
 * @param text {@code host:port}; IPv6 in brackets
 */
record ServerAddress(String text) {
    private static final Pattern HOST_PORT = Pattern.compile("(?:\\[[0-9A-Fa-f:.]+]|[^\\s:/@\\[\\]]+):([0-9]{1,5})");
    private static final int LAST_PORT = 65_535;

    ServerAddress {
        Matcher matcher = HOST_PORT.matcher(text == null ? "" : text);
        if (!matcher.matches() || Integer.parseInt(matcher.group(1)) > LAST_PORT) {
            String shown = text == null ? "null" : "'" + text + "'";
            throw new InvalidRequestException(
                    "the address is " + shown + ": give host:port, as in 127.0.0.1:8001, without a scheme",
                    Map.of("option", "address", "actual", shown));
        }
    }

    /** The host, without the brackets of IPv6. */
    String host() {
        String host = text.substring(0, text.lastIndexOf(':'));
        return host.startsWith("[") ? host.substring(1, host.length() - 1) : host;
    }

    /** The port. */
    int port() {
        return Integer.parseInt(text.substring(text.lastIndexOf(':') + 1));
    }

    /** Returns the typed error of a failed call; one that found no server names the address and the cause. */
    RendezvousException failure(Throwable failure) {
        RendezvousException error = GrpcErrors.fromThrowable(failure);
        boolean unreached =
                error.getCause() == failure && Status.fromThrowable(failure).getCode() == Status.Code.UNAVAILABLE;
        if (!unreached) {
            return error;
        }
        UnavailableException named = new UnavailableException(
                "no connection to " + text + ": " + why(error.getMessage(), failure),
                Map.of("address", text, "grpc_status", Status.Code.UNAVAILABLE.name()));
        named.initCause(failure);
        return named;
    }

    private static String why(String details, Throwable failure) {
        Throwable root = failure;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        boolean knowsMore = root != failure && root.getMessage() != null && !details.contains(root.getMessage());
        return knowsMore ? details + " (" + root.getMessage() + ")" : details;
    }
}
