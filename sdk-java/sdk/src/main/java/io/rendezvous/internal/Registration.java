package io.rendezvous.internal;

import com.google.gson.Gson;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import io.nats.client.Connection;
import io.nats.client.JetStreamApiException;
import io.nats.client.JetStreamOptions;
import io.nats.client.KeyValue;
import io.nats.client.KeyValueManagement;
import io.nats.client.KeyValueOptions;
import io.nats.client.api.KeyValueConfiguration;
import io.nats.client.api.StorageType;
import io.rendezvous.ServeOptions;
import io.rendezvous.v1.ModelInfo;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Tells the installation what serves: the model once, the replica every two seconds (P91, P92). */
final class Registration {
    static final long REFRESH_MS = 2000;

    private static final Logger LOG = LoggerFactory.getLogger(Registration.class);
    private static final Duration REQUEST_TIMEOUT = Duration.ofSeconds(2);
    private static final Duration REPLICAS_TTL = Duration.ofSeconds(15);
    private static final int MODELS_HISTORY = 8;
    private static final int CLUSTER_SERVERS = 3;
    /** Of JetStream: more replicas than there are servers, in a cluster and of a server that stands alone. */
    private static final Set<Integer> NOT_ENOUGH_SERVERS = Set.of(10005, 10074);

    private static final int NAME_IN_USE = 10058;
    private static final int STREAM_NOT_FOUND = 10059;
    private static final Gson JSON = new Gson();

    private final Connection connection;
    private final KeyValueOptions timeouts;
    private final ModelInfo info;
    private final Counters counters;
    private final Map<String, Object> status;
    private final String modelKey;
    private final String replicaKey;
    private volatile boolean registered;
    private boolean stopped;

    Registration(
            Connection connection,
            ModelInfo info,
            ServeOptions options,
            Counters counters,
            String replica,
            String grpcAddress) {
        this.connection = connection;
        this.info = info;
        this.counters = counters;
        this.timeouts = KeyValueOptions.builder()
                .jetStreamOptions(JetStreamOptions.builder()
                        .requestTimeout(REQUEST_TIMEOUT)
                        .build())
                .build();
        this.modelKey = Names.modelKey(options.endpoint(), options.name(), options.version());
        this.replicaKey = modelKey + "." + replica;
        this.status = new LinkedHashMap<>();
        status.put("replica", replica);
        status.put("grpc", grpcAddress);
        status.put("pid", ProcessHandle.current().pid());
        status.put("started_unix_us", Clocks.unixUs());
        status.put("model", options.name());
        status.put("version", options.version());
        status.put("endpoint", options.endpoint());
    }

    /** Writes the model's entry anew with the next refresh: the server may have lost it. */
    void registerAgain() {
        registered = false;
    }

    /** Writes the replica's entry, and the model's if it is not written; failures are retried at the next refresh. */
    synchronized void refresh() {
        if (stopped) {
            return;
        }
        try {
            if (!registered) {
                register();
            }
            Map<String, Object> current = new LinkedHashMap<>(status);
            current.putAll(counters.current());
            connection
                    .keyValue(Names.REPLICAS_BUCKET, timeouts)
                    .put(replicaKey, JSON.toJson(current).getBytes(StandardCharsets.UTF_8));
        } catch (IOException | JetStreamApiException | IllegalStateException error) {
            registered = false;
            LOG.debug("not registered, tried again in {} ms: {}", REFRESH_MS, error.toString());
        }
    }

    /** Takes the replica's entry away, so that nobody counts on it for the rest of its time to live. */
    synchronized void stop() {
        stopped = true;
        try {
            connection.keyValue(Names.REPLICAS_BUCKET, timeouts).delete(replicaKey);
        } catch (IOException | JetStreamApiException | IllegalStateException error) {
            LOG.debug("replica's entry not removed, it runs out by itself: {}", error.toString());
        }
    }

    private void register() throws IOException, JetStreamApiException {
        KeyValue models = open(
                Names.MODELS_BUCKET,
                () -> KeyValueConfiguration.builder(Names.MODELS_BUCKET).maxHistoryPerKey(MODELS_HISTORY));
        open(
                Names.REPLICAS_BUCKET,
                () -> KeyValueConfiguration.builder(Names.REPLICAS_BUCKET)
                        .ttl(REPLICAS_TTL)
                        .storageType(StorageType.Memory));
        models.put(modelKey, toJson(info).getBytes(StandardCharsets.UTF_8));
        registered = true;
    }

    /** Opens a bucket; makes it where it is missing, on three servers or, where there are fewer, on one. */
    private KeyValue open(String bucket, Supplier<KeyValueConfiguration.Builder> wanted)
            throws IOException, JetStreamApiException {
        KeyValueManagement management = connection.keyValueManagement(timeouts);
        if (!exists(management, bucket)) {
            LOG.info("making bucket {}", bucket);
            if (!made(management, wanted.get().replicas(CLUSTER_SERVERS))) {
                made(management, wanted.get());
            }
        }
        return connection.keyValue(bucket, timeouts);
    }

    /** Asks for the one bucket: a program that may see no other one may ask that. */
    private static boolean exists(KeyValueManagement management, String bucket)
            throws IOException, JetStreamApiException {
        try {
            management.getStatus(bucket);
            return true;
        } catch (JetStreamApiException error) {
            if (error.getApiErrorCode() != STREAM_NOT_FOUND) {
                throw error;
            }
            return false;
        }
    }

    /** Makes a bucket; false: there are not as many servers as are to keep it. */
    private static boolean made(KeyValueManagement management, KeyValueConfiguration.Builder wanted)
            throws IOException, JetStreamApiException {
        KeyValueConfiguration bucket = wanted.build();
        try {
            management.create(bucket);
        } catch (JetStreamApiException error) {
            if (bucket.getReplicas() > 1 && NOT_ENOUGH_SERVERS.contains(error.getApiErrorCode())) {
                return false;
            }
            if (error.getApiErrorCode() != NAME_IN_USE) {
                throw error;
            }
            LOG.debug("bucket {}: another process was faster", bucket.getBucketName());
        }
        return true;
    }

    private static String toJson(ModelInfo info) {
        try {
            return JsonFormat.printer().print(info);
        } catch (InvalidProtocolBufferException error) {
            throw new IllegalStateException("a model's description has no message of unknown type", error);
        }
    }
}
