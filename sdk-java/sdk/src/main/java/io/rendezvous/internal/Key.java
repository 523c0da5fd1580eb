package io.rendezvous.internal;

import io.rendezvous.Credentials;
import io.rendezvous.InvalidRequestException;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A key, {@code rv_<id>_<secret>}: its id may be told, its secret never. Immutable. */
public final class Key {
    private static final Pattern FORM = Pattern.compile("rv_([a-z2-7]{12})_([a-z2-7]{52})");

    private final String id;
    private final String secret;

    private Key(String id, String secret) {
        this.id = id;
        this.secret = secret;
    }

    /**
     * Takes a key apart.
     *
     * @param text the key; blanks around it do not count
     * @param what names its place in the error: the text itself is not told
     * @throws InvalidRequestException it has another form
     */
    public static Key parse(String text, String what) {
        Matcher matcher = FORM.matcher(text.strip());
        if (!matcher.matches()) {
            throw new InvalidRequestException(
                    what + " is no key (" + text.strip().length() + " characters): give rv_, 12 characters, _,"
                            + " 52 characters of a-z and 2-7, as it was shown when it was made",
                    Map.of("option", "key"));
        }
        return new Key(matcher.group(1), matcher.group(2));
    }

    /**
     * Returns the key that is given, or that its file holds now; null where there is none.
     *
     * @throws InvalidRequestException the file cannot be read, or holds no key
     */
    public static Key of(Credentials credentials) {
        if (credentials.keyFile() == null) {
            return credentials.key() == null ? null : parse(credentials.key(), "the key");
        }
        try {
            return parse(Files.readString(credentials.keyFile()), "what the file " + credentials.keyFile() + " holds");
        } catch (IOException error) {
            throw new InvalidRequestException(
                    "the file of the key cannot be read (" + error + "): check its name and permissions",
                    Map.of("option", "key file"));
        }
    }

    /** Names the key; also the user at NATS. */
    public String id() {
        return id;
    }

    /** Proves it; also the password at NATS. */
    public String secret() {
        return secret;
    }

    /** The whole, as clients show it in the header {@code authorization}. */
    public String bearer() {
        return "Bearer rv_" + id + "_" + secret;
    }

    /** Where a NATS user of this key subscribes to answers. */
    public String inboxPrefix() {
        return "_INBOX_" + id;
    }

    /**
     * Refuses to send a key in the clear.
     *
     * @param key null: there is nothing to protect
     * @param credentials says whether it may go in the clear
     * @param encrypted whether the connection is
     * @param host name or literal address, without brackets
     * @throws InvalidRequestException the key would leave this machine in the clear
     */
    public static void checkWay(Key key, Credentials credentials, boolean encrypted, String host) {
        if (key == null || encrypted || credentials.isInsecure() || Loopback.contains(host)) {
            return;
        }
        throw new InvalidRequestException(
                "the key would go to " + host + " in the clear: use TLS (RENDEZVOUS_CA, or RENDEZVOUS_TLS=1), or permit"
                        + " it with insecure (RENDEZVOUS_INSECURE=1)",
                Map.of("option", "key", "host", host));
    }

    @Override
    public String toString() {
        return "rv_" + id + "_***";
    }
}
