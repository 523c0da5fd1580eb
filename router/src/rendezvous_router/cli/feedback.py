"""`rendezvous feedback`: what turned out to be true, from files and one by one."""

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk import AsyncClient, Outcome
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from rendezvous_router.cli._shared import (
    AddressOption,
    JsonOption,
    authority,
    fail,
    grpc_address,
    note,
    print_json,
    progress_bar,
    run,
)
from rendezvous_router.feedback.checking import MOST_OUTCOMES
from rendezvous_router.feedback.files import FileColumns, outcome_value, read_lines, read_outcome_table
from rendezvous_router.feedback.loading import LoadReport, load_lines
from rendezvous_router.tables import TableError

__all__ = ["app"]

_SHOWN = 20


class Kind(StrEnum):
    """Kind of an outcome."""

    TRUTH = "truth"
    REWARD = "reward"
    VERDICT = "verdict"


class Format(StrEnum):
    """Format of a file."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


app = typer.Typer(name="feedback", help="Report what turned out to be true.", no_args_is_help=True)

EndpointOption = Annotated[
    str, typer.Option("--endpoint", help="Name of the endpoint; may be left out where there is only one.")
]
SourceOption = Annotated[str, typer.Option("--source", help="Who says so.")]
OutputOption = Annotated[
    str, typer.Option("--output", help="Output column; default: the first that such a value fits.")
]


@app.command("load")
def load(
    file: Annotated[Path, typer.Argument(help="CSV, JSON, JSON lines or Parquet.", metavar="FILE")],
    endpoint: EndpointOption = "",
    address: AddressOption = None,
    kind: Annotated[Kind, typer.Option(help="Kind of all outcomes; a column `kind` goes before.")] = Kind.TRUTH,
    output: OutputOption = "",
    value_column: Annotated[str, typer.Option(help="Column of the values; a line without one is left out.")] = "value",
    request_id_column: Annotated[str, typer.Option(help="Column of the requests' ids.")] = "request_id",
    key: Annotated[
        str | None, typer.Option(metavar="NAME=COLUMN", help="In place of ids: entry of the requests' context.")
    ] = None,
    row_column: Annotated[str | None, typer.Option(help="Column of the rows; default: `row`, if there is one.")] = None,
    observed_at_column: Annotated[
        str | None,
        typer.Option(help="Column of the times at which it became known; default: `observed_at`, if there is one."),
    ] = None,
    source: SourceOption = "",
    batch: Annotated[int, typer.Option(min=1, max=MOST_OUTCOMES, help="Outcomes of one call.")] = 1000,
    form: Annotated[Format | None, typer.Option("--format", help="Default: by the suffix.")] = None,
    most_refused: Annotated[int, typer.Option(min=0, help="End after so many wrong lines.")] = 100,
    json: JsonOption = False,
) -> None:
    """Loads the outcomes of a file. Run it again after an interruption: what is kept already counts once."""
    named = {"row": row_column, "observed_at": observed_at_column}
    said = {name: column for name, column in named.items() if column is not None}
    columns = FileColumns(
        value=value_column,
        request_id=request_id_column,
        key=None if key is None else _pair(key, "--key", "NAME=COLUMN"),
        kind=kind.value,
        output=output,
        source=source,
        **said,
    )
    run(
        _load(
            file,
            columns,
            frozenset(said),
            address=address,
            endpoint=endpoint,
            batch=batch,
            form=form,
            most_refused=most_refused,
            as_json=json,
        )
    )


@app.command("record")
def record(
    request_id: Annotated[str | None, typer.Argument(help="The request's id.", metavar="[REQUEST_ID]")] = None,
    endpoint: EndpointOption = "",
    address: AddressOption = None,
    truth: Annotated[str | None, typer.Option(help="What a model had to predict.")] = None,
    reward: Annotated[float | None, typer.Option(help="How good the answer was; more is better.")] = None,
    verdict: Annotated[str | None, typer.Option(help="What a person says of the answer.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAME=VALUE", help="In place of an id: entry of the requests' context.")
    ] = None,
    row: Annotated[int | None, typer.Option(min=0, help="Row of the request; default: all.")] = None,
    output: OutputOption = "",
    observed_at: Annotated[str | None, typer.Option(help="When it became known, ISO 8601; default: now.")] = None,
    source: SourceOption = "",
    feedback_id: Annotated[str | None, typer.Option(help="Id of this report; default: a new one.")] = None,
    json: JsonOption = False,
) -> None:
    """Reports one outcome."""
    given = {"truth": truth, "reward": reward, "verdict": verdict}
    values = [(kind, value) for kind, value in given.items() if value is not None]
    if len(values) != 1:
        raise typer.BadParameter("give one of --truth, --reward and --verdict")
    if (request_id is None) == (key is None):
        raise typer.BadParameter("give the request's id, or --key NAME=VALUE")
    kind, value = values[0]
    about: dict[str, Any] = {
        "kind": kind,
        "value": outcome_value(kind, value),
        "request_id": request_id,
        "key": None if key is None else _pair(key, "--key", "NAME=VALUE"),
        "row": row,
        "output": output,
        "observed_at": None if observed_at is None else _moment(observed_at),
        "source": source,
    }
    if feedback_id is not None:
        about["feedback_id"] = feedback_id
    run(_record(about, address, endpoint, as_json=json))


async def _record(about: dict[str, Any], address: str | None, endpoint: str, *, as_json: bool) -> None:
    async with AsyncClient(grpc_address(address), endpoint or None, ca=authority(address)) as client:
        ids = await client.record(Outcome(**about))
    if as_json:
        print_json({"feedback_ids": ids})
    else:
        typer.echo(ids[0])


async def _load(
    file: Path,
    columns: FileColumns,
    said: frozenset[str],
    *,
    address: str | None,
    endpoint: str,
    batch: int,
    form: Format | None,
    most_refused: int,
    as_json: bool,
) -> None:
    table = read_outcome_table(file, form.value if form else None)
    try:
        columns.check(list(table.columns), said=said)
    except TableError as error:
        raise TableError(f"{file}: {error}") from error
    is_csv = (form or file.suffix.lstrip(".").lower()) == "csv"
    report = LoadReport()
    try:
        async with AsyncClient(grpc_address(address), endpoint or None, ca=authority(address)) as client:
            with progress_bar(TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
                task = bar.add_task("loading", total=table.rows)
                await load_lines(
                    client,
                    read_lines(table, columns, endpoint=endpoint, first_number=2 if is_csv else 1),
                    report,
                    batch=batch,
                    most_refused=most_refused,
                    on_progress=lambda lines: bar.advance(task, lines),
                )
    except RendezvousError as error:
        _show(report, as_json=as_json)
        fail(f"{error}; run the same command again: what is kept already counts once")
    _show(report, as_json=as_json)
    if report.refused:
        end = "" if report.is_complete else f"; ended after more than {most_refused} of them (--most-refused)"
        fail(f"{len(report.refused)} lines were refused, the others are kept{end}")


def _show(report: LoadReport, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "accepted": report.accepted,
                "repeated": report.repeated,
                "without_value": report.without_value,
                "refused": [{"line": line.number, "reason": line.problem} for line in report.refused],
                "complete": report.is_complete,
            }
        )
        return
    typer.echo(f"{report.accepted} outcomes kept")
    if report.repeated:
        note(f"{report.repeated} lines say what an earlier one says")
    if report.without_value:
        note(f"{report.without_value} lines have no value")
    for line in report.refused[:_SHOWN]:
        note(f"line {line.number}: {line.problem}")
    if len(report.refused) > _SHOWN:
        note(f"{len(report.refused) - _SHOWN} more: use --json to have them all")


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, separator, rest = text.partition("=")
    if not name or not separator or not rest:
        _bad(f"{option} {text!r}: must be {form}")
    return name, rest


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        _bad(f"--observed-at {text!r}: must be as ISO 8601 has it, 2026-11-22 or 2026-11-22T09:00:00Z")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def _bad(message: str) -> NoReturn:
    raise typer.BadParameter(message)
