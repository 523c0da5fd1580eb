"""The requests and replies that are sent: serialized once, the same bytes for every system."""

import numpy as np
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame

from examples.credit.applicants import split_applicants

LINEAR_COLUMNS = tuple(f"x{place:02}" for place in range(20))
"""Input columns of the NumPy models, all FP64."""


def make_frame(kind: str, rows: int) -> v1.Frame:
    """Returns *rows* input rows for the `linear` or the `credit` models.

    Raises:
        ValueError: another kind.
    """
    if kind == "linear":
        values = np.random.default_rng(rows).standard_normal((len(LINEAR_COLUMNS), rows))
        return encode_frame(dict(zip(LINEAR_COLUMNS, values, strict=True)))
    if kind == "credit":
        _, held_out = split_applicants()
        return encode_frame(held_out.table.iloc[np.arange(rows) % len(held_out.table)].to_dict("list"))
    raise ValueError(f"kind is {kind!r}: expected 'linear' or 'credit'")


def make_request(kind: str, rows: int, endpoint: str = "bench") -> bytes:
    """Returns a serialized ScoreRequest, without an id: each server makes its own, as for any client."""
    return v1.ScoreRequest(endpoint=endpoint, inputs=make_frame(kind, rows)).SerializeToString()


def make_reply(kind: str, rows: int) -> bytes:
    """Returns a serialized ScoreReply of the size that a router's reply has: what the echo server sends."""
    outputs = {"score": np.zeros(rows)} if kind == "linear" else {"default_probability": np.zeros(rows)}
    if kind == "credit":
        outputs["label"] = np.full(rows, "good", dtype=object)
    identity = "0" * 36
    stamp = 1_700_000_000_000_000
    return v1.ScoreReply(
        request_id=identity,
        model="m1",
        version="1",
        outputs=encode_frame(outputs),
        timing=v1.Timing(received_unix_us=stamp, started_unix_us=stamp, finished_unix_us=stamp),
        decision=v1.Decision(
            request_id=identity,
            endpoint="bench",
            rule="steps[0].best",
            models=["m1"],
            spec_revision=1,
            decided_after_us=1000,
            deadline_left_us=1_000_000,
            reason="m1 answered first in the order of preference",
        ),
    ).SerializeToString()
