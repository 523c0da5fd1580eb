package io.rendezvous;

import io.grpc.ConnectivityState;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.nio.NioIoHandler;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioSocketChannel;
import io.grpc.netty.shaded.io.netty.util.concurrent.DefaultThreadFactory;
import io.rendezvous.internal.Durations;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Asks whether a model or a router serves ({@code grpc.health.v1.Health}); also a program, for containers.
 *
 * <pre>
 * java -cp JAR io.rendezvous.Health [HOST:PORT] [--service NAME] [--timeout 1s]
 * </pre>
 *
 * <p>The program ends with status 0 if it serves, 1 if it does not (with one line that says why), 2 if it is called
 * wrongly. Without an address it asks 127.0.0.1 and the port of {@code RENDEZVOUS_GRPC_PORT}.
 */
public final class Health {
    private static final String USAGE = "usage: io.rendezvous.Health [HOST:PORT] [--service NAME] [--timeout 1s]";
    private static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(1);
    private static final Duration START_UP = Duration.ofSeconds(4);
    private static final int NOT_SERVING = 1;
    private static final int MISUSED = 2;

    private Health() {}

    /**
     * Asks once.
     *
     * @param address {@code host:port}
     * @param service service asked about; empty: the server as a whole
     * @param timeout how long to wait for the answer once connected; connecting may take 4 s more, which on a busy
     *     machine a JVM needs to get going
     * @throws UnavailableException it does not serve, or did not say so in time; the message says which
     * @throws InvalidRequestException the address is not {@code host:port}, or the timeout is not positive
     */
    public static void check(String address, String service, Duration timeout) {
        ServerAddress server = new ServerAddress(address);
        ClientOptions.checkPositive("timeout", timeout);
        // One thread of the JDK's own sockets: a command starts faster without native libraries.
        EventLoopGroup loop = new MultiThreadIoEventLoopGroup(
                1, new DefaultThreadFactory("rendezvous-health", true), NioIoHandler.newFactory());
        ManagedChannel channel = NettyChannelBuilder.forTarget(address, InsecureChannelCredentials.create())
                .eventLoopGroup(loop)
                .channelType(NioSocketChannel.class)
                .directExecutor()
                .build();
        try {
            awaitConnection(channel, timeout.plus(START_UP));
            ServingStatus status = HealthGrpc.newBlockingStub(channel)
                    .withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS)
                    .check(HealthCheckRequest.newBuilder().setService(service).build())
                    .getStatus();
            if (status != ServingStatus.SERVING) {
                throw unhealthy(address, address + " is " + status.name());
            }
        } catch (StatusRuntimeException error) {
            throw unhealthy(address, why(server, service, timeout, error));
        } finally {
            channel.shutdownNow();
            loop.shutdownGracefully(0, 0, TimeUnit.MILLISECONDS);
        }
    }

    /**
     * The program.
     *
     * @param arguments address and options
     */
    public static void main(String[] arguments) {
        System.exit(run(arguments, System.getenv()));
    }

    static int run(String[] arguments, Map<String, String> environment) {
        try {
            Question question = Question.parse(arguments, environment);
            check(question.address, question.service, question.timeout);
            return 0;
        } catch (UnavailableException error) {
            System.err.println(error.getMessage());
            return NOT_SERVING;
        } catch (InvalidRequestException error) {
            System.err.println(error.getMessage() + System.lineSeparator() + USAGE);
            return MISUSED;
        }
    }

    /** Returns when it is connected, or cannot be; the call tells why. */
    private static void awaitConnection(ManagedChannel channel, Duration most) {
        long deadline = System.nanoTime() + most.toNanos();
        ConnectivityState state = channel.getState(true);
        while (state == ConnectivityState.IDLE || state == ConnectivityState.CONNECTING) {
            CountDownLatch changed = new CountDownLatch(1);
            channel.notifyWhenStateChanged(state, changed::countDown);
            try {
                if (!changed.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS)) {
                    return;
                }
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
                return;
            }
            state = channel.getState(true);
        }
    }

    private static UnavailableException unhealthy(String address, String why) {
        return new UnavailableException(why, Map.of("address", address));
    }

    private static String why(ServerAddress server, String service, Duration timeout, StatusRuntimeException error) {
        return switch (error.getStatus().getCode()) {
            case NOT_FOUND -> "no service '" + service + "' at " + server.text();
            case DEADLINE_EXCEEDED -> "no answer from " + server.text() + " within " + Durations.text(timeout);
            case UNIMPLEMENTED -> "no health service at " + server.text();
            case UNAVAILABLE -> server.failure(error).getMessage();
            default -> server.text() + ": " + Status.fromThrowable(error);
        };
    }

    private record Question(String address, String service, Duration timeout) {
        static Question parse(String[] arguments, Map<String, String> environment) {
            String address = null;
            String service = "";
            Duration timeout = DEFAULT_TIMEOUT;
            for (int at = 0; at < arguments.length; at++) {
                String argument = arguments[at];
                if (argument.equals("--service")) {
                    service = valueOf(arguments, ++at);
                } else if (argument.equals("--timeout")) {
                    timeout = Durations.parse(argument, valueOf(arguments, ++at));
                } else if (argument.startsWith("-") || address != null) {
                    throw new InvalidRequestException("'" + argument + "' is not understood");
                } else {
                    address = argument;
                }
            }
            return new Question(address == null ? own(environment) : address, service, timeout);
        }

        private static String valueOf(String[] arguments, int at) {
            if (at >= arguments.length) {
                throw new InvalidRequestException(arguments[at - 1] + " needs a value");
            }
            return arguments[at];
        }

        private static String own(Map<String, String> environment) {
            String port = environment.getOrDefault("RENDEZVOUS_GRPC_PORT", "");
            if (port.isBlank()) {
                throw new InvalidRequestException("no address: give HOST:PORT, or set RENDEZVOUS_GRPC_PORT");
            }
            return "127.0.0.1:" + port.strip();
        }
    }
}
