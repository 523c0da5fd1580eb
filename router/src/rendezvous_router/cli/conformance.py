"""`rendezvous conformance`."""

import asyncio
import json
import logging
import os
import shlex
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rendezvous.spec import parse_duration
from rich.markup import escape

from rendezvous_router.cli._shared import JsonOption, console, error_console, nats_address, new_table, note, print_json
from rendezvous_router.conformance import (
    KnownFailuresError,
    Report,
    Result,
    SiteError,
    SiteOptions,
    TargetError,
    load_known_failures,
    parse_target,
    run_kit,
)
from rendezvous_router.conformance.report import result_table, summary, write_junit
from rendezvous_router.conformance.runner import choose_cases

_USAGE = 2


def conformance(
    target: Annotated[
        str | None, typer.Argument(help="What to try: grpc://HOST:PORT, or ENDPOINT/MODEL (:VERSION).")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(help="Command line of the model program; the kit starts it with a nats-server of its own."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A case (grpc.describe), a door (grpc) or a pattern; may be given again.")
    ] = None,
    known_failures: Annotated[
        Path | None, typer.Option(help="YAML of case ids and reasons: run, but expected to fail.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the results as JUnit XML to this file.")] = None,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish",
            help="Put parcels into the postbox of a running endpoint: all of its models score them and its record "
            "keeps them.",
        ),
    ] = False,
    example: Annotated[
        Path | None,
        typer.Option(help="JSON list of rows to take input values from, for models that do not take just any."),
    ] = None,
    start_limit: Annotated[str, typer.Option(help="Time in which the program of --run must be ready.")] = "30s",
    nats: Annotated[
        str | None,
        typer.Option("--nats", envvar="RENDEZVOUS_NATS", help="Address of nats-server, for a target that runs."),
    ] = None,
    list_cases: Annotated[bool, typer.Option("--list", help="List the cases and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tries a model against the protocol's rules, over gRPC and over the postbox.

    Exit status: 0 all is as expected, 1 something failed (or is known to fail and passed), 2 wrong usage or
    nothing to try.
    """
    try:
        if list_cases:
            _print_cases(only or [])
            return
        if target is None:
            _fail("give a target, grpc://HOST:PORT or ENDPOINT/MODEL; --list lists the cases")
        options = SiteOptions(
            target=parse_target(target),
            run=_command(run),
            nats=nats_address(nats),
            publish=publish,
            examples=_read_examples(example),
            ready_limit_s=_seconds(start_limit),
        )
        known = load_known_failures(known_failures) if known_failures else {}
        choose_cases(only or [])
        if junit is not None:
            _check_writable(junit)
    except (TargetError, KnownFailuresError, ValueError) as error:
        _fail(str(error))
    logging.getLogger("rendezvous_sdk").setLevel(logging.CRITICAL)  # the kit cuts its own connections
    try:
        report = asyncio.run(run_kit(options, only=only or [], known=known, on_result=_tell))
    except SiteError as error:
        error_console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error
    _print(report, junit, as_json=as_json)
    if not report.tried:
        _fail(_nothing_tried(report))
    raise typer.Exit(0 if report.is_good else 1)


def _print(report: Report, junit: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
    else:
        console.print(result_table(report))
        console.print(summary(report), highlight=False)
    if junit is not None:
        try:
            write_junit(report, junit)
        except OSError as error:
            _fail(f"--junit {junit}: {error.strerror or error}")


def _nothing_tried(report: Report) -> str:
    reasons = "; ".join(dict.fromkeys(result.detail for result in report.results))
    return f"nothing was tried: none of the {len(report.results)} cases is applicable to {report.target} ({reasons})"


def _tell(result: Result) -> None:
    """Shows on a terminal that something goes on."""
    if error_console.is_terminal:
        note(f"{result.status:14} {result.id}")


def _print_cases(only: list[str]) -> None:
    table = new_table("case", "what must hold", "rules")
    for case in choose_cases(only):
        table.add_row(case.id, escape(case.title), " ".join(case.rules))
    console.print(table)


def _command(run: str | None) -> str:
    if run is None:
        return ""
    try:
        words = shlex.split(run)
    except ValueError as error:
        raise TargetError(
            f"--run {run!r} cannot be split into words: {error}; the command is not run by a shell, but quotes as "
            "there: close each, or write the command into a script"
        ) from error
    if not words:
        raise TargetError("--run is empty: give the command line of the model program, or leave --run out")
    return run


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise TargetError(f"--start-limit: {error}") from error


def _check_writable(junit: Path) -> None:
    """Tells before the run what would else be told after it."""
    folder = junit.parent
    if junit.is_dir():
        raise TargetError(f"--junit {junit} is a folder: name the file to write in it")
    if not folder.is_dir():
        raise TargetError(f"--junit {junit}: there is no folder {folder}: make it first")
    if not os.access(junit if junit.exists() else folder, os.W_OK):
        raise TargetError(f"--junit {junit} must not be written by this user")


def _read_examples(path: Path | None) -> tuple[dict[str, Any], ...]:
    if path is None:
        return ()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TargetError(f"{path}: {error}") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise TargetError(f"{path}: write a list of rows, each an object of values by column")
    return tuple(rows)


def _fail(message: str) -> NoReturn:
    error_console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(_USAGE)
