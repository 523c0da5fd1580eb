"""`rendezvous test`."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rendezvous.spec import parse_duration
from rich.markup import escape

from rendezvous_router.cli._archive import ArchiveOption, TenantOption, archive_root, archive_tenant
from rendezvous_router.cli._shared import JsonOption, console, error_console, nats_address, note, print_json
from rendezvous_router.conformance import Report, Result, SiteError, SiteOptions, TargetError, parse_target
from rendezvous_router.conformance.report import result_table, summary, write_junit
from rendezvous_router.model_test import ArchivePlace, CasesError, read_cases, run_model_test

_USAGE = 2
_ENDPOINT = "test"


def model_test(
    cases: Annotated[Path, typer.Option(help="YAML file of what to check: docs/guides/model-tests.md.")],
    model: Annotated[str | None, typer.Option(help="The candidate, NAME or NAME:VERSION.")] = None,
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of its service Score; default: by --model, as it is registered.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Command line of its program, which is started for the test, and ended.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help=f"Endpoint of --model; default: the file's, else {_ENDPOINT}.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A check (monotonic.age), a group (monotonic) or a pattern; repeatable.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the results as JUnit XML to this file.")] = None,
    start_limit: Annotated[str, typer.Option(help="Time in which the program of --run must be ready.")] = "30s",
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    nats: Annotated[
        str | None,
        typer.Option("--nats", envvar="RENDEZVOUS_NATS", help="Address of nats-server, to find a registered model."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Checks a candidate before it is published, over its service Score.

    Exit status: 0 all checks passed, 1 one failed or the candidate cannot be reached, 2 wrong usage or wrong cases.
    """
    try:
        found = read_cases(cases)
        options = SiteOptions(
            target=parse_target(_target(model, address, endpoint or found.endpoint or _ENDPOINT)),
            run=run or "",
            nats=nats_address(nats),
            ready_limit_s=parse_duration(start_limit),
            # Beyond the limit of a call, so that a candidate that hangs is not taken for one that refuses.
            scoring_limit_s=3 * found.call_limit_s,
        )
        if junit is not None and not junit.parent.is_dir():
            _fail(f"--junit {junit}: there is no folder {junit.parent}: make it first", _USAGE)
        logging.getLogger("rendezvous_sdk").setLevel(logging.CRITICAL)
        place = ArchivePlace(archive_root(archive), archive_tenant(tenant))
        work = run_model_test(found, cases.parent, options, place, only=only or [], on_result=_tell)
        report = asyncio.run(work)
    except (CasesError, TargetError, ValueError) as error:
        _fail(str(error), _USAGE)
    except SiteError as error:
        _fail(str(error), 1)
    _print(report, junit, as_json=as_json)
    raise typer.Exit(0 if report.is_good else 1)


def _target(model: str | None, address: str | None, endpoint: str) -> str:
    if address is not None:
        return f"grpc://{address}"
    if model is None:
        raise TargetError("name the candidate: --model NAME:VERSION, or --address HOST:PORT")
    return f"{endpoint}/{model}"


def _tell(result: Result) -> None:
    """Shows on a terminal that something goes on."""
    if error_console.is_terminal:
        note(f"{result.status:14} {result.id}")


def _print(report: Report, junit: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
    else:
        console.print(result_table(report))
        console.print(summary(report), highlight=False)
    if junit is not None:
        try:
            write_junit(report, junit, kind="model test")
        except OSError as error:
            _fail(f"--junit {junit}: {error.strerror or error}", _USAGE)


def _fail(message: str, status: int) -> NoReturn:
    error_console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(status)
