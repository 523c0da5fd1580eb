"""A comparison on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rendezvous_router.compare import words
from rendezvous_router.compare.results import Comparison, Difference, ModelReport

__all__ = ["show"]


def show(comparison: Comparison, console: Console) -> None:
    """Prints a comparison."""
    first, second, pairing = comparison.first, comparison.second, comparison.pairing
    console.print(f"[bold]{escape(words.called(first))}[/] and [bold]{escape(words.called(second))}[/], same requests")
    console.print(
        f"{escape(comparison.endpoint)}: {pairing.requests:,} requests, {pairing.rows:,} rows, "
        f"{words.moment(pairing.since_unix_us)} to {words.moment(pairing.until_unix_us)} UTC; "
        f"only {escape(first.name)}: {pairing.only_first:,} rows, only {escape(second.name)}: {pairing.only_second:,}",
        highlight=False,
    )
    for line in words.found(comparison):
        console.print(f"  {escape(line)}", highlight=False)
    console.print(_differences(comparison.differences, comparison))
    _show_agreement(comparison, console)
    console.print(_quantiles(first, second))
    _show_groups(comparison, console)
    _show_worst(comparison, console)
    _show_notes(comparison, console)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        is_text = number == 0 or column in {"inputs", "says"}
        table.add_column(escape(column), justify="left" if is_text else "right", overflow="fold")
    return table


def _differences(differences: list[Difference], comparison: Comparison, title: str = "\nDifferences") -> Table:
    level = f"{1 - comparison.alpha:.3g}" if comparison.groups is None else "interval"
    table = _table(
        title, "measure", comparison.first.name, comparison.second.name, "difference", f"{level} at all looks", "says"
    )
    for each in differences:
        table.add_row(
            each.title,
            words.number(each.first),
            words.number(each.second),
            "-" if each.difference is None else f"{each.difference:+.3g}",
            words.interval(each),
            escape(words.verdict(each, comparison)),
        )
    return table


def _show_agreement(comparison: Comparison, console: Console) -> None:
    agreement = comparison.agreement
    told = []
    if agreement.labels is not None:
        told.append(
            f"labels {words.percent(agreement.labels)} ({words.percent(agreement.labels_low)} to "
            f"{words.percent(agreement.labels_high)} of a request's rows), kappa {words.number(agreement.kappa)}"
        )
    if agreement.numbers is not None:
        told.append(
            f"scores within {agreement.tolerance:g}: {words.percent(agreement.numbers)}, farthest "
            f"{words.number(agreement.greatest)}; Pearson {words.number(agreement.pearson)}, Spearman "
            f"{words.number(agreement.spearman)} (sample of {agreement.spearman_rows:,} rows)"
        )
    console.print("\n[bold]Agreement[/]")
    for line in told or ["there is nothing that both told"]:
        console.print(f"  {escape(line)}", highlight=False)


def _quantiles(first: ModelReport, second: ModelReport) -> Table:
    table = _table("\nSide by side", "", first.name, second.name)
    for name in first.score or {}:
        table.add_row(
            f"score {name}", words.number((first.score or {})[name]), words.number((second.score or {}).get(name))
        )
    for name in first.latency_ms or second.latency_ms or {}:
        sides = [words.number((each.latency_ms or {}).get(name)) for each in (first, second)]
        table.add_row(f"latency {name}, ms", *sides)
    table.add_row("failed rows", words.number(first.failed), words.number(second.failed))
    table.add_row("late rows", words.number(first.late), words.number(second.late))
    return table


def _show_groups(comparison: Comparison, console: Console) -> None:
    groups = comparison.groups
    if groups is None:
        return
    for name, rows in groups.rows.items():
        shown = [each for each in rows if each.key in ("failed", "score", "accuracy", "brier", "mae")]
        console.print(_differences(shown, comparison, f"\n{escape(groups.column)} = {escape(name)}"))
    console.print(f"  {escape(groups.note)}", highlight=False)


def _show_worst(comparison: Comparison, console: Console) -> None:
    if not comparison.worst:
        return
    table = _table(
        "\nMost disagreement: worth labelling where the truth is unknown",
        "request", "row", comparison.first.name, comparison.second.name, "truth", "inputs",
    )  # fmt: skip
    for each in comparison.worst:
        sides = [" ".join(words.number(value) for value in side.values()) for side in (each.first, each.second)]
        inputs = ", ".join(f"{key}={words.number(value)}" for key, value in list(each.inputs.items())[:6])
        table.add_row(
            escape(each.request_id),
            str(each.row),
            *map(escape, sides),
            escape(words.number(each.truth)),
            escape(inputs),
        )
    console.print(table)


def _show_notes(comparison: Comparison, console: Console) -> None:
    console.print("\n[bold]Notes[/]")
    truth = comparison.truth
    notes = [*truth.notes]
    if truth.task is not None:
        told = f", positive class {truth.positive}" if truth.positive is not None else ""
        notes.insert(0, f"truth known of {truth.rows:,} rows that both scored{told}")
    used = [f"{name}: {where}" for name, where in comparison.methods.items() if name in _methods(comparison)]
    share = f"{1 - comparison.alpha:.3g}"
    notes.append(
        f"each interval holds with probability {share} at all looks together, one measure at a time; rows of one "
        "request count as one"
    )
    notes += used
    if comparison.rank_error:
        notes.append(f"quantiles by a sketch: shares are right within {comparison.rank_error:.2%}")
    for line in notes:
        console.print(f"  {escape(line)}", highlight=False)


def _methods(comparison: Comparison) -> set[str]:
    return {each.method for each in comparison.differences}
