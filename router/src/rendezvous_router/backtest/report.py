"""A backtest's result for machines and for people."""

from collections.abc import Mapping
from typing import Any

from rendezvous.answers import Columns
from rendezvous.backtest import OUTSIDE, AnswerTally, RecordedRequest, Verdict
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from rendezvous_router.backtest.run import BacktestResult

__all__ = ["notes", "result_tables", "to_document"]

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
_SHOWN_CHANGES = 10
_SHOWN_ROWS = 3
_LEFT_OUT = {
    "repeats": "their requests had been decided before",
    "without_scores": "a score that had arrived is not in the record (yet)",
    "misfits": "the policy does not fit the revision of the specification that was in force",
}


def to_document(result: BacktestResult) -> dict[str, Any]:
    """Returns the result as JSON shows it."""
    summary = result.summary
    return {
        "endpoint": result.asked.endpoint,
        "since": result.asked.since,
        "until": result.asked.until,
        "requests": summary.recorded.requests,
        "recorded": _side(summary.recorded, result.quality.get("recorded", {})),
        "tried": _side(summary.tried, result.quality.get("tried", {})),
        "changed_answers": summary.changed,
        "changed_decisions": summary.moved,
        "changes": [{"from": then, "to": now, "requests": n} for (then, now), n in summary.changes.most_common()],
        "samples": [_sample(request, verdict) for request, verdict in summary.samples],
        "derived_times": summary.derived,
        "rounded_times": result.rounded,
        "revisions": {str(revision): count for revision, count in result.revisions.items()},
        "misfits": {str(revision): why for revision, why in result.misfits.items()},
        "left_out": result.left_out,
        "never_scored": result.never_scored,
        "ended_by_enrichers": _ended_by_enrichers(result),
    }


def _ended_by_enrichers(result: BacktestResult) -> int:
    """Returns how many requests never came to the models, so that no policy can decide them otherwise."""
    return sum(count for rule, count in result.summary.recorded.rules.items() if rule.startswith(OUTSIDE))


def _side(tally: AnswerTally, quality: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "models": dict(tally.models.most_common()),
        "rules": dict(tally.rules.most_common()),
        "fallbacks": tally.fallbacks,
        "decided_after_us": {_quantile_name(share): tally.quantile_us(share) for share in QUANTILES},
        "quality": quality,
    }


def _quantile_name(share: float) -> str:
    return "max" if share == 1.0 else f"p{share * 100:g}"


def _sample(request: RecordedRequest, verdict: Verdict) -> dict[str, Any]:
    was = request.decided
    return {
        "request_id": request.request_id,
        "from": _answer(was.rule, was.models, was.decided_after_ns, was.columns, verdict),
        "to": _answer(verdict.rule, verdict.models, verdict.decided_after_ns, verdict.columns, verdict),
    }


def _answer(
    rule: str, models: tuple[str, ...], after_ns: int, columns: Columns | None, verdict: Verdict
) -> dict[str, Any]:
    outputs = None
    if columns is not None:
        outputs = {name: list(columns.column(name)[:_SHOWN_ROWS]) for name in verdict.outputs}
    return {"rule": rule, "models": list(models), "decided_after_us": round(after_ns / 1000), "outputs": outputs}


def result_tables(result: BacktestResult) -> RenderableType:
    """Returns the result for people: what happened beside what would have."""
    summary = result.summary
    table = _table("", "recorded", "tried")
    for tell in (_models, _rules, _times, _fallbacks):
        tell(table, summary.recorded, summary.tried)
    _quality(table, result)
    samples: list[RenderableType] = ["", _samples(result)] if summary.samples else []
    return Group(table, "", _changes(result), *samples)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="left" if number == 0 else "right")
    return table


def _models(table: Table, before: AnswerTally, after: AnswerTally) -> None:
    table.add_row("[bold]answered by[/]")
    for model, _ in (before.models + after.models).most_common():
        table.add_row(
            f"  {escape(model) or '(no model)'}", *(_share(each.models[model], each) for each in (before, after))
        )


def _rules(table: Table, before: AnswerTally, after: AnswerTally) -> None:
    table.add_row("[bold]decided by[/]")
    for rule in sorted({*before.rules, *after.rules}):
        table.add_row(f"  {escape(rule)}", *(_share(each.rules[rule], each) for each in (before, after)))


def _times(table: Table, before: AnswerTally, after: AnswerTally) -> None:
    table.add_row("[bold]decided after[/]")
    for share in QUANTILES:
        cells = (f"{each.quantile_us(share) / 1000:.3g} ms" for each in (before, after))
        table.add_row(f"  {_quantile_name(share)}", *cells)


def _fallbacks(table: Table, before: AnswerTally, after: AnswerTally) -> None:
    table.add_row("[bold]fallbacks[/]")
    for name in before.fallbacks:
        table.add_row(f"  {name}", *(_share(each.fallbacks[name], each) for each in (before, after)))


def _quality(table: Table, result: BacktestResult) -> None:
    sides = [result.quality.get(side, {}) for side in ("recorded", "tried")]
    for output in dict.fromkeys(name for side in sides for name in side):
        table.add_row(f"[bold]where the truth about {escape(output)} is known[/]")
        for measure in dict.fromkeys(name for side in sides for name in side.get(output, {})):
            table.add_row(f"  {measure}", *(_number(side.get(output, {}).get(measure)) for side in sides))


def _changes(result: BacktestResult) -> RenderableType:
    summary = result.summary
    count = summary.recorded.requests
    line = f"{summary.changed} of {count} answers change ({summary.changed / max(1, count):.2%})"
    if not summary.changes:
        return line
    table = _table("from", "to", "answers")
    for (then, now), times in summary.changes.most_common(_SHOWN_CHANGES):
        table.add_row(escape(then), escape(now), str(times))
    return Group(line, table)


def _samples(result: BacktestResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title="some of them", title_justify="left")
    for column in ("request", "recorded", "tried"):
        table.add_column(column, overflow="fold")
    for request, verdict in result.summary.samples:
        told = _sample(request, verdict)
        table.add_row(told["request_id"], *(escape(_line(told[side])) for side in ("from", "to")))
    return table


def _line(answer: Mapping[str, Any]) -> str:
    outputs = answer["outputs"]
    said = "an error" if outputs is None else ", ".join(f"{name} {_cell(values)}" for name, values in outputs.items())
    return f"{', '.join(answer['models']) or answer['rule']} after {answer['decided_after_us'] / 1000:.1f} ms: {said}"


def _cell(values: list[Any]) -> str:
    return ", ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)


def _share(count: int, tally: AnswerTally) -> str:
    return f"{count} ({count / max(1, tally.requests):.1%})" if count else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:d}" if isinstance(value, int) else f"{value:.4g}"


def notes(result: BacktestResult) -> list[str]:
    """Returns what a reader must know beside the figures."""
    summary, left_out = result.summary, result.left_out
    silent = ", ".join(result.never_scored)
    ended = _ended_by_enrichers(result)
    told = [
        (ended, f"{ended} requests were ended by an enricher, before any model saw them: taken as they were"),
        (len(result.never_scored), f"never scored these requests, so a policy waits for them in vain: {silent}"),
        (summary.derived, f"{summary.derived} answers hold a score that came after the decision; when, is derived"),
        (result.rounded, f"{result.rounded} requests have their times in microseconds only"),
    ]
    told += [(count, f"{count} decisions left out: {_LEFT_OUT[reason]}") for reason, count in left_out.items()]
    told += [(1, f"revision {revision}: {why}") for revision, why in result.misfits.items()]
    return [line for count, line in told if count]
