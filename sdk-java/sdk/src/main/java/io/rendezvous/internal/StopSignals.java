package io.rendezvous.internal;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.concurrent.CompletableFuture;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * SIGTERM and SIGINT as a future. The JDK's {@code sun.misc.Signal} is reached by reflection, because naming it makes
 * the compiler warn; a JVM without it is stopped by its ordinary shutdown.
 */
public final class StopSignals {
    private static final Logger LOG = LoggerFactory.getLogger(StopSignals.class);
    private static final int SIGNALLED = 128;

    private StopSignals() {}

    /** Returns a future that is completed by the first signal; the second one ends the process at once. */
    public static CompletableFuture<Void> install() {
        CompletableFuture<Void> stop = new CompletableFuture<>();
        try {
            Class<?> signal = Class.forName("sun.misc.Signal");
            Class<?> handlerType = Class.forName("sun.misc.SignalHandler");
            InvocationHandler handler = (proxy, method, arguments) -> {
                if (method.getName().equals("handle")) {
                    received(stop, (int) signal.getMethod("getNumber").invoke(arguments[0]));
                }
                return method.getName().equals("hashCode") ? System.identityHashCode(proxy) : null;
            };
            Object made = Proxy.newProxyInstance(handlerType.getClassLoader(), new Class<?>[] {handlerType}, handler);
            for (String name : new String[] {"TERM", "INT"}) {
                Object number = signal.getConstructor(String.class).newInstance(name);
                signal.getMethod("handle", signal, handlerType).invoke(null, number, made);
            }
        } catch (ReflectiveOperationException | IllegalArgumentException error) {
            LOG.warn("signals cannot be handled here, so this process ends without draining: {}", error.toString());
        }
        return stop;
    }

    private static void received(CompletableFuture<Void> stop, int number) {
        if (!stop.complete(null)) {
            Runtime.getRuntime().halt(SIGNALLED + number);
        }
        LOG.info("draining; a second signal ends this process at once");
    }
}
