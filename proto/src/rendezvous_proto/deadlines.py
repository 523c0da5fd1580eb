"""Whether a request expired before it reached a model, told by the broker's clock alone."""

__all__ = ["is_expired"]


def is_expired(*, stored_unix_us: int, budget_us: int, broker_now_unix_us: int) -> bool:
    """Tells whether an item's deadline had passed: broker_now >= stored + budget.

    Both moments are the broker's, so the clocks of router and model may differ by any amount.

    Args:
        stored_unix_us: When the broker stored the parcel (its message's timestamp), microseconds since 1970.
        budget_us: The item's budget, microseconds; 0 or negative: it was expired when it was sealed.
        broker_now_unix_us: The broker's present time (field `ts` of a stream's or consumer's info), microseconds.

    Source: docs/protocol.md, section "Deadlines".
    """
    return broker_now_unix_us >= stored_unix_us + budget_us
