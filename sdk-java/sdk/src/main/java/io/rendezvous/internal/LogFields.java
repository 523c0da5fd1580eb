package io.rendezvous.internal;

import java.util.ArrayList;
import java.util.List;
import org.slf4j.MDC;

/** What a log line is about, in the MDC of this thread until it is closed; nothing where it is not known. */
final class LogFields implements AutoCloseable {
    private final List<String> names = new ArrayList<>();

    /** Adds a field; an empty value is left out. */
    LogFields with(String name, String value) {
        if (value != null && !value.isEmpty()) {
            MDC.put(name, value);
            names.add(name);
        }
        return this;
    }

    @Override
    public void close() {
        names.forEach(MDC::remove);
    }
}
