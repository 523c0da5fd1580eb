package io.rendezvous.logging;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.rendezvous.internal.LogIdentity;
import io.rendezvous.internal.Secrets;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.logging.Formatter;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import org.slf4j.MDC;

/**
 * One JSON object a line: {@code time} (RFC 3339, UTC, microseconds), {@code level} (debug, info, warning, error),
 * {@code logger}, {@code event}, and where they are known {@code trace_id}, {@code span_id}, {@code request_id},
 * {@code endpoint}, {@code tenant}, {@code model}, {@code version}, {@code replica}, {@code parcel_id},
 * {@code error_code}, {@code exception}.
 *
 * <p>{@link io.rendezvous.ModelServer} installs it where {@code RENDEZVOUS_LOG_FORMAT} is {@code json}, SLF4J writes to
 * {@code java.util.logging} (slf4j-jdk14), and that has no configuration of its own. Ids come from SLF4J's MDC. Users
 * and passwords of addresses are left out.
 */
public final class JsonFormatter extends Formatter {
    private static final Gson JSON = new GsonBuilder().disableHtmlEscaping().create();
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS'Z'").withZone(ZoneOffset.UTC);
    private static final List<String> FIELDS =
            List.of("request_id", "endpoint", "tenant", "model", "version", "replica", "parcel_id", "error_code");

    /** Made by whoever configures a handler. */
    public JsonFormatter() {}

    @Override
    public String format(LogRecord record) {
        Map<String, String> line = new LinkedHashMap<>();
        line.put("time", timeOf(record.getInstant()));
        line.put("level", levelOf(record.getLevel()));
        line.put("logger", record.getLoggerName() == null ? "" : record.getLoggerName());
        line.put("event", Secrets.scrub(formatMessage(record)));
        SpanContext span = Span.current().getSpanContext();
        if (span.isValid()) {
            line.put("trace_id", span.getTraceId());
            line.put("span_id", span.getSpanId());
        }
        for (String field : FIELDS) {
            String value = MDC.get(field);
            value = value == null ? LogIdentity.get(field) : value;
            if (value != null) {
                line.put(field, value);
            }
        }
        if (record.getThrown() != null) {
            line.put("exception", traceOf(record.getThrown()));
        }
        return JSON.toJson(line) + "\n";
    }

    static String timeOf(Instant instant) {
        return TIME.format(instant);
    }

    static String levelOf(Level level) {
        if (level.intValue() >= Level.SEVERE.intValue()) {
            return "error";
        }
        if (level.intValue() >= Level.WARNING.intValue()) {
            return "warning";
        }
        return level.intValue() >= Level.INFO.intValue() ? "info" : "debug";
    }

    static String traceOf(Throwable error) {
        StringWriter text = new StringWriter();
        error.printStackTrace(new PrintWriter(text, true));
        return Secrets.scrub(text.toString().stripTrailing());
    }
}
