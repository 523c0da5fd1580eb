package io.rendezvous;

import io.rendezvous.internal.Key;
import io.rendezvous.internal.Switch;
import java.nio.file.Path;
import java.util.Map;

/**
 * How a program shows who it is, and how it makes sure of whom it speaks to: its key, and TLS.
 *
 * <p>What is not said comes from the environment ({@code RENDEZVOUS_...}) when a client or a model server is made.
 * Immutable and thread-safe; {@link #toString} does not tell the key.
 *
 * @param key the key, {@code rv_<id>_<secret>}; null: that of the file; {@code RENDEZVOUS_KEY}
 * @param keyFile file that holds the key, read when a client is made, and by a model server with each connection;
 *     null: none; {@code RENDEZVOUS_KEY_FILE}, unless {@code RENDEZVOUS_KEY} is set
 * @param ca PEM file of the authorities that servers' certificates are checked against; null: the system's;
 *     {@code RENDEZVOUS_CA}
 * @param certificate PEM file of the own certificate chain, for mutual TLS; null: none; {@code RENDEZVOUS_CERT}
 * @param certificateKey PEM file (PKCS #8) of its private key; null: none; {@code RENDEZVOUS_CERT_KEY}
 * @param tls whether TLS is used; null: where one of the files is given, or the environment says
 *     {@code RENDEZVOUS_TLS=1}; false: not, whatever the environment says
 * @param insecure whether the key may go over a connection in the clear to another machine; null: as
 *     {@code RENDEZVOUS_INSECURE} says, else not
 */
public record Credentials(
        String key, Path keyFile, Path ca, Path certificate, Path certificateKey, Boolean tls, Boolean insecure) {
    /** Nothing is said: all comes from the environment. */
    public static final Credentials UNSET = new Credentials(null, null, null, null, null, null, null);

    /**
     * Checks everything that can be checked without reading files.
     *
     * @param key as the component
     * @param keyFile as the component
     * @param ca as the component
     * @param certificate as the component
     * @param certificateKey as the component
     * @param tls as the component
     * @param insecure as the component
     * @throws InvalidRequestException the key is malformed, or there is a key and a file of one, a certificate without
     *     its private key, or TLS is off although files for it are given
     */
    public Credentials {
        if (key != null) {
            Key.parse(key, "the key");
        }
        check(key == null || keyFile == null, "a key and a file of a key are given: give one of them");
        check(
                (certificate == null) == (certificateKey == null),
                "a certificate and its private key belong together: give both (RENDEZVOUS_CERT and RENDEZVOUS_CERT_KEY)"
                        + " or neither");
        check(
                tls != Boolean.FALSE || ca == null && certificate == null,
                "TLS is off, although files for it are given: leave out one or the other");
    }

    /**
     * This with a key.
     *
     * @param value {@code rv_<id>_<secret>}
     * @return a new value
     * @throws InvalidRequestException it is malformed
     */
    public Credentials withKey(String value) {
        return new Credentials(value, null, ca, certificate, certificateKey, tls, insecure);
    }

    /**
     * This with the key that a file holds.
     *
     * @param value the file
     * @return a new value
     */
    public Credentials withKeyFile(Path value) {
        return new Credentials(null, value, ca, certificate, certificateKey, tls, insecure);
    }

    /**
     * This with authorities of its own; TLS is used.
     *
     * @param value PEM file
     * @return a new value
     */
    public Credentials withCa(Path value) {
        return new Credentials(key, keyFile, value, certificate, certificateKey, tls, insecure);
    }

    /**
     * This with a certificate to show; TLS is used.
     *
     * @param chain PEM file of the certificate and what leads to its authority
     * @param privateKey PEM file (PKCS #8) of its private key
     * @return a new value
     */
    public Credentials withCertificate(Path chain, Path privateKey) {
        return new Credentials(key, keyFile, ca, chain, privateKey, tls, insecure);
    }

    /**
     * This with TLS, or without.
     *
     * @param value whether TLS is used
     * @return a new value
     */
    public Credentials withTls(boolean value) {
        return new Credentials(key, keyFile, ca, certificate, certificateKey, value, insecure);
    }

    /**
     * This, permitting that the key goes to another machine in the clear.
     *
     * @return a new value
     */
    public Credentials withInsecure() {
        return new Credentials(key, keyFile, ca, certificate, certificateKey, tls, true);
    }

    /**
     * Fills in what is not said.
     *
     * @param environment variables by name; blank ones count as missing
     * @return a value for which {@link #usesTls} and {@link #isInsecure} hold
     * @throws InvalidRequestException a variable is malformed, or what comes together does not fit
     */
    public Credentials orElse(Map<String, String> environment) {
        boolean hasKey = key != null || keyFile != null;
        boolean hasPair = certificate != null || tls == Boolean.FALSE;
        String envKey = hasKey ? null : text(environment, "RENDEZVOUS_KEY");
        if (envKey != null) {
            Key.parse(envKey, "RENDEZVOUS_KEY");
        }
        return new Credentials(
                hasKey ? key : envKey,
                hasKey || envKey != null ? keyFile : path(environment, "RENDEZVOUS_KEY_FILE"),
                ca != null || tls == Boolean.FALSE ? ca : path(environment, "RENDEZVOUS_CA"),
                hasPair ? certificate : path(environment, "RENDEZVOUS_CERT"),
                hasPair ? certificateKey : path(environment, "RENDEZVOUS_CERT_KEY"),
                tls != null || !Switch.isOn(environment, "RENDEZVOUS_TLS") ? tls : Boolean.TRUE,
                insecure != null ? insecure : Boolean.valueOf(Switch.isOn(environment, "RENDEZVOUS_INSECURE")));
    }

    /**
     * Whether connections are encrypted and the server's certificate is checked.
     *
     * @return whether TLS is switched on or one of its files is given
     */
    public boolean usesTls() {
        return tls == Boolean.TRUE || ca != null || certificate != null;
    }

    /**
     * Whether the key may go in the clear.
     *
     * @return false unless that was said
     */
    public boolean isInsecure() {
        return insecure == Boolean.TRUE;
    }

    /**
     * What is said, without the key.
     *
     * @return for people; of the key the id alone
     */
    @Override
    public String toString() {
        String shown = key == null ? "none" : Key.parse(key, "the key").toString();
        return "Credentials[key=" + shown + ", keyFile=" + keyFile + ", ca=" + ca + ", certificate=" + certificate
                + ", certificateKey=" + certificateKey + ", tls=" + tls + ", insecure=" + insecure + "]";
    }

    private static String text(Map<String, String> environment, String variable) {
        String found = environment.getOrDefault(variable, "").strip();
        return found.isEmpty() ? null : found;
    }

    private static Path path(Map<String, String> environment, String variable) {
        String found = text(environment, variable);
        return found == null ? null : Path.of(found);
    }

    private static void check(boolean isFine, String otherwise) {
        if (!isFine) {
            throw new InvalidRequestException(otherwise, Map.of("option", "credentials"));
        }
    }
}
