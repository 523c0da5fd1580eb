"""`rendezvous mirror`."""

import asyncio
import datetime as dt
import re
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rendezvous.spec import parse_duration
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.postbox import check_name
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.environment import parse_since
from rendezvous_sdk.signals import drain_on_signals
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rendezvous_router.cli._shared import (
    JsonOption,
    NatsOption,
    cell,
    connected,
    console,
    error_console,
    fail,
    new_table,
    print_json,
    progress_bar,
    run,
)
from rendezvous_router.cli.replay import parse_rate
from rendezvous_router.mirror.errors import MirrorError
from rendezvous_router.mirror.job import MirrorJob, MirrorSummary, run_mirror
from rendezvous_router.replay.errors import ReplayError

_USAGE = 2
_NOW = "now"
_ALL = "all"
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")


def mirror(
    endpoint: Annotated[str, typer.Option(help="Endpoint whose inputs are copied.")],
    to: Annotated[
        str,
        typer.Option(
            help="Where to: nats://HOST:PORT, into the postbox there (models score, the archive keeps, nobody "
            "decides); or grpc://HOST:PORT, through the router's door (all of the endpoint works). With TLS tls://, "
            "grpcs://."
        ),
    ],
    as_endpoint: Annotated[
        str | None, typer.Option("--as", help="Name of the endpoint there. Default: the same.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Where to begin, the first time: now, all, 7d, an ISO time. Default: all; with --follow: now. "
            "One that was started before goes on where it was."
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on when the end is reached, until SIGTERM.")] = False,
    sample: Annotated[str, typer.Option(help="Share of the requests, by their ids: 10% or 0.1.")] = "100%",
    rate: Annotated[
        str | None, typer.Option(help="Most requests a second, as 500/s. Default: as fast as it goes.")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Time that the models there have for a copy in the postbox; later it is expired.")
    ] = "10m",
    to_key_file: Annotated[Path | None, typer.Option(help="File with the key that the target asks for.")] = None,
    to_ca: Annotated[Path | None, typer.Option(help="Authority of the target's certificate, PEM.")] = None,
    to_cert: Annotated[Path | None, typer.Option(help="Certificate chain shown to the target, PEM.")] = None,
    to_cert_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    to_insecure: Annotated[
        bool, typer.Option("--to-insecure", help="Send the key without TLS to other than loopback.")
    ] = False,
    nats: NatsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copies an endpoint's inputs to another installation, each once, going on where it was.

    The environment's key and certificates are for the source; the target's are given by --to-....

    Exit status: 0 the end was reached, or SIGTERM came; 1 it ended early; 2 wrong usage.
    """
    try:
        job = MirrorJob(
            endpoint=check_name("endpoint", endpoint),
            to=to,
            to_credentials=Credentials.read(
                key=to_key_file, ca=to_ca, cert=to_cert, cert_key=to_cert_key, insecure=to_insecure, environment={}
            ),
            as_endpoint=check_name("endpoint", as_endpoint) if as_endpoint else "",
            since=_since(since, follow=follow),
            follow=follow,
            share=_share(sample),
            rate=parse_rate(rate),
            budget_s=_seconds(budget),
        )
        _ = job.is_door
    except (InvalidRequestError, MirrorError, ReplayError, ValueError) as error:
        _refuse(str(error))
    run(_mirror(job, nats, as_json=as_json))


async def _mirror(job: MirrorJob, nats: str | None, *, as_json: bool) -> None:
    stop = asyncio.Event()
    drain_on_signals(stop)
    async with connected(nats) as client:
        with _progress() as progress:
            task = progress.add_task(f"{job.endpoint} to {job.to}", total=None)
            try:
                summary = await run_mirror(
                    client, job, stop=stop, on_progress=lambda requests: progress.update(task, advance=requests)
                )
            except MirrorError as error:
                fail(str(error))
    if as_json:
        print_json(summary.to_dict())
    else:
        _show(summary)


def _progress() -> Progress:
    return progress_bar(
        SpinnerColumn(), TextColumn("{task.description}: {task.completed:,} requests"), TimeElapsedColumn()
    )


def _show(summary: MirrorSummary) -> None:
    totals = summary.totals
    table = new_table(
        "endpoint", "requests", "rows", "parcels", "not sampled", "misfits", "unreadable", "refused", "at"
    )
    told = (
        summary.job.endpoint,
        totals.requests,
        totals.rows,
        totals.parcels,
        totals.left_out,
        totals.misfits,
        totals.unreadable,
        summary.refused,
        totals.reached,
    )
    table.add_row(*map(cell, told))
    console.print(table)


def _since(text: str | None, *, follow: bool) -> dt.datetime | None:
    text = text or (_NOW if follow else _ALL)
    return None if text == _NOW else parse_since(text)


def _share(text: str) -> float:
    match = _SHARE.fullmatch(text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise MirrorError(f"--sample {text}: write a share above 0 and up to 100%, as 10% or 0.1")
    return share


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise MirrorError(f"--budget: {error}") from error
    if not seconds > 0:
        raise MirrorError(f"--budget {text}: it must be more than 0")
    return seconds


def _refuse(message: str) -> NoReturn:
    error_console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(_USAGE)
