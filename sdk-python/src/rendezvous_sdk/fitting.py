"""Makes a score that is too large fit into a message."""

from rendezvous_proto import v1

__all__ = ["fit_score"]

_LEAST_MESSAGE_BYTES = 40
"""Room that errors of a score are to have for their texts where there are too many for all they say."""
_MESSAGE_OVERHEAD_BYTES = 8
"""Of a text in an error in an item in a score: its tag, and the lengths that grow with it."""


def fit_score(score: v1.ParcelScore, size: int, limit: int) -> None:
    """Makes a score of *size* bytes fit into *limit*: by shorter errors, else without outputs and traces.

    What failed keeps its code. What was scored is answered TOO_LARGE, unless shorter errors made room for it.
    """
    failed = [item.error for item in score.items if item.HasField("error")]
    full = [error.message.encode() for error in failed]
    for error in failed:
        error.ClearField("attributes")
        error.ClearField("message")
    if score.HasField("outputs") and score.ByteSize() + _LEAST_MESSAGE_BYTES * len(failed) > limit:
        text = f"the model's output has {size} bytes for this parcel; the limit is {limit}: send fewer rows a request"
        score.ClearField("outputs")
        for item in score.items:
            if not item.HasField("error"):
                item.rows = 0
                item.error.code = v1.ErrorCode.ERROR_CODE_TOO_LARGE
                failed.append(item.error)
                full.append(text.encode())
    if score.ByteSize() + _LEAST_MESSAGE_BYTES * len(failed) > limit:
        for item in score.items:
            item.ClearField("traceparent")
    if not failed:
        return
    room = (limit - score.ByteSize()) // len(failed) - _MESSAGE_OVERHEAD_BYTES
    if room > 0:
        for error, text_bytes in zip(failed, full, strict=True):
            error.message = text_bytes[:room].decode(errors="ignore")
