"""Rules that serve one model's score as it is: best, first, split."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from rendezvous.answers import Picked
from rendezvous.rule import Case, Failed, Outcome


class Best:
    """The most preferred model that answers validly by the step's end."""

    __slots__ = ("_failed", "_outcomes")

    def __init__(self, of: Sequence[str]) -> None:
        # Outcomes are made once: judging allocates nothing.
        self._outcomes = [
            (model, Outcome(Picked(model), (model,), f"{model}, {_rank(i, len(of))}, had answered"))
            for i, model in enumerate(of)
        ]
        self._failed = Failed(f"no valid score of {', '.join(of)}")

    def judge(self, case: Case, closed: bool) -> Outcome | Failed | None:
        """See `Rule.judge`."""
        arrivals = case.arrivals
        for model, outcome in self._outcomes:
            arrival = arrivals.get(model)
            if arrival is None:
                if not closed:
                    return None
            elif arrival.score.error is None:
                return outcome
        return self._failed


def _rank(index: int, count: int) -> str:
    if count == 1:
        return "the only model asked"
    return "the most preferred" if index == 0 else f"preference {index + 1} of {count}"


class First:
    """The model whose valid score came first."""

    __slots__ = ("_failed", "_outcomes")

    def __init__(self, of: Sequence[str]) -> None:
        self._outcomes = {model: Outcome(Picked(model), (model,), f"{model} was the first to answer") for model in of}
        self._failed = Failed(f"no valid score of {', '.join(of)}")

    def judge(self, case: Case, closed: bool) -> Outcome | Failed | None:
        """See `Rule.judge`."""
        outcomes = self._outcomes
        failures = 0
        for model, arrival in case.arrivals.items():
            outcome = outcomes.get(model)
            if outcome is not None:
                if arrival.score.error is None:
                    return outcome
                failures += 1
        return self._failed if closed or failures == len(outcomes) else None


class Split:
    """The model that the request's key draws by the shares: the same key, the same model.

    The draw is blake2b of endpoint and key, as a number in [0, 1), looked up in the cumulated shares. It does
    not depend on the step's place or on the shares, so moving the boundary between two neighbours in `shares`
    moves only the keys between the old boundary and the new one.
    """

    __slots__ = ("_bounds", "_by", "_endpoint", "_last", "_outcomes")

    def __init__(self, endpoint: str, shares: Mapping[str, float], by: str | None) -> None:
        self._endpoint = endpoint
        self._by = by
        self._bounds: list[tuple[float, str]] = []
        bound = 0.0
        for model, share in shares.items():
            bound += share
            if share > 0:
                self._bounds.append((bound, model))
        # Shares that sum to a little less than 1 leave a gap at the end; it belongs to the last model.
        self._last = self._bounds[-1][1]
        key = f"context key {by!r}" if by else "the request id"
        self._outcomes = {model: Outcome(Picked(model), (model,), f"{model} was drawn by {key}") for model in shares}

    def draw(self, context: Mapping[str, str], request_id: str) -> str:
        """The model of a request; without the context key, the request id is the key."""
        key = context.get(self._by) if self._by is not None else None
        point = draw_point(self._endpoint, request_id if key is None else key)
        for bound, model in self._bounds:
            if point < bound:
                return model
        return self._last

    def judge(self, case: Case, closed: bool) -> Outcome | Failed | None:
        """See `Rule.judge`."""
        model = self.draw(case.context, case.request_id)
        arrival = case.arrivals.get(model)
        if arrival is None:
            return Failed(f"{model} was drawn and had not answered") if closed else None
        return self._outcomes[model] if arrival.score.error is None else Failed(f"{model} was drawn and failed")


def draw_point(endpoint: str, key: str) -> float:
    """A number in [0, 1), evenly spread over keys, the same on every machine for ever."""
    # Endpoint names hold no NUL, so no two (endpoint, key) pairs join to the same text.
    digest = blake2b(f"{endpoint}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # 53 bits fit a float exactly, so the result never rounds up to 1.
    return (int.from_bytes(digest, "big") >> 11) / 9007199254740992.0
