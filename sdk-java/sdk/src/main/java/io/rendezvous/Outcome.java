package io.rendezvous;

import io.rendezvous.internal.Ids;
import io.rendezvous.internal.Names;
import io.rendezvous.v1.BusinessKey;
import io.rendezvous.v1.OutcomeKind;
import java.time.Instant;
import java.time.temporal.ChronoUnit;

/**
 * What turned out to be true of a request: made by {@link #truth}, {@link #reward} or {@link #verdict}, then told what it
 * is about. Frozen; it carries an id from its making on, so that it counts once however often it is recorded.
 *
 * <p>A correction is another outcome, for the same target, kind and output: of those the latest {@code observedAt}
 * counts.
 *
 * @param kind what kind of thing is known
 * @param value what is known: a {@code Double}, a {@code String} or a {@code Boolean}
 * @param feedbackId identity of the report: 1 to 64 of A-Z a-z 0-9 _ -
 * @param requestId the request that it is about; null: the key says
 * @param keyName name of an entry of the requests' context; null: the request's id says
 * @param keyValue its value
 * @param row row of the request, from 0; null: all of its rows
 * @param output output column; empty, of a truth: the first that such a value fits
 * @param observedAt when it became known; null: when the router takes it
 * @param source who says so; empty: not said
 */
public record Outcome(
        Kind kind,
        Object value,
        String feedbackId,
        String requestId,
        String keyName,
        String keyValue,
        Integer row,
        String output,
        Instant observedAt,
        String source) {
    /** What kind of thing is known. */
    public enum Kind {
        /** What a model had to predict. */
        TRUTH,
        /** How good the answer turned out to be; more is better. */
        REWARD,
        /** What a person says of the answer. */
        VERDICT
    }

    /**
     * Checks what the endpoint could not tell apart.
     *
     * @param kind as the component
     * @param value as the component
     * @param feedbackId as the component
     * @param requestId as the component
     * @param keyName as the component
     * @param keyValue as the component
     * @param row as the component
     * @param output as the component
     * @param observedAt as the component
     * @param source as the component
     * @throws InvalidRequestException the value is no number, text or flag, an id is malformed, or the row is below 0
     */
    public Outcome {
        if (!(value instanceof Double || value instanceof String || value instanceof Boolean)) {
            throw new InvalidRequestException("value of an outcome: must be a Double, a String or a Boolean");
        }
        Names.checkName("feedback id", feedbackId);
        if (requestId != null) {
            Names.checkName("request id", requestId);
        }
        if (row != null && row < 0) {
            throw new InvalidRequestException("row is " + row + ": rows count from 0; leave it out for all rows");
        }
    }

    private static Outcome of(Kind kind, Object value) {
        return new Outcome(kind, value, Ids.newId(), null, null, null, null, "", null, "");
    }

    /**
     * What a model had to predict.
     *
     * @param value a number
     * @return an outcome that is about nothing yet
     */
    public static Outcome truth(double value) {
        return of(Kind.TRUTH, value);
    }

    /**
     * What a model had to predict.
     *
     * @param value a label
     * @return an outcome that is about nothing yet
     */
    public static Outcome truth(String value) {
        return of(Kind.TRUTH, value);
    }

    /**
     * What a model had to predict.
     *
     * @param value whether it happened
     * @return an outcome that is about nothing yet
     */
    public static Outcome truth(boolean value) {
        return of(Kind.TRUTH, value);
    }

    /**
     * How good the answer turned out to be.
     *
     * @param value more is better
     * @return an outcome that is about nothing yet
     */
    public static Outcome reward(double value) {
        return of(Kind.REWARD, value);
    }

    /**
     * What a person says of the answer.
     *
     * @param value in words
     * @return an outcome that is about nothing yet
     */
    public static Outcome verdict(String value) {
        return of(Kind.VERDICT, value);
    }

    /**
     * What a person says of the answer.
     *
     * @param value yes or no
     * @return an outcome that is about nothing yet
     */
    public static Outcome verdict(boolean value) {
        return of(Kind.VERDICT, value);
    }

    /**
     * This outcome, about a request.
     *
     * @param id the request's id
     * @return a new outcome with the same id
     */
    public Outcome aboutRequest(String id) {
        return new Outcome(kind, value, feedbackId, id, null, null, row, output, observedAt, source);
    }

    /**
     * This outcome, about every request whose context has an entry.
     *
     * @param name its name
     * @param text its value
     * @return a new outcome with the same id
     */
    public Outcome aboutKey(String name, String text) {
        return new Outcome(kind, value, feedbackId, null, name, text, row, output, observedAt, source);
    }

    /**
     * This outcome, about one row.
     *
     * @param number from 0
     * @return a new outcome with the same id
     */
    public Outcome withRow(int number) {
        return new Outcome(kind, value, feedbackId, requestId, keyName, keyValue, number, output, observedAt, source);
    }

    /**
     * This outcome, about one output column.
     *
     * @param name of the column
     * @return a new outcome with the same id
     */
    public Outcome withOutput(String name) {
        return new Outcome(kind, value, feedbackId, requestId, keyName, keyValue, row, name, observedAt, source);
    }

    /**
     * This outcome with the time at which it became known.
     *
     * @param time microseconds count
     * @return a new outcome with the same id
     */
    public Outcome withObservedAt(Instant time) {
        return new Outcome(kind, value, feedbackId, requestId, keyName, keyValue, row, output, time, source);
    }

    /**
     * This outcome with who says so.
     *
     * @param name up to 128 characters
     * @return a new outcome with the same id
     */
    public Outcome withSource(String name) {
        return new Outcome(kind, value, feedbackId, requestId, keyName, keyValue, row, output, observedAt, name);
    }

    /**
     * This outcome with another id.
     *
     * @param id 1 to 64 of A-Z a-z 0-9 _ -
     * @return a new outcome
     */
    public Outcome withFeedbackId(String id) {
        return new Outcome(kind, value, id, requestId, keyName, keyValue, row, output, observedAt, source);
    }

    io.rendezvous.v1.Outcome toProto() {
        io.rendezvous.v1.Outcome.Builder made = io.rendezvous.v1.Outcome.newBuilder()
                .setFeedbackId(feedbackId)
                .setKind(OutcomeKind.valueOf("OUTCOME_KIND_" + kind))
                .setOutput(output)
                .setSource(source);
        if (requestId != null) {
            made.setRequestId(requestId);
        } else if (keyName != null) {
            made.setKey(BusinessKey.newBuilder().setName(keyName).setValue(keyValue));
        }
        if (row != null) {
            made.setRow(row);
        }
        if (observedAt != null) {
            made.setObservedUnixUs(ChronoUnit.MICROS.between(Instant.EPOCH, observedAt));
        }
        if (value instanceof Double number) {
            made.setNumber(number);
        } else if (value instanceof Boolean flag) {
            made.setFlag(flag);
        } else {
            made.setText((String) value);
        }
        return made.build();
    }
}
