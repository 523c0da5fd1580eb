package io.rendezvous.internal;

import io.rendezvous.InvalidRequestException;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Durations as text: {@code 500ms}, {@code 1s}, {@code 1.5m}, or a number of seconds. */
public final class Durations {
    private static final Pattern TEXT = Pattern.compile("([0-9]+(?:\\.[0-9]+)?)\\s*(us|ms|s|m|h|)");
    private static final Map<String, Long> UNITS_NS = Map.of(
            "",
            1_000_000_000L,
            "us",
            1_000L,
            "ms",
            1_000_000L,
            "s",
            1_000_000_000L,
            "m",
            60_000_000_000L,
            "h",
            3_600_000_000_000L);

    private static final BigDecimal LONGEST_NS = BigDecimal.valueOf(Long.MAX_VALUE);

    private Durations() {}

    /**
     * Reads a duration.
     *
     * @param what what it is, for the message
     * @param text a number and its unit: us, ms, s, m or h; without one, seconds
     * @return the duration
     * @throws InvalidRequestException it is something else
     */
    public static Duration parse(String what, String text) {
        Matcher matcher = TEXT.matcher(text.strip());
        if (!matcher.matches()) {
            throw new InvalidRequestException(
                    what + " is '" + text + "': give a number and its unit, as in 500ms or 1s",
                    Map.of("option", what, "actual", text));
        }
        BigDecimal ns = new BigDecimal(matcher.group(1)).multiply(BigDecimal.valueOf(UNITS_NS.get(matcher.group(2))));
        return Duration.ofNanos(ns.min(LONGEST_NS).longValue());
    }

    /** Returns a duration in seconds for people, without needless decimals. */
    public static String text(Duration duration) {
        BigDecimal seconds = BigDecimal.valueOf(duration.getSeconds())
                .add(BigDecimal.valueOf(duration.getNano(), 9))
                .stripTrailingZeros();
        return seconds.toPlainString() + " s";
    }
}
