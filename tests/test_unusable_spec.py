"""What is no specification never takes an endpoint away, not from a router that starts either."""

from tests.support.caller import Caller
from tests.support.stack import ENDPOINT, Stack


async def test_a_router_starts_with_the_newest_usable_revision(stack: Stack) -> None:
    """Garbage written over a specification leaves the one before in force, at a router that came after it."""
    await stack.apply({**ENDPOINT, "models": {"first": {"role": "champion"}}})
    for garbage in (b"\xff", b'{"type": "io.nats.jetstream.api.v1.stream_info_response"}'):
        await stack.store_raw("sum", garbage)
    stack.start_router()
    stack.start_model("tests.support.models:first")
    async with Caller(stack.address) as caller:
        reply = await caller.score({"a": [1.0], "b": [2], "tag": ["x"]})
    assert reply.decision.spec_revision == 1
