package io.rendezvous.internal;

import io.rendezvous.InvalidRequestException;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Names in the postbox: subjects, streams, consumers, buckets, keys and limits. No I/O.
 *
 * <p>Source: docs/protocol.md, section "Names".
 */
public final class Names {
    /** Most bytes of one message in the postbox (P11). */
    public static final int MAX_PARCEL_BYTES = 900 * 1024;
    /** Most parcels of one model version that are delivered and not yet acknowledged. */
    public static final int MAX_ACK_PENDING = 1000;
    /** A parcel delivered so often is given up. */
    public static final int MAX_DELIVER = 5;
    /** Stages of enrichers at most. */
    public static final int MAX_STAGES = 9;
    /** Bucket of registrations. */
    public static final String MODELS_BUCKET = "rv_models";
    /** Bucket of live replicas. */
    public static final String REPLICAS_BUCKET = "rv_replicas";
    /** Subject of parcels for models, of any endpoint. */
    public static final String INPUT_TEMPLATE = "rv.{endpoint}.input";
    /** Subject of parcels for enrichers, of any endpoint. */
    public static final String RAW_TEMPLATE = "rv.{endpoint}.raw";
    /** Trailing metadata that holds the serialized error. */
    public static final String ERROR_METADATA_KEY = "rendezvous-error-bin";

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_-]{1,64}");
    private static final Pattern VERSION = Pattern.compile("[A-Za-z0-9_.-]{1,64}");

    private Names() {}

    /** Returns the value if it may be a name (of an endpoint, model, router, replica, request). */
    public static String checkName(String kind, String value) {
        if (!NAME.matcher(value).matches()) {
            throw refusal(kind, value, "A-Z a-z 0-9 _ -");
        }
        return value;
    }

    /** Returns the value if it may be a model's version. */
    public static String checkVersion(String value) {
        if (!VERSION.matcher(value).matches()) {
            throw refusal("version", value, "A-Z a-z 0-9 _ - .");
        }
        return value;
    }

    /** Subject of parcels for models. */
    public static String inputSubject(String endpoint) {
        return "rv." + endpoint + ".input";
    }

    /** Subject of parcels for the enrichers of a stage. */
    public static String rawSubject(String endpoint, int stage) {
        return "rv." + endpoint + ".raw" + (stage == 1 ? "" : "." + stage);
    }

    /** Subject on which a model answers the parcels of a router. */
    public static String scoreSubject(String endpoint, String model, String router) {
        return "rv." + endpoint + ".score." + model + "." + checkName("router", router);
    }

    /** Stream that keeps the endpoint's inputs. */
    public static String durableStream(String endpoint) {
        return "RV_" + endpoint;
    }

    /** Version as one token: dots become dashes. */
    public static String versionToken(String version) {
        return version.replace('.', '-');
    }

    /** Durable consumer that the replicas of a model version share. */
    public static String consumerName(String model, String version) {
        return model + "__" + versionToken(version);
    }

    /** Key in the bucket of models. */
    public static String modelKey(String endpoint, String model, String version) {
        return endpoint + "." + model + "." + versionToken(version);
    }

    private static InvalidRequestException refusal(String kind, String value, String allowed) {
        String shown = Shown.value(value);
        return new InvalidRequestException(
                kind + " '" + shown + "' is not allowed (" + value.length() + " characters): use 1 to 64 of " + allowed,
                Map.of("kind", kind, "value", shown, "allowed", allowed));
    }
}
