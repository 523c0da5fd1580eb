"""`rendezvous replay`."""

import datetime as dt
import os
import re
import sys
import time
from typing import Annotated, NoReturn

import typer
from rendezvous.spec import parse_duration
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.postbox import check_name, check_version
from rendezvous_sdk.archive.layout import ArchiveRoot
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from rendezvous_router.background import step_back
from rendezvous_router.cli._archive import (
    ArchiveOption,
    EndpointOption,
    SinceOption,
    TenantOption,
    UntilOption,
    archive_root,
    archive_tenant,
    check_span,
    choose_endpoint,
)
from rendezvous_router.cli._shared import (
    JsonOption,
    cell,
    console,
    error_console,
    fail,
    new_table,
    print_json,
    progress_bar,
    run,
)
from rendezvous_router.own_session import follow_starter, is_weighed_with_others, run_in_own_session
from rendezvous_router.replay.errors import ReplayError
from rendezvous_router.replay.job import Summary, run_job
from rendezvous_router.replay.opening import parse_candidate_address
from rendezvous_router.replay.options import ReplayJob, ReplayLimits

_USAGE = 2
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*(s|m|h))?")
_RATE_UNITS_S = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def replay(
    model: Annotated[str, typer.Option(help="The candidate, NAME:VERSION: its scores are kept under that name.")],
    since: SinceOption = None,
    until: UntilOption = None,
    endpoint: EndpointOption = None,
    address: Annotated[
        str | None,
        typer.Option(help="Where the candidate serves Score: HOST:PORT, grpc://HOST:PORT/MODEL, grpcs://..."),
    ] = None,
    run_command: Annotated[
        str | None,
        typer.Option(
            "--run", help="Command line of a model program, in any language; started for the replay, ended after it."
        ),
    ] = None,
    load: Annotated[
        str | None,
        typer.Option(
            help="Load it into this process: package.module:name, a file (.skops, .onnx, ...), MLflow folder."
        ),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(help="With --load: names of the output columns, separated by commas.")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="With --load: load files that run code when they are loaded.")
    ] = False,
    trust_type: Annotated[
        list[str] | None, typer.Option(help="With --load: a type that a skops file may contain; may be given again.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Most rows a second, as 500/s or 20000/m. Default: as fast as it goes.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Calls of the candidate at one time.")] = 2,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Rows of one call.")] = 1000,
    file_rows: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Rows after which they are written; else every 10 s.")
    ] = 50_000,
    timeout: Annotated[str, typer.Option(help="Limit of one call.")] = "60s",
    start_limit: Annotated[str, typer.Option(help="Time in which the program of --run must be ready.")] = "60s",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run where it ended.")] = False,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run. Default: of the model and its version, NAME-VERSION.")
    ] = None,
    eager: Annotated[
        bool, typer.Option("--eager", help="Do not step back for other processes: no live system is on this machine.")
    ] = False,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Scores history with a candidate; its scores are kept in the archive, beside the other models'.

    Live answers are not touched: nothing is published, and the process steps back for any other. What has been written
    when it ends, however it ends, stays; --resume goes on behind it.

    Exit status: 0 all was asked (rows that the candidate failed on are recorded as such), 1 it ended early, 2 wrong
    usage.
    """
    check_span(since, until)
    root = archive_root(archive)
    chosen = choose_endpoint(root, archive_tenant(tenant), endpoint)
    try:
        name, version = _model(model)
        job = ReplayJob(
            root=ArchiveRoot.parse(root),
            tenant=archive_tenant(tenant),
            endpoint=chosen,
            name=name,
            version=version,
            since_unix_us=0 if since is None else _unix_us(since),
            until_unix_us=_unix_us(until or dt.datetime.now(dt.UTC)),
            address=address or "",
            command=run_command or "",
            target=load or "",
            outputs=outputs,
            trust_pickle=trust_pickle,
            trusted_types=tuple(trust_type or ()),
            run=check_name("run", run_id) if run_id else "",
            resume=resume,
            timeout_s=_seconds("--timeout", timeout),
            ready_limit_s=_seconds("--start-limit", start_limit),
            limits=ReplayLimits(concurrency=concurrency, piece_rows=rows, file_rows=file_rows, rate=parse_rate(rate)),
        )
        _check_candidate(job)
    except (InvalidRequestError, ReplayError, ValueError) as error:
        _refuse(str(error))
    if not eager:
        _step_back()
    run(_replay(job, as_json=as_json))


def _step_back() -> None:
    """Leaves the processor to whoever answers; does not return where that takes another process."""
    follow_starter()
    if is_weighed_with_others():
        raise typer.Exit(run_in_own_session([sys.executable, "-m", "rendezvous_router.cli", *sys.argv[1:]]))
    step_back()


async def _replay(job: ReplayJob, *, as_json: bool) -> None:
    with _progress() as progress:
        task = progress.add_task("preparing", total=None)

        def begin(total: int) -> None:
            progress.update(task, total=total, description=f"{job.name}:{job.version}")
            progress.reset(task, total=total)

        try:
            summary = await run_job(job, on_total=begin, on_progress=lambda rows: progress.update(task, advance=rows))
        except (ReplayError, ImportError) as error:
            fail(str(error))
    if as_json:
        print_json(summary.to_dict())
    else:
        _show(summary)


def _progress() -> Progress:
    return progress_bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        _RateColumn(),
        TimeRemainingColumn(),
    )


class _RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """Returns the rate of the last while."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


def _show(summary: Summary) -> None:
    told = summary.to_dict()
    table = new_table("run", "model", "rows", "scored", "failed", "repeats left out", "unreadable", "rows/s", "took")
    table.add_row(
        cell(told["run"]),
        cell(f"{told['model']}:{told['version']}"),
        cell(told["rows"]),
        cell(told["scored"]),
        cell(told["failed"]),
        cell(told["skipped"]["repeated_requests"]),
        cell(told["skipped"]["unreadable_rows"]),
        cell(told["rows_per_s"]),
        time.strftime("%H:%M:%S", time.gmtime(summary.seconds)),
    )
    console.print(table)
    if told["failed"]:
        codes = ", ".join(f"{rows} {code}" for code, rows in told["errors"].items())
        console.print(f"failed: {codes}; the first: {escape(told['first_error'])}", soft_wrap=True, highlight=False)
    console.print(
        f"scores are in {escape(told['archive'])}, kind scores, origin replay, run {told['run']}; compare: "
        f"rendezvous compare {told['model']}:{told['version']} OTHER --endpoint {told['endpoint']}",
        soft_wrap=True,
        highlight=False,
    )


def _check_candidate(job: ReplayJob) -> None:
    given = [option for option, value in _candidates(job).items() if value]
    if len(given) != 1:
        told = f"{' and '.join(given)} are given" if given else "nothing is given"
        raise ReplayError(f"say where the candidate is by one of --address, --run and --load; {told}")
    if job.address:
        parse_candidate_address(job.address)
    if not job.target and (job.outputs or job.trust_pickle or job.trusted_types):
        raise ReplayError("--outputs, --trust-pickle and --trust-type are for --load")


def _candidates(job: ReplayJob) -> dict[str, str]:
    return {"--address": job.address, "--run": job.command, "--load": job.target}


def _model(text: str) -> tuple[str, str]:
    name, colon, version = text.partition(":")
    if not colon:
        version = os.environ.get("RENDEZVOUS_VERSION", "")
    if not version:
        raise ReplayError(f"--model {text}: give the version, too, as in {name}:4: scores are kept by it")
    return check_name("model", name), check_version(version)


def parse_rate(text: str | None) -> float | None:
    """Returns how many a second `500/s`, `20000/m` or `500` mean; None for None.

    Raises:
        ReplayError: it is no rate.
    """
    if text is None:
        return None
    match = _RATE.fullmatch(text.strip())
    rate = float(match[1]) / _RATE_UNITS_S[match[2]] if match else 0.0
    if not rate > 0:
        raise ReplayError(f"--rate {text}: write rows a time above 0, as in 500/s or 20000/m")
    return rate


def _seconds(option: str, text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ReplayError(f"{option}: {error}") from error
    if not seconds > 0:
        raise ReplayError(f"{option} {text}: it must be more than 0")
    return seconds


def _unix_us(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1e6)


def _refuse(message: str) -> NoReturn:
    error_console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(_USAGE)
