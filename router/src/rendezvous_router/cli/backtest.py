"""`rendezvous backtest`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rendezvous.spec import parse_duration
from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk.archive.manifest import ArchiveError

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
from rendezvous_router.cli._shared import JsonOption, console, fail, note, print_json, progress_bar

if TYPE_CHECKING:
    from rendezvous_router.backtest.quality import Positive


def backtest(
    policy: Annotated[
        Path | None,
        typer.Argument(
            help="What to try: an endpoint file, or one with its section `policy:` alone. "
            "None: each request's own policy, which shows that the record reproduces."
        ),
    ] = None,
    endpoint: EndpointOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    positive: Annotated[
        str | None,
        typer.Option(
            metavar="OUTPUT=VALUE", help="The truth that makes a row positive where outputs are probabilities."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Changed answers to show.")] = 10,
    answer_margin: Annotated[str, typer.Option(help="What the routers keep back from a deadline.")] = "5ms",
    as_json: JsonOption = False,
) -> None:
    """Runs a policy over the recorded scores and the moments they came: what it would have answered, beside what was.

    Live answers are not touched. Exit status 1 when nothing could be tried, 2 for wrong usage.
    """
    from rendezvous_router.backtest.policies import PolicyFileError, read_policy  # noqa: PLC0415 # NumPy, DuckDB: 0.5 s
    from rendezvous_router.backtest.report import notes, result_tables, to_document  # noqa: PLC0415 # the same
    from rendezvous_router.backtest.run import Asked, run_backtest  # noqa: PLC0415 # the same

    check_span(since, until)
    margin_s, mark = _margin(answer_margin), _positive(positive)
    root, whose = archive_root(archive), archive_tenant(tenant)
    try:
        document = None if policy is None else read_policy(policy)
        asked = Asked(
            root=root,
            tenant=whose,
            endpoint=choose_endpoint(root, whose, endpoint or (document or {}).get("endpoint")),
            since=since,
            until=until,
            document=document,
            margin_s=margin_s,
            positive=mark,
            samples=samples,
        )
        with progress_bar() as progress:
            task = progress.add_task("deciding anew", total=None)
            result = run_backtest(
                asked, on_progress=lambda done, total: progress.update(task, completed=done, total=total)
            )
    except (ArchiveError, PolicyFileError, RendezvousError, ImportError) as error:
        fail(str(error))
    if as_json:
        print_json(to_document(result))
    else:
        console.print(result_tables(result), highlight=False)
        for line in notes(result):
            note(line)
    if not result.summary.recorded.requests:
        fail(f"none of the requests of endpoint {asked.endpoint} could be decided anew: see above")


def _margin(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--answer-margin") from error


def _positive(text: str | None) -> "Positive | None":
    from rendezvous_router.backtest.quality import Positive  # noqa: PLC0415 # the same

    if text is None:
        return None
    output, sign, value = text.partition("=")
    if not (output and sign):
        raise typer.BadParameter(f"{text!r} is not OUTPUT=VALUE: label=bad", param_hint="--positive")
    return Positive(output, value)
