"""Rules that vote on one column: majority, and weighted over a column that is not numeric."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rendezvous.answers import Answer, Picked, PickedRows
from rendezvous.rule import Case, Failed, Outcome


def is_vote(value: object) -> bool:
    """Whether a value takes part; missing and NaN abstain."""
    return value is not None and value == value  # noqa: PLR0124 # only NaN differs from itself


class Vote:
    """Each row's winner is the label with most weight; ties go to the choice of the earliest model in `of`.

    Succeeds with `quorum` valid answers. Resolves before the step's end once, in every row, no assignment of
    the outstanding votes could change the winner.
    """

    __slots__ = ("_of", "_on", "_quorum", "_weights")

    def __init__(self, of: Sequence[str], *, on: str, quorum: int, weights: Sequence[int]) -> None:
        self._of = tuple(of)
        self._on = on
        self._quorum = quorum
        self._weights = tuple(weights)

    def judge(self, case: Case, closed: bool) -> Outcome | Failed | None:
        """See `Rule.judge`."""
        answered, outstanding = poll(case, self._of, closed)
        if len(answered) + len(outstanding) < self._quorum:
            return quorum_failed(self._quorum, len(answered), len(self._of))
        if len(answered) < self._quorum:
            return None
        chosen = self._choose(case, answered, outstanding)
        if chosen is None:
            return None
        answer, models = chosen
        reason = f"{len(answered)} of {len(self._of)} had voted on {self._on!r}"
        return Outcome(answer, models, f"{reason}; no outstanding vote could matter" if outstanding else reason)

    def _choose(self, case: Case, answered: list[int], outstanding: list[int]) -> tuple[Answer, tuple[str, ...]] | None:
        """Model of each row; None while an outstanding vote could still change a row's winner."""
        columns = [case.column(self._of[i], self._on) for i in answered]
        rival = sum(self._weights[i] for i in outstanding)
        rival_place = outstanding[0] if outstanding else len(self._of)
        places: list[int] = []
        # Labels are few, so rows repeat; each combination is judged once.
        known: dict[tuple[Any, ...], int | None] = {}
        for row in zip(*columns, strict=True):
            if row not in known:
                known[row] = self._choose_row(row, answered, rival, rival_place)
            place = known[row]
            if place is None:
                return None
            places.append(place)
        return self._answer(places)

    def _choose_row(self, row: Sequence[Any], answered: list[int], rival: int, rival_place: int) -> int | None:
        """Place in `of` of the first model that voted for the winner; None: the winner may change."""
        weights: dict[Any, int] = {}
        places: dict[Any, int] = {}
        for place, label in zip(answered, row, strict=True):
            if is_vote(label):
                weights[label] = weights.get(label, 0) + self._weights[place]
                places.setdefault(label, place)
        if not weights:
            return None if rival else answered[0]
        # Labels are in the order of their first voter and max keeps the first of equals: the tie rule.
        winner = max(weights, key=weights.__getitem__)
        if rival and any(
            (weight + rival, -min(places.get(label, rival_place), rival_place)) > (weights[winner], -places[winner])
            for label, weight in (*weights.items(), (_NEW_LABEL, 0))
            if label != winner
        ):
            return None
        return places[winner]

    def _answer(self, places: list[int]) -> tuple[Answer, tuple[str, ...]]:
        shares = Counter(places)
        if len(shares) == 1:
            model = self._of[places[0]]
            return Picked(model), (model,)
        most_first = sorted(shares, key=lambda place: (-shares[place], place))
        return PickedRows(tuple(self._of[i] for i in places)), tuple(self._of[i] for i in most_first)


# Stands for a label that nobody has voted for yet.
_NEW_LABEL = object()


def poll(case: Case, of: Sequence[str], closed: bool) -> tuple[list[int], list[int]]:
    """Places in `of` of the models that answered validly, and of those that still may (once closed: none)."""
    answered, outstanding = [], []
    for place, model in enumerate(of):
        arrival = case.arrivals.get(model)
        if arrival is None:
            outstanding.append(place)
        elif arrival.score.error is None:
            answered.append(place)
    return answered, [] if closed else outstanding


def quorum_failed(quorum: int, answered: int, asked: int) -> Failed:
    """The failure of a step whose quorum is out of reach."""
    return Failed(f"quorum of {quorum} not reached, {answered} of {asked} answered validly")
