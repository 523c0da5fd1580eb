package io.rendezvous;

import io.rendezvous.internal.Durations;
import io.rendezvous.internal.Names;
import io.rendezvous.internal.NatsConnections;
import java.time.Duration;
import java.util.Map;

/**
 * How one model version is served: frozen, checked when made.
 *
 * <p>What is not set comes from the environment, then from the defaults.
 *
 * @param endpoint endpoint that the model belongs to; {@code RENDEZVOUS_ENDPOINT}
 * @param name the model's name, unique in its endpoint; {@code RENDEZVOUS_MODEL}
 * @param version the model's version, whose replicas share one durable consumer; {@code RENDEZVOUS_VERSION}, default 1
 * @param nats address of the NATS server, several separated by commas; {@code RENDEZVOUS_NATS}, default
 *     {@code nats://127.0.0.1:4222}
 * @param postbox whether to read the endpoint's postbox; default true
 * @param grpc whether to serve gRPC; default true
 * @param grpcHost address to listen on; {@code RENDEZVOUS_GRPC_HOST}, default 127.0.0.1
 * @param grpcPort port to listen on, 0 takes a free one; {@code RENDEZVOUS_GRPC_PORT}, default 0
 * @param ackWait time without a sign of life after which a parcel goes to another replica, 0.1 s to 1 h;
 *     {@code RENDEZVOUS_ACK_WAIT}, default 1 s
 * @param scoringLimit time after which the scoring of one table is interrupted, 1 ms to 24 h;
 *     {@code RENDEZVOUS_SCORING_LIMIT}, default 60 s
 * @param credit parcels taken from the postbox ahead of scoring, 1 to 256; up to 64 while they are scored within 20 ms,
 *     1 stays 1; default 4
 * @param maxJoinedRows waiting parcels are scored together as one table of at most so many rows; default 16384
 * @param maxMessageBytes largest gRPC message, 1 KiB to 512 MiB; default 4 MiB
 * @param maxRows most rows of one request or parcel, 1 to 1,000,000,000; more are refused with TOO_LARGE; default
 *     1,000,000
 * @param credentials key and TLS of the connection to NATS; what it leaves open comes from the environment
 * @param enricher stage in which it adds columns to the requests before the models see them, as an enricher of the
 *     endpoint, 1 to 9; 0: it is a model; {@code RENDEZVOUS_ENRICHER}, default 0
 */
public record ServeOptions(
        String endpoint,
        String name,
        String version,
        String nats,
        boolean postbox,
        boolean grpc,
        String grpcHost,
        int grpcPort,
        Duration ackWait,
        Duration scoringLimit,
        int credit,
        int maxJoinedRows,
        int maxMessageBytes,
        int maxRows,
        Credentials credentials,
        int enricher) {
    /** Where NATS is, if nothing says otherwise. */
    public static final String DEFAULT_NATS = "nats://127.0.0.1:4222";

    /** Most rows of one request or parcel, if nothing says otherwise. */
    public static final int DEFAULT_MAX_ROWS = 1_000_000;

    /**
     * Checks everything.
     *
     * @param endpoint as the component
     * @param name as the component
     * @param version as the component
     * @param nats as the component
     * @param postbox as the component
     * @param grpc as the component
     * @param grpcHost as the component
     * @param grpcPort as the component
     * @param ackWait as the component
     * @param scoringLimit as the component
     * @param credit as the component
     * @param maxJoinedRows as the component
     * @param maxMessageBytes as the component
     * @param maxRows as the component
     * @param credentials as the component
     * @param enricher as the component
     * @throws InvalidRequestException a name or an address is malformed, a value out of its range, both doors are closed,
     *     a file of key or TLS cannot be used, or the key would go to another machine in the clear
     */
    public ServeOptions {
        Names.checkName("endpoint", endpoint);
        Names.checkName("model", name);
        Names.checkVersion(version);
        NatsConnections.checkAddress(nats);
        checkRange("grpc port", grpcPort, 0, 65_535);
        checkRange("ack wait", ackWait, Duration.ofMillis(100), Duration.ofHours(1));
        checkRange("scoring limit", scoringLimit, Duration.ofMillis(1), Duration.ofHours(24));
        checkRange("credit", credit, 1, 256);
        checkRange("max joined rows", maxJoinedRows, 1, 10_000_000);
        checkRange("max message bytes", maxMessageBytes, 1024, 512 * 1024 * 1024);
        checkRange("max rows", maxRows, 1, 1_000_000_000);
        checkRange("enricher", enricher, 0, Names.MAX_STAGES);
        if (!postbox && !grpc) {
            throw new InvalidRequestException("neither the postbox nor gRPC is served: leave one of them on");
        }
        if (postbox) {
            NatsConnections.checkCredentials(nats, credentials);
        }
    }

    /**
     * Returns the subject of the parcels that it scores.
     *
     * @return the endpoint's {@code input}, or the {@code raw} of an enricher's stage
     */
    public String subject() {
        return enricher == 0 ? Names.inputSubject(endpoint) : Names.rawSubject(endpoint, enricher);
    }

    /**
     * Begins options that take what is not set from this process's environment.
     *
     * @return the builder
     */
    public static Builder builder() {
        return new Builder(System.getenv());
    }

    /**
     * Begins options that take what is not set from a given environment.
     *
     * @param environment variables by name
     * @return the builder
     */
    public static Builder builder(Map<String, String> environment) {
        return new Builder(environment);
    }

    private static void checkRange(String what, long value, long least, long most) {
        if (value < least || value > most) {
            throw new InvalidRequestException(
                    what + " is " + value + "; allowed is " + least + " to " + most,
                    Map.of("option", what, "actual", value, "least", least, "most", most));
        }
    }

    private static void checkRange(String what, Duration value, Duration least, Duration most) {
        if (value.compareTo(least) < 0 || value.compareTo(most) > 0) {
            throw new InvalidRequestException(
                    what + " is " + Durations.text(value) + "; allowed is " + Durations.text(least) + " to "
                            + Durations.text(most),
                    Map.of("option", what, "actual", value, "least", least, "most", most));
        }
    }

    /** Collects options. Not thread-safe. */
    public static final class Builder {
        private final Map<String, String> environment;
        private String endpoint;
        private String name;
        private String version;
        private String nats;
        private boolean postbox = true;
        private boolean grpc = true;
        private String grpcHost;
        private Integer grpcPort;
        private Duration ackWait;
        private Duration scoringLimit;
        private int credit = 4;
        private int maxJoinedRows = 16_384;
        private int maxMessageBytes = 4 * 1024 * 1024;
        private int maxRows = DEFAULT_MAX_ROWS;
        private Integer enricher;
        private Credentials credentials = Credentials.UNSET;

        private Builder(Map<String, String> environment) {
            this.environment = environment;
        }

        /**
         * Sets endpoint.
         *
         * @param value endpoint that the model belongs to
         * @return this builder
         */
        public Builder endpoint(String value) {
            this.endpoint = value;
            return this;
        }

        /**
         * Sets name.
         *
         * @param value the model's name
         * @return this builder
         */
        public Builder name(String value) {
            this.name = value;
            return this;
        }

        /**
         * Sets version.
         *
         * @param value the model's version
         * @return this builder
         */
        public Builder version(String value) {
            this.version = value;
            return this;
        }

        /**
         * Sets nats.
         *
         * @param value address of the NATS server, several separated by commas
         * @return this builder
         */
        public Builder nats(String value) {
            this.nats = value;
            return this;
        }

        /**
         * Sets postbox.
         *
         * @param value whether to read the endpoint's postbox
         * @return this builder
         */
        public Builder postbox(boolean value) {
            this.postbox = value;
            return this;
        }

        /**
         * Sets grpc.
         *
         * @param value whether to serve gRPC
         * @return this builder
         */
        public Builder grpc(boolean value) {
            this.grpc = value;
            return this;
        }

        /**
         * Sets grpcHost.
         *
         * @param value address to listen on
         * @return this builder
         */
        public Builder grpcHost(String value) {
            this.grpcHost = value;
            return this;
        }

        /**
         * Sets grpcPort.
         *
         * @param value port to listen on; 0 takes a free one
         * @return this builder
         */
        public Builder grpcPort(int value) {
            this.grpcPort = value;
            return this;
        }

        /**
         * Sets ackWait.
         *
         * @param value time without a sign of life after which a parcel goes to another replica
         * @return this builder
         */
        public Builder ackWait(Duration value) {
            this.ackWait = value;
            return this;
        }

        /**
         * Sets scoringLimit.
         *
         * @param value time after which the scoring of one table is interrupted
         * @return this builder
         */
        public Builder scoringLimit(Duration value) {
            this.scoringLimit = value;
            return this;
        }

        /**
         * Sets credit.
         *
         * @param value parcels taken from the postbox ahead of scoring
         * @return this builder
         */
        public Builder credit(int value) {
            this.credit = value;
            return this;
        }

        /**
         * Sets maxJoinedRows.
         *
         * @param value most rows of waiting parcels that are scored together
         * @return this builder
         */
        public Builder maxJoinedRows(int value) {
            this.maxJoinedRows = value;
            return this;
        }

        /**
         * Sets maxMessageBytes.
         *
         * @param value largest gRPC message
         * @return this builder
         */
        public Builder maxMessageBytes(int value) {
            this.maxMessageBytes = value;
            return this;
        }

        /**
         * Sets maxRows.
         *
         * @param value most rows of one request or parcel
         * @return this builder
         */
        public Builder maxRows(int value) {
            this.maxRows = value;
            return this;
        }

        /**
         * Makes it an enricher: it adds columns to the requests before the models see them.
         *
         * @param stage as the endpoint's specification has it, 1 for the first; 0: it is a model
         * @return this builder
         */
        public Builder enricher(int stage) {
            this.enricher = stage;
            return this;
        }

        /**
         * Sets key and TLS of the connection to NATS.
         *
         * @param value what it leaves open comes from the environment
         * @return this builder
         */
        public Builder credentials(Credentials value) {
            this.credentials = value;
            return this;
        }

        /**
         * Makes the options.
         *
         * @return the options
         * @throws InvalidRequestException a value is missing, malformed or out of its range
         */
        public ServeOptions build() {
            return new ServeOptions(
                    required("endpoint", endpoint, "RENDEZVOUS_ENDPOINT"),
                    required("name", name, "RENDEZVOUS_MODEL"),
                    text(version, "RENDEZVOUS_VERSION", "1"),
                    text(nats, "RENDEZVOUS_NATS", DEFAULT_NATS),
                    postbox,
                    grpc,
                    text(grpcHost, "RENDEZVOUS_GRPC_HOST", "127.0.0.1"),
                    number(grpcPort, "RENDEZVOUS_GRPC_PORT", "0 to 65535"),
                    duration(ackWait, "RENDEZVOUS_ACK_WAIT", "1s"),
                    duration(scoringLimit, "RENDEZVOUS_SCORING_LIMIT", "60s"),
                    credit,
                    maxJoinedRows,
                    maxMessageBytes,
                    maxRows,
                    credentials.orElse(environment),
                    number(enricher, "RENDEZVOUS_ENRICHER", "0 to " + Names.MAX_STAGES));
        }

        /** A name that stands back behind the environment's. */
        Builder defaultName(String value) {
            if (name == null && environment.getOrDefault("RENDEZVOUS_MODEL", "").isBlank()) {
                name = value;
            }
            return this;
        }

        private String required(String what, String value, String variable) {
            String found = text(value, variable, null);
            if (found == null) {
                throw new InvalidRequestException(
                        "the model's " + what + " is not said: call " + what + "(...) or set " + variable,
                        Map.of("option", what));
            }
            return found;
        }

        private String text(String value, String variable, String otherwise) {
            if (value != null) {
                return value;
            }
            String found = environment.getOrDefault(variable, "");
            return found.isBlank() ? otherwise : found;
        }

        private Duration duration(Duration value, String variable, String otherwise) {
            return value != null ? value : Durations.parse(variable, text(null, variable, otherwise));
        }

        private int number(Integer value, String variable, String allowed) {
            if (value != null) {
                return value;
            }
            String text = text(null, variable, "0");
            try {
                return Integer.parseInt(text.strip());
            } catch (NumberFormatException error) {
                throw new InvalidRequestException(
                        variable + " is '" + text + "': give a number, " + allowed,
                        Map.of("option", variable, "actual", text));
            }
        }
    }
}
