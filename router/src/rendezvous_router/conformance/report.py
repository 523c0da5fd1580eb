"""The report for people and for machines."""

from pathlib import Path

from junitparser import Failure, JUnitXml, Property, Skipped, TestCase, TestSuite
from rich.markup import escape
from rich.table import Table

from rendezvous_router.conformance.result import BAD, Report, Result, Status

__all__ = ["result_table", "summary", "write_junit"]

_COLOURS = {
    Status.PASSED: "green",
    Status.FAILED: "bold red",
    Status.KNOWN_FAILURE: "yellow",
    Status.NOT_APPLICABLE: "dim",
    Status.NOW_PASSES: "bold red",
}


def result_table(report: Report) -> Table:
    """Returns all results, the groups apart; what is not applicable for one reason in one row."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("case", "what must hold", "rules", "result", "time", "detail"):
        table.add_column(name, overflow="fold", justify="right" if name == "time" else "left")
    for group in dict.fromkeys(result.group for result in report.results):
        table.add_row(f"[bold]{escape(group)}[/]")
        results = [result for result in report.results if result.group == group]
        left_out: dict[str, list[str]] = {}
        for result in results:
            if result.status is Status.NOT_APPLICABLE:
                left_out.setdefault(result.detail, []).append(result.id)
            else:
                table.add_row(*_cells(result))
        for reason, ids in left_out.items():
            colour = _COLOURS[Status.NOT_APPLICABLE]
            shown = (f"{len(ids)} cases" if len(ids) > 1 else ids[0], ", ".join(ids) if len(ids) > 1 else "")
            table.add_row(*shown, "", f"[{colour}]{Status.NOT_APPLICABLE}[/]", "", escape(reason), style=colour)
    return table


def _cells(result: Result) -> tuple[str, ...]:
    colour = _COLOURS[result.status]
    return (
        result.id,
        escape(result.title),
        " ".join(result.rules),
        f"[{colour}]{result.status}[/]",
        f"{result.seconds:.2f} s" if result.seconds >= 0.005 else "",
        escape(result.detail),
    )


def summary(report: Report) -> str:
    """Returns one line."""
    counts = ", ".join(f"{count} {status}" for status in Status if (count := report.count(status)))
    seconds = sum(result.seconds for result in report.results)
    return f"{report.target}: {counts} in {seconds:.1f} s"


def write_junit(report: Report, path: Path, *, kind: str = "conformance") -> None:
    """Writes JUnit XML: one suite for each group; what is not applicable and what is known to fail is skipped.

    Args:
        report: what came of a run.
        path: the file.
        kind: what was run.

    Raises:
        OSError: the file cannot be written.
    """
    document = JUnitXml(f"{kind} of {report.target}")
    for group in dict.fromkeys(result.group for result in report.results):
        suite = TestSuite(group)
        for key, value in report.model.items():
            suite.add_property(key, value)
        suite.add_testcases([_test_case(result, kind) for result in report.results if result.group == group])
        document.add_testsuite(suite)
    document.write(str(path), pretty=True)


def _test_case(result: Result, kind: str) -> TestCase:
    case = TestCase(result.id, classname=f"{kind}.{result.id.partition('.')[0]}", time=round(result.seconds, 3))
    case.append(Property("title", result.title))  # type: ignore[no-untyped-call] # the library lacks annotations
    if result.status in BAD:
        case.result = [Failure(f"{result.title}: {result.detail}", str(result.status))]
    elif result.status in (Status.KNOWN_FAILURE, Status.NOT_APPLICABLE):
        case.result = [Skipped(f"{result.status}: {result.detail}")]
    return case
