"""`rendezvous compare`: two models on the same requests."""

from pathlib import Path
from typing import Annotated

import typer
from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk.archive.manifest import ArchiveError
from rendezvous_sdk.archive.reader import open_archive

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
from rendezvous_router.cli._shared import JsonOption, console, fail, note, print_json

_Model = Annotated[str, typer.Argument(metavar="MODEL", help="NAME, for all its versions, or NAME:VERSION.")]


def compare(
    first: _Model,
    second: _Model,
    by: Annotated[str | None, typer.Option("--by", help="Input column: the same for each of its values.")] = None,
    worst: Annotated[int, typer.Option(min=0, max=10_000, help="How many rows of most disagreement are listed.")] = 20,
    output: Annotated[
        str | None,
        typer.Option(help="Output to compare. Default: the first FP column, and the first label."),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(help="Label whose probability scores tell. Default: that with the highest scores."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Scores from here on mean the positive label. Default: the output's label.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Numbers that differ by no more agree.")] = 0.01,
    alpha: Annotated[
        float, typer.Option(help="Chance, over all looks, that an interval ever misses; 0.05 for 95 %.")
    ] = 0.05,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report with pictures, in one file.")
    ] = None,
    endpoint: EndpointOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    json: JsonOption = False,
) -> None:
    """Compares two models on the requests that both have scored: agreement, speed, errors, and quality where known.

    Differences are second - first, with intervals that hold however often you look.
    """
    from rendezvous_router.compare import CompareError, Question  # noqa: PLC0415 # NumPy and DuckDB take half a second
    from rendezvous_router.compare import compare as ask  # noqa: PLC0415 # the same
    from rendezvous_router.compare.results import to_document  # noqa: PLC0415 # the same
    from rendezvous_router.compare.text import show  # noqa: PLC0415 # the same

    check_span(since, until)
    root, whose = archive_root(archive), archive_tenant(tenant)
    try:
        question = Question(
            first=first,
            second=second,
            by=by,
            worst=worst,
            output=output,
            positive=positive,
            threshold=threshold,
            tolerance=tolerance,
            alpha=alpha,
        )
    except CompareError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        chosen = choose_endpoint(root, whose, endpoint)
        with open_archive(root, tenant=whose, endpoint=chosen) as opened:
            comparison = ask(opened, question, since=since, until=until)
        if html is not None:
            from rendezvous_router.compare.page import write_page  # noqa: PLC0415 # so does Matplotlib

            write_page(comparison, html)
    except (ArchiveError, CompareError, RendezvousError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"the report cannot be written to {html}: {error.strerror}" if html else f"{error.strerror}")
    if json:
        print_json(to_document(comparison))
    else:
        show(comparison, console)
    if html is not None:
        note(f"report: {html}")
