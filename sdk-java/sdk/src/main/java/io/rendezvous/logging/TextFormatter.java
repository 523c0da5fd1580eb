package io.rendezvous.logging;

import io.rendezvous.internal.Secrets;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.Locale;
import java.util.logging.Formatter;
import java.util.logging.LogRecord;

/**
 * One line for people: {@code 2026-11-22 16:51:39,123 INFO logger: message}, and a stack trace below it. Users and
 * passwords of addresses are left out.
 */
public final class TextFormatter extends Formatter {
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd HH:mm:ss,SSS").withZone(ZoneId.systemDefault());

    /** Made by whoever configures a handler. */
    public TextFormatter() {}

    @Override
    public String format(LogRecord record) {
        String level = JsonFormatter.levelOf(record.getLevel()).toUpperCase(Locale.ROOT);
        String line = TIME.format(record.getInstant()) + " " + level + " " + record.getLoggerName() + ": "
                + Secrets.scrub(formatMessage(record)) + "\n";
        return record.getThrown() == null ? line : line + JsonFormatter.traceOf(record.getThrown()) + "\n";
    }
}
