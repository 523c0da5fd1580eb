package io.rendezvous.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonParser;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.ServeOptions;
import io.rendezvous.logging.JsonFormatter;
import io.rendezvous.logging.TextFormatter;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.logging.Formatter;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Users, passwords and tokens of addresses are left out of what is said. */
class SecretsTest {
    /** Of a text, what stands between scheme and host is replaced, and nothing else. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "[nats://user:hunter2@127.0.0.1:1]|[nats://***@127.0.0.1:1]",
                "[nats://user:p@ss@h:1, tls://user:p/w@h]|[nats://***@h:1, tls://***@h]",
                "at nats://u:p?w#x@h1,nats://token@h2 now|at nats://***@h1,nats://***@h2 now",
                "'http://u:p@h/x' \"http://u:p@[::1]:2\"|'http://***@h/x' \"http://***@[::1]:2\"",
                "nats://h:1 of ops@example.org, http://h/x|nats://h:1 of ops@example.org, http://h/x",
                "a@b|a@b",
            })
    void scrubs(String said, String expected) {
        assertEquals(expected, Secrets.scrub(said));
    }

    /** An address keeps scheme, host and port only, whatever its password holds and with no scheme, too. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "nats://user:hunter2@h:1|nats://h:1",
                "nats://user:p@ss@h:1, tls://user:p/w@[::1]:2|nats://h:1, tls://[::1]:2",
                "user:p@ss@h|h",
                "h:1,token@h2|h:1,h2",
                "nats://user:p[w'x y@h|nats://h",
            })
    void redacts(String addresses, String expected) {
        assertEquals(expected, Secrets.redact(addresses));
    }

    /** Both formats leave a password out of the message, of its arguments, and of an exception and its cause. */
    @ParameterizedTest
    @ValueSource(strings = {"hunter2", "p@ss", "p/w"})
    void formattersScrub(String password) {
        String address = "nats://user:" + password + "@127.0.0.1:1";
        LogRecord record = new LogRecord(Level.WARNING, "waiting for {0}, [" + address + "]");
        record.setLoggerName("l");
        record.setParameters(new Object[] {address});
        record.setThrown(new IOException("[" + address + "]", new IllegalStateException("'" + address + "'")));
        for (Formatter formatter : List.of(new TextFormatter(), new JsonFormatter())) {
            String line = formatter.format(record);
            assertFalse(Stream.of(password, "user", "ss@").anyMatch(line::contains), line);
            assertTrue(line.contains("waiting for nats://***@127.0.0.1:1, [nats://***@127.0.0.1:1]"), line);
            assertTrue(line.contains("IOException: [nats://***@127.0.0.1:1]"), line);
            assertTrue(line.contains("IllegalStateException: 'nats://***@127.0.0.1:1'"), line);
        }
        JsonParser.parseString(new JsonFormatter().format(record)).getAsJsonObject();
    }

    /** An address that is refused is told without its password. */
    @Test
    void refusesWithoutPasswords() {
        for (String address : List.of("nope://user:p@ss@h", "nope://user:p/w@h", "h:1,nope://user:hunter2@h")) {
            ServeOptions.Builder options =
                    ServeOptions.builder(Map.of()).endpoint("e").name("m").nats(address);
            InvalidRequestException error = assertThrows(InvalidRequestException.class, options::build);
            assertEquals("nope://h", error.attributes().get("actual"));
            assertTrue(error.getMessage().contains("'nope://h'"), error.getMessage());
        }
    }
}
