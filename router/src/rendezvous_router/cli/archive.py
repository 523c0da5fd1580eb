"""`rendezvous archive verify`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from rendezvous_router.archive_check import ArchiveReport, ExpectedInputs, read_expected, verify_archive
from rendezvous_router.cli._shared import (
    JsonOption,
    NatsOption,
    archive_folder,
    cell,
    connected,
    console,
    fail,
    new_table,
    print_json,
    progress_bar,
    run,
)

app = typer.Typer(help="The decoy's archive of inputs.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """The decoy's archive of inputs."""


@app.command()
def verify(
    endpoint: Annotated[str | None, typer.Argument(help="Name of the endpoint; none: all in the archive.")] = None,
    archive: Annotated[
        Path | None, typer.Option(help="Folder of the archive. Default: that of the project running here, or archive.")
    ] = None,
    first_sequence: Annotated[int, typer.Option(min=1, help="Look at parcels from this sequence on.")] = 1,
    offline: Annotated[bool, typer.Option("--offline", help="Check the files only; do not ask the server.")] = False,
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Proves the archive complete: every input that the stream has is archived, once. Status 1 if it is not."""
    run(_verify(endpoint, archive_folder(archive), first_sequence, offline=offline, nats=nats, as_json=json))


async def _verify(
    endpoint: str | None, archive: Path, first_sequence: int, *, offline: bool, nats: str | None, as_json: bool
) -> None:
    endpoints = [endpoint] if endpoint else _archived_endpoints(archive)
    expected = {} if offline else await _read_expected(endpoints, nats)
    reports = [
        verify_archive(archive, name, first_sequence=first_sequence, expected=expected.get(name)) for name in endpoints
    ]
    if as_json:
        print_json([{**dataclasses.asdict(report), "is_complete": report.is_complete} for report in reports])
    else:
        _show(reports)
    incomplete = [report.endpoint for report in reports if not report.is_complete]
    if incomplete:
        fail(f"the archive of {', '.join(incomplete)} is not complete")


def _archived_endpoints(archive: Path) -> list[str]:
    return sorted(folder.parent.name for folder in archive.glob("*/input"))


async def _read_expected(endpoints: list[str], nats: str | None) -> dict[str, ExpectedInputs | None]:
    async with connected(nats) as client:
        with progress_bar() as progress:
            task = progress.add_task("reading the stream", total=None)
            return {
                name: await read_expected(
                    client, name, on_progress=lambda read, total: progress.update(task, completed=read, total=total)
                )
                for name in endpoints
            }


def _show(reports: list[ArchiveReport]) -> None:
    table = new_table(
        "endpoint", "complete", "parcels", "requests", "rows", "sequences", "gaps", "pending", "twice", "unreadable"
    )
    for report in reports:
        table.add_row(
            report.endpoint,
            "yes" if report.is_complete else "NO",
            cell(report.parcels),
            cell(report.requests),
            cell(report.rows),
            f"{report.first_sequence}-{report.last_sequence}",
            cell(None if report.gaps is None else len(report.gaps)),
            cell(report.pending),
            cell(len(report.duplicates)),
            cell(len(report.unreadable)),
        )
    console.print(table)
