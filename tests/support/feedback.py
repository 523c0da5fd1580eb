"""Reads the feedback that the postbox holds."""

from nats.aio.client import Client
from rendezvous_proto.postbox import durable_stream, feedback_subject
from rendezvous_proto.v1 import FeedbackBatch, Outcome

__all__ = ["outcomes_of", "read_feedback"]


async def read_feedback(client: Client, endpoint: str = "sum") -> list[FeedbackBatch]:
    """Returns every message of feedback of an endpoint, in the order of the stream."""
    js = client.jetstream()
    stream, subject = durable_stream(endpoint), feedback_subject(endpoint)
    count = (await js.stream_info(stream, subjects_filter=subject)).state.subjects or {}
    batches, sequence = [], 0
    for _ in range(count.get(subject, 0)):
        message = await js.get_msg(stream, sequence + 1, subject=subject, next=True)
        assert message.seq is not None
        assert message.headers is not None
        sequence = message.seq
        batch = FeedbackBatch.FromString(message.data or b"")
        assert message.headers["Nats-Msg-Id"] == batch.batch_id
        batches.append(batch)
    return batches


async def outcomes_of(client: Client, endpoint: str = "sum") -> list[Outcome]:
    """Returns every outcome that the postbox holds, repeats included, in the order of the stream."""
    return [outcome for batch in await read_feedback(client, endpoint) for outcome in batch.outcomes]
