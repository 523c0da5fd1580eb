package io.rendezvous;

import io.rendezvous.internal.Durations;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/**
 * How a client calls: frozen, checked when made.
 *
 * @param timeout deadline of a call that names none, retries included; default 10 s
 * @param maxMessageBytes largest gRPC message; default 4 MiB
 * @param firstPause pause before the first retry, doubled each time, give or take half; default 20 ms
 * @param lastPause longest pause between retries; default 1 s
 * @param keepalive interval of pings while calls are open; default 30 s
 * @param maxStreamed requests of one stream that may be unanswered at one time; default 64
 * @param credentials key and TLS; what it leaves open comes from the environment when a client is made
 */
public record ClientOptions(
        Duration timeout,
        int maxMessageBytes,
        Duration firstPause,
        Duration lastPause,
        Duration keepalive,
        int maxStreamed,
        Credentials credentials) {
    /** The defaults. */
    public static final ClientOptions DEFAULT = new ClientOptions(
            Duration.ofSeconds(10),
            4 * 1024 * 1024,
            Duration.ofMillis(20),
            Duration.ofSeconds(1),
            Duration.ofSeconds(30),
            64,
            Credentials.UNSET);

    /**
     * Checks everything.
     *
     * @param timeout as the component
     * @param maxMessageBytes as the component
     * @param firstPause as the component
     * @param lastPause as the component
     * @param keepalive as the component
     * @param maxStreamed as the component
     * @param credentials as the component
     * @throws InvalidRequestException a duration or number is not positive
     */
    public ClientOptions {
        checkPositive("timeout", timeout);
        checkPositive("first pause", firstPause);
        checkPositive("last pause", lastPause);
        checkPositive("keepalive", keepalive);
        checkPositive("max message bytes", maxMessageBytes);
        checkPositive("max streamed", maxStreamed);
    }

    /**
     * These options with another deadline.
     *
     * @param value deadline of a call that names none
     * @return new options
     */
    public ClientOptions withTimeout(Duration value) {
        return new ClientOptions(value, maxMessageBytes, firstPause, lastPause, keepalive, maxStreamed, credentials);
    }

    /**
     * These options with another limit on messages.
     *
     * @param value largest gRPC message, bytes
     * @return new options
     */
    public ClientOptions withMaxMessageBytes(int value) {
        return new ClientOptions(timeout, value, firstPause, lastPause, keepalive, maxStreamed, credentials);
    }

    /**
     * These options with another limit on unanswered requests of a stream.
     *
     * @param value 1 or more
     * @return new options
     */
    public ClientOptions withMaxStreamed(int value) {
        return new ClientOptions(timeout, maxMessageBytes, firstPause, lastPause, keepalive, value, credentials);
    }

    /**
     * These options with another key or TLS.
     *
     * @param value what is left open there comes from the environment
     * @return new options
     */
    public ClientOptions withCredentials(Credentials value) {
        return new ClientOptions(timeout, maxMessageBytes, firstPause, lastPause, keepalive, maxStreamed, value);
    }

    /**
     * These options with a key.
     *
     * @param value {@code rv_<id>_<secret>}
     * @return new options
     * @throws InvalidRequestException it is malformed
     */
    public ClientOptions withKey(String value) {
        return withCredentials(credentials.withKey(value));
    }

    /**
     * These options with the key that a file holds; it is read when a client is made.
     *
     * @param value the file
     * @return new options
     */
    public ClientOptions withKeyFile(Path value) {
        return withCredentials(credentials.withKeyFile(value));
    }

    /**
     * These options with authorities of its own, against which the server's certificate is checked; TLS is used.
     *
     * @param value PEM file
     * @return new options
     */
    public ClientOptions withCa(Path value) {
        return withCredentials(credentials.withCa(value));
    }

    /**
     * These options with a certificate to show to the server (mutual TLS); TLS is used.
     *
     * @param chain PEM file of the certificate and what leads to its authority
     * @param privateKey PEM file (PKCS #8) of its private key
     * @return new options
     */
    public ClientOptions withCertificate(Path chain, Path privateKey) {
        return withCredentials(credentials.withCertificate(chain, privateKey));
    }

    /**
     * These options with TLS, or without, whatever the environment says.
     *
     * @param value whether TLS is used
     * @return new options
     */
    public ClientOptions withTls(boolean value) {
        return withCredentials(credentials.withTls(value));
    }

    /**
     * These options, permitting that the key goes to another machine in the clear.
     *
     * @return new options
     */
    public ClientOptions withInsecure() {
        return withCredentials(credentials.withInsecure());
    }

    static void checkPositive(String what, Duration value) {
        if (value.isZero() || value.isNegative()) {
            throw new InvalidRequestException(
                    what + " is " + Durations.text(value) + ": it must be more than 0",
                    Map.of("option", what, "actual", value));
        }
    }

    private static void checkPositive(String what, int value) {
        if (value < 1) {
            throw new InvalidRequestException(
                    what + " is " + value + ": it must be more than 0", Map.of("option", what, "actual", value));
        }
    }
}
