"""Replays recorded arrivals, under the policy of the day or another one."""

from collections.abc import Iterable, Mapping

from rendezvous.answers import Arrival, Decision
from rendezvous.mailbox import Mailbox
from rendezvous.policy import Policy


def replay(
    policy: Policy,
    arrivals: Iterable[Arrival],
    *,
    request_id: str,
    rows: int,
    context: Mapping[str, str] | None = None,
    opened_at: float = 0.0,
    deadline: float | None = None,
    force: str | None = None,
) -> Decision:
    """Decide a recorded request anew, in virtual time.

    Args:
        policy: The policy to be tried.
        arrivals: What had arrived, in the order of `at`, on the clock of `opened_at`.
        request_id: The request.
        rows: Its number of rows.
        context: The client's context; None: empty.
        opened_at: When it was accepted.
        deadline: When its answer was due; None: by the policy's deadline.
        force: As for `Mailbox`.

    Returns:
        The decision that a mailbox with this policy would have made; it always makes one.

    Raises:
        ForceError: `force` names no model, or one that is never served.
    """
    mailbox = Mailbox(
        policy,
        request_id=request_id,
        opened_at=opened_at,
        deadline=opened_at + policy.deadline_s if deadline is None else deadline,
        rows=rows,
        context=context or {},
        force=force,
    )
    for arrival in arrivals:
        while mailbox.next_wake < arrival.at:
            mailbox.wake(mailbox.next_wake)
        if mailbox.decision is not None:
            return mailbox.decision
        mailbox.deliver(arrival.score, arrival.at)
    while mailbox.decision is None:
        mailbox.wake(mailbox.next_wake)
    return mailbox.decision
