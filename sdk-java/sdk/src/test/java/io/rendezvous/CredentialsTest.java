package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Where key and TLS come from, and what is refused. */
class CredentialsTest {
    private static final String SECRET = "bcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstu";
    private static final String KEY = "rv_abcdefghijkl_" + SECRET;
    private static final String OTHER = "rv_lkjihgfedcba_" + SECRET;
    private static final Path FILE = Path.of("/nowhere/file.pem");

    /** What is not said comes from the environment. */
    @Test
    void environment() {
        Credentials found = Credentials.UNSET.orElse(Map.of(
                "RENDEZVOUS_KEY", KEY + "\n",
                "RENDEZVOUS_CA", "ca.pem",
                "RENDEZVOUS_CERT", "cert.pem",
                "RENDEZVOUS_CERT_KEY", "cert.key",
                "RENDEZVOUS_INSECURE", "1"));
        assertEquals(KEY, found.key());
        assertEquals(Path.of("ca.pem"), found.ca());
        assertEquals(Path.of("cert.pem"), found.certificate());
        assertEquals(Path.of("cert.key"), found.certificateKey());
        assertTrue(found.usesTls());
        assertTrue(found.isInsecure());
        Credentials file = Credentials.UNSET.orElse(Map.of("RENDEZVOUS_KEY_FILE", "key", "RENDEZVOUS_KEY", " "));
        assertEquals(Path.of("key"), file.keyFile());
        assertNull(file.key());
        assertFalse(file.usesTls());
        assertFalse(file.isInsecure());
        assertTrue(Credentials.UNSET.orElse(Map.of("RENDEZVOUS_TLS", "1")).usesTls());
        assertFalse(Credentials.UNSET.orElse(Map.of("RENDEZVOUS_TLS", "0")).usesTls());
    }

    /** What is said counts before the environment; TLS that is switched off stays off. */
    @Test
    void precedence() {
        Map<String, String> environment = Map.of(
                "RENDEZVOUS_KEY", KEY, "RENDEZVOUS_CA", "ca.pem", "RENDEZVOUS_CERT", "c", "RENDEZVOUS_CERT_KEY", "k");
        assertEquals(OTHER, Credentials.UNSET.withKey(OTHER).orElse(environment).key());
        Credentials file = Credentials.UNSET.withKeyFile(FILE).orElse(environment);
        assertEquals(FILE, file.keyFile());
        assertNull(file.key());
        assertEquals(FILE, Credentials.UNSET.withCa(FILE).orElse(environment).ca());
        assertFalse(Credentials.UNSET.withTls(false).orElse(environment).usesTls());
        Credentials pair = Credentials.UNSET.withCertificate(FILE, FILE).orElse(environment);
        assertEquals(FILE, pair.certificateKey());
    }

    static Stream<Arguments> refused() {
        Credentials unset = Credentials.UNSET;
        String bad = KEY.toUpperCase(java.util.Locale.ROOT);
        return Stream.of(
                row("the key is no key (68 characters)", () -> unset.withKey(bad)),
                row("RENDEZVOUS_KEY is no key", () -> unset.orElse(Map.of("RENDEZVOUS_KEY", bad))),
                row("belong together", () -> unset.withCertificate(FILE, null)),
                row("belong together", () -> unset.orElse(Map.of("RENDEZVOUS_CERT", "c"))),
                row("TLS is off", () -> unset.withTls(false).withCa(FILE)),
                row("RENDEZVOUS_TLS is 'perhaps'", () -> unset.orElse(Map.of("RENDEZVOUS_TLS", "perhaps"))),
                row(
                        "file of the key cannot be read",
                        () -> new Client("127.0.0.1:1", "e", ClientOptions.DEFAULT.withKeyFile(FILE))),
                row(
                        "RENDEZVOUS_CA (/nowhere/file.pem) cannot be used",
                        () -> new Client("127.0.0.1:1", "e", ClientOptions.DEFAULT.withCa(FILE))),
                row(
                        "RENDEZVOUS_CERT (/nowhere/file.pem) cannot be used",
                        () -> new Client("127.0.0.1:1", "e", ClientOptions.DEFAULT.withCertificate(FILE, FILE))),
                row("would go to 192.0.2.1 in the clear", () -> serving("192.0.2.1", unset.withKey(KEY))),
                row(
                        "would go to nats.example in the clear",
                        () -> serving("nats://127.0.0.1:1,nats.example", unset.withKey(KEY))),
                row("a key is given", () -> serving("nats://u:p@127.0.0.1", unset.withKey(KEY))));
    }

    private static ServeOptions serving(String nats, Credentials credentials) {
        return ServeOptions.builder(Map.of())
                .endpoint("e")
                .name("m")
                .nats(nats)
                .credentials(credentials)
                .build();
    }

    private static Arguments row(String message, Supplier<Object> make) {
        return Arguments.of(message, make);
    }

    /** What does not fit is refused with what it is, and without the key. */
    @ParameterizedTest(name = "{0}")
    @MethodSource
    void refused(String message, Supplier<Object> make) {
        InvalidRequestException error = assertThrows(InvalidRequestException.class, make::get);
        assertTrue(error.getMessage().contains(message), error.getMessage());
        assertFalse(error.getMessage().toLowerCase(java.util.Locale.ROOT).contains(SECRET), error.getMessage());
    }

    /** A key may go to NATS on this machine, over TLS, or where that is permitted. */
    @Test
    void servesWithKeys() {
        Credentials keyed = Credentials.UNSET.withKey(KEY);
        serving("127.0.0.1:4222", keyed);
        serving("nats://[::1]:4222,localhost", keyed);
        serving("tls://nats.example:4222", keyed);
        serving("nats.example:4222", keyed.withTls(true));
        ServeOptions options = serving("nats.example:4222", keyed.withInsecure());
        assertFalse(options.toString().contains(SECRET), options.toString());
    }
}
