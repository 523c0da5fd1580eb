package io.rendezvous.internal;

import java.util.regex.Pattern;

/** Leaves users, passwords and tokens of addresses out of what is said. */
public final class Secrets {
    // A password may hold '@' and '/', so that only the last '@' ends it; what ends an address in a text is not
    // crossed.
    private static final Pattern IN_TEXT = Pattern.compile("://[^\\s,\\[\\]\"']*@");
    private static final Pattern IN_ADDRESS = Pattern.compile("(^|,)(\\s*+(?:[A-Za-z][A-Za-z0-9+.-]*+://)?+)[^,]*@");

    private Secrets() {}

    /**
     * Scrubs a text in which addresses may stand, as a log line or a stack trace.
     *
     * @param text any text; null stays null
     * @return the text with {@code ***} in place of what precedes the last {@code @} of each {@code scheme://...}
     */
    public static String scrub(String text) {
        return text == null ? null : IN_TEXT.matcher(text).replaceAll("://***@");
    }

    /**
     * Redacts addresses.
     *
     * @param addresses with a scheme or without, several separated by commas
     * @return the addresses without what precedes the last {@code @} of each
     */
    public static String redact(String addresses) {
        return IN_ADDRESS.matcher(addresses).replaceAll("$1$2");
    }
}
