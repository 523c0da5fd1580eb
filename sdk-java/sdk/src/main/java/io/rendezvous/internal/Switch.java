package io.rendezvous.internal;

import io.rendezvous.InvalidRequestException;
import java.util.Locale;
import java.util.Map;

/** A variable that switches something on. */
public final class Switch {
    private Switch() {}

    /**
     * Returns whether a variable says yes; one that is missing or blank says no.
     *
     * @throws InvalidRequestException it says neither
     */
    public static boolean isOn(Map<String, String> environment, String variable) {
        String said = environment.getOrDefault(variable, "").strip();
        return switch (said.toLowerCase(Locale.ROOT)) {
            case "1", "true", "yes", "on" -> true;
            case "", "0", "false", "no", "off" -> false;
            default ->
                throw new InvalidRequestException(
                        variable + " is '" + Shown.value(said) + "': give 1 or 0",
                        Map.of("option", variable, "actual", Shown.value(said)));
        };
    }
}
