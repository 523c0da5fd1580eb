"""What commands that read the archive share: which archive, whose, which endpoint, and which time."""

import datetime as dt
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pyarrow import ArrowInvalid
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem
from rendezvous._durations import parse_duration
from rich.markup import escape

from rendezvous_router._state import find_state, find_state_folder
from rendezvous_router.cli._shared import error_console
from rendezvous_router.passes import TENANTS_FOLDER
from rendezvous_router.tenants.register import RegisterFile

DEFAULT_ARCHIVE = "archive"
DEFAULT_TENANT = "default"
_TENANT = "tenant="
_ENDPOINT = "endpoint="


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


def choose_endpoint(root: str, tenant: str, endpoint: str | None) -> str:
    """Returns the endpoint that is meant: the one named, or the only one that the archive has of the tenant.

    Args:
        root: folder or URL of the archive.
        tenant: name of the tenant.
        endpoint: name that the user gave; None: none.

    Returns:
        A name that the archive has.

    Raises:
        typer.Exit: status 1, after one message: there is no such archive, tenant or endpoint, or there are
            several and none was named (status 2).
    """
    files, folder = _open_root(root)
    tenants = _names(files, folder, _TENANT)
    if not tenants:
        _refuse(f"there is no archive at {root}: give its folder or URL with --archive")
    if tenant not in tenants:
        _refuse(f"the archive at {root} has nothing of tenant {tenant}, only of {', '.join(tenants)}: see --tenant")
    endpoints = _names(files, f"{folder}/{_TENANT}{tenant}", _ENDPOINT)
    if not endpoints:
        _refuse(f"the archive at {root} has no endpoint of tenant {tenant} yet")
    if endpoint is None and len(endpoints) > 1:
        _refuse(f"the archive has several endpoints: name one of {', '.join(endpoints)}", status=2)
    chosen = endpoint or endpoints[0]
    if chosen not in endpoints:
        _refuse(f"the archive at {root} has no endpoint {chosen}, only {', '.join(endpoints)}")
    return chosen


def check_span(since: dt.datetime | None, until: dt.datetime | None) -> None:
    """Checks that a span of time is not empty.

    Raises:
        typer.Exit: status 2, after one message: it ends before it begins.
    """
    if since is not None and until is not None and since >= until:
        _refuse(f"--since {since:%Y-%m-%d %H:%M:%S} does not lie before --until {until:%Y-%m-%d %H:%M:%S}", status=2)


def _open_root(root: str) -> tuple[FileSystem, str]:
    if "://" not in root:
        return LocalFileSystem(), str(Path(root).absolute())
    try:
        files, folder = FileSystem.from_uri(root)
    except (ArrowInvalid, OSError, NotImplementedError) as error:
        _refuse(f"the archive's address {root} cannot be used: {error}")
    return files, folder.rstrip("/")


def _names(files: FileSystem, folder: str, prefix: str) -> list[str]:
    try:
        found = files.get_file_info(FileSelector(folder, allow_not_found=True))
    except OSError as error:
        _refuse(f"the archive at {folder} cannot be read: {error}")
    folders = (each.base_name for each in found if each.type != FileType.File)
    return sorted(name.removeprefix(prefix) for name in folders if name.startswith(prefix))


def _refuse(message: str, status: int = 1) -> NoReturn:
    error_console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(status)
