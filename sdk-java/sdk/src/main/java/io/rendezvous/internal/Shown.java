package io.rendezvous.internal;

import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;

/** What is said of values that came from outside: cut, so that an error fits where it must (P81). */
public final class Shown {
    /** Most characters of an error's message. */
    public static final int MESSAGE_CHARACTERS = 1000;

    private static final int VALUE_CHARACTERS = 80;
    private static final int ATTRIBUTE_CHARACTERS = 1000;
    private static final int MOST_NAMES = 20;
    private static final int ERROR_BYTES = 4096;
    private static final int ENTRY_BYTES = 8;
    private static final String MORE = "...";

    private Shown() {}

    /** Returns a value to be echoed: its first 80 characters. */
    public static String value(String text) {
        return text.length() <= VALUE_CHARACTERS ? text : head(text, VALUE_CHARACTERS) + MORE;
    }

    /** Returns the first 20 of some names, and how many more there are. */
    public static String names(Collection<String> names) {
        String first = names.stream().limit(MOST_NAMES).map(Shown::value).collect(Collectors.joining(", "));
        int more = names.size() - MOST_NAMES;
        return more > 0 ? first + " and " + more + " more" : first;
    }

    /** Returns a text of no more than so many characters. */
    public static String cut(String text, int most) {
        return text.length() <= most ? text : head(text, most - MORE.length()) + MORE;
    }

    /** Returns the attributes that fit into 4 KiB beside their message, in order, each of them cut. */
    public static Map<String, String> attributes(String message, Map<String, String> attributes) {
        Map<String, String> fitting = new LinkedHashMap<>();
        int left = ERROR_BYTES - bytes(message);
        for (Map.Entry<String, String> attribute : attributes.entrySet()) {
            String name = value(attribute.getKey());
            String value = cut(attribute.getValue(), ATTRIBUTE_CHARACTERS);
            int size = bytes(name) + bytes(value) + ENTRY_BYTES;
            if (size <= left) {
                fitting.put(name, value);
                left -= size;
            }
        }
        return fitting;
    }

    private static int bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8).length;
    }

    /** The first characters, without half of a surrogate pair. */
    private static String head(String text, int characters) {
        boolean splits = Character.isHighSurrogate(text.charAt(characters - 1));
        return text.substring(0, splits ? characters - 1 : characters);
    }
}
