"""Remembers answers by request id, so that a retry gets the answer that was given and is not scored again."""

from asyncio import Future
from collections import OrderedDict

from rendezvous_proto.errors import RequestIdConflictError
from rendezvous_proto.v1 import ScoreReply


class Repeats:
    """Answers of the latest requests that carried an id of the client's.

    An answer that is an error is forgotten as soon as it is given: the retry is a new attempt.

    Args:
        window_s: how long an answer is kept after its request's arrival, seconds.
        entries: how many are kept at most; the oldest go first.
    """

    def __init__(self, *, window_s: float, entries: int) -> None:
        self._window_s = window_s
        self._entries = entries
        self._known: OrderedDict[tuple[str, str], tuple[float, int, Future[ScoreReply]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, endpoint: str, request_id: str, content: int, now: float) -> "Future[ScoreReply] | None":
        """Returns the answer (to be) of an earlier request with this id, or None.

        Raises:
            RequestIdConflictError: the id was used with other *content* (a hash of the request's bytes).
        """
        self._expire(now)
        known = self._known.get((endpoint, request_id))
        if known is None:
            return None
        _, known_content, answer = known
        if known_content != content:
            raise RequestIdConflictError(
                f"request id {request_id!r} was used before with other content: "
                "use a new id for a new request, and the same bytes for a retry",
                {"request_id": request_id},
            )
        return answer

    def remember(self, endpoint: str, request_id: str, content: int, now: float, answer: "Future[ScoreReply]") -> None:
        """Keeps *answer* for retries."""
        key = (endpoint, request_id)
        self._known[key] = (now, content, answer)
        answer.add_done_callback(lambda done: self._forget_error(key, done))
        if len(self._known) > self._entries:
            self._known.popitem(last=False)

    def _forget_error(self, key: tuple[str, str], done: "Future[ScoreReply]") -> None:
        known = self._known.get(key)
        if known is not None and known[2] is done and (done.cancelled() or done.exception() is not None):
            del self._known[key]

    def _expire(self, now: float) -> None:
        while self._known:
            arrived_at = next(iter(self._known.values()))[0]
            if arrived_at + self._window_s > now:
                return
            self._known.popitem(last=False)
