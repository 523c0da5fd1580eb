package io.rendezvous.internal;

import io.rendezvous.logging.JsonFormatter;
import io.rendezvous.logging.TextFormatter;
import java.io.UnsupportedEncodingException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.logging.ConsoleHandler;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;
import org.slf4j.LoggerFactory;

/**
 * Log format and level as {@code RENDEZVOUS_LOG_FORMAT} and {@code RENDEZVOUS_LOG_LEVEL} say: for slf4j-simple (the level)
 * and for {@code java.util.logging} behind slf4j-jdk14, unless that is configured. All other logging is the author's.
 * A value that is not known is warned of, and counts as none.
 */
public final class LogSetup {
    private static final String SIMPLE_LOG_LEVEL = "org.slf4j.simpleLogger.defaultLogLevel";
    private static final List<String> OWN_CONFIGURATION = List.of(
            "java.util.logging.config.file",
            "java.util.logging.config.class",
            "java.util.logging.SimpleFormatter.format");
    private static final String LEVEL = "RENDEZVOUS_LOG_LEVEL";
    private static final String FORMAT = "RENDEZVOUS_LOG_FORMAT";
    private static final String JSON = "json";
    private static final Set<String> FORMATS = Set.of("text", JSON);
    private static final Set<String> LEVELS = Set.of("trace", "debug", "info", "warn", "warning", "error");

    /** Libraries whose debug lines are not about this program. Held, else their levels are forgotten. */
    private static final List<Logger> TALKATIVE =
            List.of(Logger.getLogger("io.grpc"), Logger.getLogger("io.opentelemetry"), Logger.getLogger("okhttp3"));

    private LogSetup() {}

    /** Sets it up; called before the first logger is asked for. */
    public static void install(Map<String, String> environment) {
        List<String> unknown = new ArrayList<>();
        String level = chosen(environment, LEVEL, LEVELS, "debug, info, warning, error", unknown);
        String format = chosen(environment, FORMAT, FORMATS, "text, json", unknown);
        if (!level.isEmpty() && System.getProperty(SIMPLE_LOG_LEVEL) == null) {
            // slf4j-simple reads its level once, from here
            System.setProperty(SIMPLE_LOG_LEVEL, level.equals("warning") ? "warn" : level);
        }
        String backend = LoggerFactory.getILoggerFactory().getClass().getName();
        if (backend.startsWith("org.slf4j.jul.")) {
            if (isUnconfigured()) {
                configure(levelOf(level), format.equals(JSON));
            }
        } else if (format.equals(JSON) && backend.startsWith("org.slf4j.simple.")) {
            LoggerFactory.getLogger(LogSetup.class)
                    .warn("RENDEZVOUS_LOG_FORMAT=json: slf4j-simple writes text only; use slf4j-jdk14 in its place");
        }
        unknown.forEach(LoggerFactory.getLogger(LogSetup.class)::warn); // now that they are formatted as the rest is
    }

    private static String chosen(
            Map<String, String> environment, String variable, Set<String> known, String allowed, List<String> unknown) {
        String given = environment.getOrDefault(variable, "").strip();
        String value = given.toLowerCase(Locale.ROOT);
        if (value.isEmpty() || known.contains(value)) {
            return value;
        }
        unknown.add(variable + " is '" + Shown.value(given) + "', which is not known and not heeded: use one of "
                + allowed);
        return "";
    }

    private static boolean isUnconfigured() {
        Handler[] handlers = Logger.getLogger("").getHandlers();
        return OWN_CONFIGURATION.stream().allMatch(name -> System.getProperty(name) == null)
                && handlers.length == 1
                && handlers[0].getClass() == ConsoleHandler.class
                && handlers[0].getFormatter().getClass() == SimpleFormatter.class;
    }

    private static void configure(Level level, boolean isJson) {
        Logger root = Logger.getLogger("");
        Handler handler = root.getHandlers()[0];
        handler.setLevel(Level.ALL);
        handler.setFormatter(isJson ? new JsonFormatter() : new TextFormatter());
        try {
            handler.setEncoding("UTF-8"); // a container's locale is often plain ASCII
        } catch (UnsupportedEncodingException error) {
            throw new IllegalStateException("every JVM has UTF-8", error);
        }
        root.setLevel(level);
        if (level.intValue() < Level.INFO.intValue()) {
            TALKATIVE.forEach(logger -> logger.setLevel(Level.INFO));
        }
    }

    private static Level levelOf(String name) {
        return switch (name) {
            case "trace" -> Level.FINEST;
            case "debug" -> Level.FINE;
            case "warn", "warning" -> Level.WARNING;
            case "error" -> Level.SEVERE;
            default -> Level.INFO;
        };
    }
}
