"""The checks of a file of cases, each a coroutine that returns a word or raises `Failed`."""

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rendezvous_router.conformance.case import Failed
from rendezvous_router.model_test.candidate import Candidate, Scored
from rendezvous_router.model_test.cases import Cases, Golden, HardValues, Invariances, Monotonic
from rendezvous_router.model_test.comparing import expect_same, is_near, shown
from rendezvous_router.model_test.hard_values import extremes_of
from rendezvous_router.model_test.load import check_latency, check_memory
from rendezvous_router.model_test.rows import Row

__all__ = ["ModelCheck", "checks_of"]

_STEPS = 10
_SHOWN = 3
_SEED = 7
_FLOATS = ("FP16", "FP32", "FP64")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCheck:
    """One check."""

    id: str
    """Group and name: `monotonic.credit_amount`."""
    group: str
    """Heading."""
    title: str
    """What must hold."""
    run: Callable[[Candidate], Awaitable[str]]
    """Checks it; returns a word about what was seen."""
    limit_s: float
    """Seconds after which it has failed."""


def checks_of(cases: Cases, columns: Mapping[str, str]) -> Iterator[ModelCheck]:
    """Yields all checks that a file asks for.

    Args:
        cases: the file.
        columns: types of the inputs, by column.
    """
    call_s = cases.call_limit_s
    for number, golden in enumerate(cases.golden):
        what = "is refused" if golden.refused else "gives what is expected"
        yield _check("golden", golden.name or str(number), f"the golden case {what}", partial(_golden, golden), call_s)
    if cases.invariances is not None:
        yield from _invariances(cases.invariances, call_s)
    for name, each in cases.monotonic.items():
        wanted = each if isinstance(each, Monotonic) else Monotonic(direction=each)
        title = f"{wanted.output or 'the score'} is {wanted.direction} in {name}"
        yield _check("monotonic", name, title, partial(_monotonic, name, wanted), 20 * call_s)
    for group, hard in (("missing", cases.missing), ("extremes", cases.extremes)):
        if hard is not None:
            yield from _hard(group, hard, columns, call_s)
    if cases.latency is not None:
        title = f"{cases.latency.rate} are answered within {cases.latency.p99}, 99 of 100"
        run = partial(check_latency, cases.latency)
        yield ModelCheck(
            id="latency", group="latency", title=title, run=run, limit_s=cases.latency.seconds + 3 * call_s
        )
    if cases.memory is not None:
        title = f"{cases.memory.requests} requests cost at most {cases.memory.grows_at_most} for good"
        run = partial(check_memory, cases.memory)
        yield ModelCheck(id="memory", group="memory", title=title, run=run, limit_s=600 + call_s)


def _check(group: str, name: str, title: str, run: Callable[[Candidate], Awaitable[str]], limit_s: float) -> ModelCheck:
    return ModelCheck(id=f"{group}.{name}", group=group, title=title, run=run, limit_s=limit_s + 5)


async def _golden(golden: Golden, candidate: Candidate) -> str:
    rows = golden.inputs if isinstance(golden.inputs, list) else [golden.inputs]
    answered = await candidate.try_rows(rows)
    if golden.refused:
        if isinstance(answered, str) and answered.startswith(f"{golden.refused}:"):
            return answered
        found = answered if isinstance(answered, str) else "an answer"
        raise Failed(f"expected to be refused with {golden.refused}, found {found}")
    if isinstance(answered, str):
        raise Failed(f"it refused: {answered}")
    expected = golden.outputs if isinstance(golden.outputs, list) else [golden.outputs or {}]
    for number, row in enumerate(expected):
        for name, value in row.items():
            if name not in answered:
                raise Failed(f"no output {name!r}, only {', '.join(answered)}")
            if not is_near(answered[name][number], value, golden.tolerance):
                raise Failed(
                    f"row {number}: {name} is {shown(answered[name][number])}; expected {shown(value)}"
                    f"{f' within {golden.tolerance:g}' if isinstance(value, float) else ''}"
                )
    return ""


def _invariances(wanted: Invariances, call_s: float) -> Iterator[ModelCheck]:
    named = {
        "neighbours": ("a row's score does not change with the rows beside it", _neighbours, wanted.neighbours),
        "order": ("a row's score does not change with the order of rows", _order, wanted.order),
        "repeats": ("the same rows get the same scores again", _repeats, wanted.repeats),
    }
    for name, (title, run, is_wanted) in named.items():
        if is_wanted:
            yield _check("invariance", name, title, partial(run, wanted), (wanted.rows + 5) * call_s)


async def _alone(wanted: Invariances, candidate: Candidate) -> tuple[tuple[Row, ...], Scored]:
    rows = candidate.rows.rows[: wanted.rows]
    each = [await candidate.score([row]) for row in rows]
    return rows, {name: [scored[name][0] for scored in each] for name in each[0]}


async def _neighbours(wanted: Invariances, candidate: Candidate) -> str:
    rows, alone = await _alone(wanted, candidate)
    numbers = range(len(rows))
    together = await candidate.score(rows)
    expect_same(together, numbers, alone, wanted.tolerance, f"among {len(rows)} rows")
    # Twice the same row, and another beside it: what is summed up over a table shows here.
    for number in numbers[:_STEPS]:
        chosen = [number, number, (number + 1) % len(rows)]
        expect_same(
            await candidate.score([rows[each] for each in chosen]), chosen, alone, wanted.tolerance, "beside itself"
        )
    return f"{len(rows)} rows"


async def _order(wanted: Invariances, candidate: Candidate) -> str:
    rows = candidate.rows.rows[: wanted.rows]
    reference = await candidate.score(rows)
    backwards = list(range(len(rows)))[::-1]
    shuffled = random.Random(_SEED).sample(backwards, len(backwards))  # noqa: S311 - an order, the same each time
    for order, what in ((backwards, "in reverse order"), (shuffled, "in another order")):
        scored = await candidate.score([rows[number] for number in order])
        expect_same(scored, order, reference, wanted.tolerance, what)
    return f"{len(rows)} rows"


async def _repeats(wanted: Invariances, candidate: Candidate) -> str:
    rows = candidate.rows.rows[: wanted.rows]
    reference = await candidate.score(rows)
    for _ in range(3):
        again = await candidate.score(rows)
        expect_same(again, range(len(rows)), reference, wanted.tolerance, "asked again")
    return f"{len(rows)} rows"


async def _monotonic(name: str, wanted: Monotonic, candidate: Candidate) -> str:
    rows = [row for row in candidate.rows.rows if isinstance(row.get(name), int | float)][: wanted.rows]
    if not rows:
        raise Failed(f"no row has a number in {name!r}")
    steps = _steps(name, wanted, candidate)
    output = wanted.output or _first_number(await candidate.score(rows[:1]))
    sign = 1 if wanted.direction == "increasing" else -1
    for number, row in enumerate(rows):
        scored = await candidate.score([row | {name: step} for step in steps])
        if output not in scored:
            raise Failed(f"no output {output!r}, only {', '.join(scored)}")
        _expect_direction(name, output, steps, scored[output], sign * 1.0, wanted.tolerance, number)
    return f"{len(rows)} rows of {len(steps)} steps"


def _expect_direction(
    name: str, output: str, steps: Sequence[Any], values: Sequence[Any], sign: float, tolerance: float, number: int
) -> None:
    for place in range(1, len(steps)):
        before, after = values[place - 1], values[place]
        if before is None or after is None or not (after - before) * sign >= -tolerance:
            raise Failed(
                f"row {number}: as {name} goes from {steps[place - 1]} to {steps[place]}, {output} goes from "
                f"{shown(before)} to {shown(after)}"
            )


def _steps(name: str, wanted: Monotonic, candidate: Candidate) -> list[Any]:
    is_floating = candidate.rows.types.get(name) in _FLOATS
    if wanted.steps:
        return list(wanted.steps) if is_floating else [int(step) for step in wanted.steps]
    values = sorted({row[name] for row in candidate.rows.rows if isinstance(row.get(name), int | float)})
    if len(values) < 2:
        raise Failed(f"all rows have the same {name}: give its steps")
    places = [round(place * (len(values) - 1) / (_STEPS - 1)) for place in range(_STEPS)]
    return [values[place] for place in dict.fromkeys(places)]


def _first_number(scored: Scored) -> str:
    for name, values in scored.items():
        if isinstance(values[0], float):
            return name
    raise Failed(f"no output is a floating-point number, only {', '.join(scored)}: name one")


def _hard(group: str, hard: HardValues, columns: Mapping[str, str], call_s: float) -> Iterator[ModelCheck]:
    title = "a missing value in {} is {}" if group == "missing" else "extreme values in {} are {}"
    for name, kind in columns.items():
        if hard.only and name not in hard.only:
            continue
        expect = hard.columns.get(name, hard.expect)
        values = [("missing", None)] if group == "missing" else list(extremes_of(kind))
        said = {"answer": "answered", "refuse": "refused", "either": "answered, or refused with a clear error"}[expect]
        run = partial(_try_values, name, values, expect)
        yield _check(group, name, title.format(name, said), run, (len(values) + 1) * call_s)


async def _try_values(name: str, values: Sequence[tuple[str, Any]], expect: str, candidate: Candidate) -> str:
    row = candidate.rows.rows[0]
    answers, refusals = [], []
    for what, value in values:
        try:
            answered = await candidate.try_rows([row | {name: value}])
        except Failed as error:
            raise type(error)(f"{what}: {error}") from error
        if isinstance(answered, str):
            refusals.append(f"{what} ({answered})")
        else:
            answers.append(what)
    await candidate.still_answers(f"extreme values in {name}" if len(values) > 1 else f"a missing value in {name}")
    if expect == "answer" and refusals:
        raise Failed(f"refused: {'; '.join(refusals[:_SHOWN])}")
    if expect == "refuse" and answers:
        raise Failed(f"answered: {', '.join(answers)}")
    said = [f"answered: {', '.join(answers)}"] if answers else []
    return "; ".join(said + ([f"refused: {'; '.join(refusals[:_SHOWN])}"] if refusals else []))
