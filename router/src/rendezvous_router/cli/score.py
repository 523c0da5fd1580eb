"""`rendezvous score`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rendezvous_proto.frames import FrameView
from rendezvous_sdk import AsyncClient
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from rendezvous_router.cli._shared import (
    AddressOption,
    JsonOption,
    authority,
    cell,
    console,
    fail,
    grpc_address,
    new_table,
    note,
    print_json,
    progress_bar,
    run,
)
from rendezvous_router.scoring import ScoredPart, score_table
from rendezvous_router.tables import RowTable, read_table, write_table

_ROWS_SHOWN = 200


class Format(StrEnum):
    """Format of the rows."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def score(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.", metavar="ENDPOINT")],
    file: Annotated[str, typer.Argument(help="CSV, JSON or Parquet file; - reads standard input.")],
    address: AddressOption = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Format of the rows; default: by the suffix, stdin: csv.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the answers to this .csv, .json or .parquet file.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows of one request.")] = 1,
    explain: Annotated[bool, typer.Option("--explain", help="Also show every model's score.")] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Have every request traced, and show the ids to look for in Jaeger.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Scores the rows of a file through an endpoint; types come from the endpoint's signature."""
    path = None if file == "-" else Path(file)
    run(_score(endpoint, path, address, form, out=out, batch=batch, explain=explain, trace=trace, as_json=json))


async def _score(
    endpoint: str,
    path: Path | None,
    address: str | None,
    form: Format | None,
    *,
    out: Path | None,
    batch: int,
    explain: bool,
    trace: bool,
    as_json: bool,
) -> None:
    async with AsyncClient(grpc_address(address), endpoint, ca=authority(address)) as client:
        info = await client.describe()
        table = read_table(path, form.value if form else None, info.signature.inputs)
        if table.ignored:
            note(f"columns not in the signature, left out: {', '.join(table.ignored)}")
        parts = await _score_with_progress(client, table, batch=batch, explain=explain, trace=trace)
    records = [record for part in parts for record in part.records()]
    if out is not None:
        write_table(records, out)
        note(f"{len(records)} rows written to {out}")
    if as_json:
        print_json([_document(part) for part in parts] if explain else records)
    elif out is None:
        _show(records)
    if explain and not as_json:
        _show_scores(parts)
    failed = [part for part in parts if part.error is not None]
    if failed:
        fail(f"{len(failed)} of {len(parts)} requests failed; the first: {failed[0].error}")


async def _score_with_progress(
    client: AsyncClient, table: RowTable, *, batch: int, explain: bool, trace: bool
) -> list[ScoredPart]:
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as progress:
        task = progress.add_task("scoring", total=table.rows)
        return await score_table(
            client,
            table,
            batch=batch,
            explain=explain,
            trace=trace,
            on_progress=lambda rows: progress.advance(task, rows),
        )


def _show(records: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for record in records for name in record))
    if not any(record["error"] for record in records):
        names.remove("error")
    table = new_table(*names)
    for record in records[:_ROWS_SHOWN]:
        table.add_row(*(cell(record.get(name)) for name in names))
    console.print(table)
    if len(records) > _ROWS_SHOWN:
        note(f"{len(records) - _ROWS_SHOWN} more rows: use --json or --out to have them all")


def _show_scores(parts: list[ScoredPart]) -> None:
    table = new_table("row", "model", "version", "output", title="\nscores that had arrived")
    for part in parts[:_ROWS_SHOWN]:
        for document in _scores(part):
            table.add_row(cell(part.first_row), document["model"], document["version"], cell(document["outputs"]))
    console.print(table)


def _scores(part: ScoredPart) -> list[dict[str, Any]]:
    if part.answer is None:
        return []
    return [
        {
            "model": score.model,
            "version": score.version,
            "outputs": FrameView(score.outputs).to_records() if score.outputs.rows else [],
            "error": score.error.message,
        }
        for score in part.answer.scores.values()
    ]


def _document(part: ScoredPart) -> dict[str, Any]:
    decision = part.answer.decision if part.answer is not None else None
    return {
        "request_id": part.request_id,
        "rows": part.records(),
        "decision": None if decision is None else MessageToDict(decision, preserving_proto_field_name=True),
        "scores": _scores(part),
    }
