"""What commands that read the archive share: which archive, whose, which endpoint, and which time."""

import datetime as dt
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rendezvous._durations import parse_duration
from rendezvous_proto.errors import UnknownEndpointError
from rendezvous_sdk.archive.layout import DEFAULT_TENANT, ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchiveError, list_endpoints, list_tenants
from rich.markup import escape

from rendezvous_router._state import find_state, find_state_folder
from rendezvous_router.cli._shared import error_console
from rendezvous_router.passes import TENANTS_FOLDER
from rendezvous_router.tenants.register import RegisterFile

DEFAULT_ARCHIVE = "archive"


def parse_moment(text: str, *, now: dt.datetime | None = None) -> dt.datetime:
    """Reads a moment of the past.

    Args:
        text: a duration before now (`7d`, `12h`, `30m`, `90s`), or an ISO 8601 date or time (`2026-03-01`,
            `2026-03-01T12:00`, `2026-03-01T12:00:00+01:00`); UTC unless it says otherwise.
        now: the present, with a time zone; None: the clock's.

    Returns:
        The moment, in UTC.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        return (now or dt.datetime.now(dt.UTC)) - dt.timedelta(seconds=parse_duration(text))
    except ValueError:
        pass  # no duration: an ISO time, or neither
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} lies before the year 1") from error
    try:
        moment = dt.datetime.fromisoformat(text)
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is neither a duration before now (7d, 12h, 30m, 90s) nor an ISO date or time in UTC "
            "(2026-03-01, 2026-03-01T12:00)"
        ) from error


ArchiveOption = Annotated[
    str | None,
    typer.Option(
        "--archive",
        envvar="RENDEZVOUS_ARCHIVE",
        metavar="FOLDER|URL",
        help=f"The archive. Default: that of the project running here, else {DEFAULT_ARCHIVE}.",
        show_default=False,
    ),
]
TenantOption = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        envvar="RENDEZVOUS_TENANT",
        help=f"Whose record. Default: the tenant of the project running here, else {DEFAULT_TENANT}.",
        show_default=False,
    ),
]
EndpointOption = Annotated[
    str | None, typer.Option("--endpoint", help="The endpoint; may be left out where the archive has one only.")
]
EndpointArgument = Annotated[
    str | None, typer.Argument(help="The endpoint; may be left out where the archive has one only.")
]
SinceOption = Annotated[
    dt.datetime | None,
    typer.Option(
        "--since", parser=parse_moment, metavar="7d|TIME", help="What was stored from then on: a duration, an ISO time."
    ),
]
UntilOption = Annotated[
    dt.datetime | None,
    typer.Option(
        "--until", parser=parse_moment, metavar="1d|TIME", help="What was stored before: a duration, an ISO time."
    ),
]


def archive_root(option: str | None) -> str:
    """Returns the archive's root, a folder or URL: option or environment, running project, `archive`."""
    state = None if option else find_state(Path.cwd())
    return option or (state.archive if state else DEFAULT_ARCHIVE)


def archive_tenant(option: str | None) -> str:
    """Returns the tenant: option or environment, that of the running project where it has tenants, `default`."""
    state = None if option else find_state(Path.cwd())
    if state is None:
        return option or DEFAULT_TENANT
    has_tenants = RegisterFile(find_state_folder(Path.cwd()) / TENANTS_FOLDER).exists
    return state.tenant if has_tenants else DEFAULT_TENANT


def choose_endpoint(root: str | ArchiveRoot, tenant: str, endpoint: str | None) -> str:
    """Returns the endpoint that is meant: the one named, or the only one that the archive has of the tenant.

    Args:
        root: the archive.
        tenant: name of the tenant.
        endpoint: name that the user gave; None: none.

    Returns:
        A name that the archive has.

    Raises:
        InvalidRequestError: the archive's URL is malformed.
        ArchiveError: there is no such archive or tenant, or it has no endpoint, or it cannot be read.
        UnknownEndpointError: it has no such endpoint.
        typer.Exit: status 2, after one message: there are several, and none was named.
    """
    opened = ArchiveRoot.parse(root)
    tenants = list_tenants(opened)
    if not tenants:
        raise ArchiveError(f"there is no archive at {opened.text}: give its folder or URL with --archive")
    if tenant not in tenants:
        raise ArchiveError(
            f"the archive {opened.text} has nothing of tenant {tenant!r}, only of {', '.join(tenants)}: see --tenant"
        )
    endpoints = list_endpoints(opened, tenant)
    if not endpoints:
        raise ArchiveError(f"the archive {opened.text} has no endpoint of tenant {tenant!r} yet")
    if endpoint is None and len(endpoints) > 1:
        refuse_usage(f"the archive has several endpoints: name one of {', '.join(endpoints)}")
    chosen = endpoint or endpoints[0]
    if chosen not in endpoints:
        raise UnknownEndpointError(f"the archive {opened.text} has no endpoint {chosen!r}, only {', '.join(endpoints)}")
    return chosen


def check_span(since: dt.datetime | None, until: dt.datetime | None) -> None:
    """Checks that a span of time is not empty.

    Raises:
        typer.Exit: status 2, after one message: it ends before it begins.
    """
    if since is not None and until is not None and since >= until:
        refuse_usage(f"--since {since:%Y-%m-%d %H:%M:%S} does not lie before --until {until:%Y-%m-%d %H:%M:%S}")


def refuse_usage(message: str) -> NoReturn:
    """Prints an error on standard error and ends with status 2: the command was not used as it can be."""
    error_console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(2)
