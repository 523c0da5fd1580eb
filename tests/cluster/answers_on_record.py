"""What clients were answered against what the record says was decided."""

import contextlib
from collections.abc import Mapping, Sequence

from rendezvous_proto.v1 import Decision, DecisionRecord, ScoreReply
from rendezvous_router.ledger import FLUSH_S
from rendezvous_router.record import read_decisions
from rendezvous_sdk.nats_connection import connect

from tests.support.open_loop import OpenLoop, Outcome

LAST_MOMENT_S = 2 * FLUSH_S
"""A router that is killed takes with it the decisions that wait for their batch, and the batch on its way."""


async def read_record(urls: str, endpoint: str) -> dict[str, list[DecisionRecord]]:
    """Returns an endpoint's decisions by request id, as its durable stream has them."""
    found: dict[str, list[DecisionRecord]] = {}
    client = await connect(urls, name="test", timeout_s=5)
    try:
        async with contextlib.aclosing(read_decisions(client, endpoint)) as records:
            async for record in records:
                found.setdefault(record.decision.request_id, []).append(record)
    finally:
        await client.close()
    return found


def check_record(
    load: OpenLoop, record: Mapping[str, Sequence[DecisionRecord]], *, killed_s: float | None = None
) -> None:
    """Each request was decided once, or at most once an attempt, and its client got what was decided.

    Args:
        load: what the clients saw; every request has been answered.
        record: decisions by request id.
        killed_s: when a router was killed, seconds after the load's beginning: what it decided just before may be
            missing. None: none was.
    """
    assert record.keys() <= {outcome.request_id for outcome in load.outcomes}, "decisions of requests never sent"
    repeated = {each.request_id for each in load.outcomes if len(record.get(each.request_id, ())) > each.attempts}
    assert not repeated, f"decided more often than they were sent: {sorted(repeated)}"
    missing = [outcome for outcome in load.outcomes if not is_on_record(outcome, record)]
    print(f"{len(missing)} answers are not on the record, {sum(map(len, record.values()))} decisions are")
    allowed = 0 if killed_s is None else round(load.rate * LAST_MOMENT_S)
    assert len(missing) <= allowed, f"answered, and not on the record: {[each.request_id for each in missing]}"
    for outcome in missing:
        assert killed_s is not None
        assert killed_s - 1.0 < outcome.due_s + outcome.took_s < killed_s + 1.0, (
            f"{outcome.request_id}: not on the record"
        )


def is_on_record(outcome: Outcome, record: Mapping[str, Sequence[DecisionRecord]]) -> bool:
    """Tells whether the answer that the client got is one that was recorded under its id.

    Raises:
        AssertionError: decisions are recorded for the only attempt, but not the one that the client got.
    """
    assert outcome.reply is not None
    decisions = record.get(outcome.request_id, ())
    agrees = any(was_told(each, outcome.reply) for each in decisions)
    assert agrees or not decisions or outcome.attempts > 1, f"{outcome.request_id}: {outcome.reply} is not {decisions}"
    return agrees


def was_told(recorded: DecisionRecord, reply: ScoreReply) -> bool:
    """Tells whether a reply says what was recorded: how it was decided, the model, the outputs."""
    decision = Decision()
    decision.CopyFrom(recorded.decision)
    decision.ClearField("arrivals")  # replies have them with `explain` only
    model = decision.models[0] if decision.models else ""
    return decision == reply.decision and model == reply.model and recorded.outputs == reply.outputs
