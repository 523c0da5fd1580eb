"""`rendezvous archive compact`, `retain` and `forget`."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict
from typing import Annotated

import typer
from rendezvous.spec import parse_duration
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_sdk.archive.layout import KINDS, ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchiveError, list_endpoints
from rendezvous_sdk.nats_connection import Connection
from rich.markup import escape

from rendezvous_router.archive.compaction import Compacted, CompactionOptions
from rendezvous_router.archive.compaction import compact as compact_archive
from rendezvous_router.archive.forget import SETTLE_S, Forgotten, read_undeleted
from rendezvous_router.archive.forget import forget as forget_subject
from rendezvous_router.archive.forget_messages import Backlog, DeletedMessages, delete_messages, read_backlog
from rendezvous_router.archive.retention import Retained, RetentionOptions
from rendezvous_router.archive.retention import retain as retain_archive
from rendezvous_router.archive.subject import Subject
from rendezvous_router.archive.sweeping import GRACE_S
from rendezvous_router.archive.upkeep import UpkeepOptions, parse_size, upkeep_options
from rendezvous_router.cli._archive import (
    ArchiveOption,
    EndpointArgument,
    EndpointOption,
    TenantOption,
    archive_root,
    archive_tenant,
    choose_endpoint,
)
from rendezvous_router.cli._shared import (
    JsonOption,
    NatsOption,
    cell,
    connected,
    console,
    fail,
    new_table,
    note,
    print_json,
    run,
)

__all__ = ["GraceOption", "KeepBytesOption", "KeepOption", "UpkeepEveryOption", "add_commands", "upkeep_of"]

_WAIT_S = 30.0


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"{text!r}: write NAME=VALUE")
    return name, value


_GraceOption = Annotated[
    float,
    typer.Option(
        "--grace", parser=_seconds, metavar="10m", help="How long replaced files stay for those who read them."
    ),
]
KeepOption = Annotated[
    str,
    typer.Option(
        "--keep",
        envvar="RENDEZVOUS_ARCHIVE_KEEP",
        metavar="90d",
        help="Remove days that ended longer ago; none: never.",
    ),
]
KeepBytesOption = Annotated[
    str,
    typer.Option(
        "--keep-bytes",
        envvar="RENDEZVOUS_ARCHIVE_KEEP_BYTES",
        metavar="50GB",
        help="Remove an endpoint's oldest days until the rest is not larger; none: never.",
    ),
]
GraceOption = Annotated[
    str,
    typer.Option(
        "--grace",
        envvar="RENDEZVOUS_ARCHIVE_GRACE",
        metavar="10m",
        help="How long replaced files stay for those who read them.",
    ),
]
UpkeepEveryOption = Annotated[
    str,
    typer.Option(
        "--upkeep-every",
        envvar="RENDEZVOUS_ARCHIVE_UPKEEP_EVERY",
        metavar="1m",
        help="Time between two rounds of merging and removing; 0s: neither is done.",
    ),
]
_TrialOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")]


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to `rendezvous archive`."""
    app.command("compact")(compact)
    app.command("retain")(retain)
    app.command("forget")(forget)


def upkeep_of(*, keep: str, keep_bytes: str, grace: str, every: str) -> UpkeepOptions | None:
    """Returns what the process does in the background, of its options; None: nothing.

    Raises:
        InvalidRequestError: a value is malformed, or something is to be removed and nothing done.
    """
    try:
        every_s = parse_duration(every)
        options = upkeep_options(keep=keep, keep_bytes=keep_bytes, interval_s=every_s, grace_s=parse_duration(grace))
    except ValueError as error:
        raise InvalidRequestError(str(error)) from error
    if every_s:
        return options
    if options.retention is not None:
        raise InvalidRequestError("--keep and --keep-bytes need upkeep: leave out --upkeep-every 0s")
    return None


def compact(
    endpoint: EndpointArgument = None,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    target: Annotated[
        int, typer.Option("--target", parser=_size, metavar="128MiB", help="Size from which a file is left alone.")
    ] = "128MiB",  # type: ignore[assignment] # typer parses the default, too
    fully: Annotated[bool, typer.Option("--fully", help="Merge all neighbours, not only whole tiers.")] = False,
    grace: _GraceOption = f"{GRACE_S:g}s",  # type: ignore[assignment] # typer parses the default, too
    json: JsonOption = False,
) -> None:
    """Merges small files and manifest entries into larger ones. The archiver does so by itself."""

    async def work() -> None:
        root, owner, endpoints = _open(archive, tenant, endpoint)
        options = CompactionOptions(target_bytes=target, grace_s=grace)
        done = {name: compact_archive(root, owner, name, options, fully=fully, wait_s=_WAIT_S) for name in endpoints}
        _show_compacted(done, as_json=json)

    _run_checked(work)


def retain(
    endpoint: EndpointArgument = None,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    max_age: Annotated[
        float | None,
        typer.Option("--max-age", parser=_seconds, metavar="90d", help="Remove days that ended longer ago."),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            "--max-bytes", parser=_size, metavar="50GB", help="Remove the oldest days until the rest is not larger."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help=f"Only this kind (repeatable): {', '.join(KINDS)}.")
    ] = None,
    dry_run: _TrialOption = False,
    grace: _GraceOption = f"{GRACE_S:g}s",  # type: ignore[assignment] # typer parses the default, too
    json: JsonOption = False,
) -> None:
    """Removes the oldest days, of one endpoint or of all together. Today is never removed."""
    if max_age is None and max_bytes is None:
        raise typer.BadParameter("give --max-age, --max-bytes or both")

    async def work() -> None:
        root, owner, endpoints = _open(archive, tenant, endpoint)
        options = RetentionOptions(max_age_s=max_age, max_bytes=max_bytes, kinds=tuple(kind or KINDS), grace_s=grace)
        done = retain_archive(root, owner, endpoints, options, is_trial=dry_run, wait_s=_WAIT_S)
        _show_retained(done, dry_run=dry_run, as_json=json)

    _run_checked(work)


def forget(
    endpoint: EndpointOption = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="NAME=VALUE", help="Requests whose context has it, and outcomes by it."),
    ] = None,
    request: Annotated[list[str] | None, typer.Option("--request", metavar="ID", help="This request.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=VALUE", help="Rows whose input column has the value."),
    ] = None,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    dry_run: _TrialOption = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Do not ask the server; the messages are deleted by the next run that does."),
    ] = False,
    settle: Annotated[
        float, typer.Option("--settle", parser=_seconds, metavar="10m", help="Leave requests that are younger.")
    ] = f"{SETTLE_S:g}s",  # type: ignore[assignment] # typer parses the default, too
    grace: Annotated[
        float, typer.Option("--grace", parser=_seconds, metavar="0s", help="How long the old files stay for readers.")
    ] = "0s",  # type: ignore[assignment] # typer parses the default, too
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Removes a subject's rows from the archive, and the messages that they came in from the streams.

    Without a subject it deletes messages that an earlier run could not. Status 1 when something was left that another
    run must see to: requests that are too young, or messages that the server did not delete.
    """
    subject = Subject(
        keys=tuple(map(_pair, key or ())), request_ids=tuple(request or ()), columns=tuple(map(_pair, column or ()))
    )

    async def work() -> None:
        root, owner, _ = _open(archive, tenant, endpoint)
        name = choose_endpoint(archive_root(archive), owner, endpoint)
        async with _maybe_connected(nats, offline=offline) as client:
            backlog = await read_backlog(client, root, owner, name) if client is not None else None
            done = forget_subject(
                root,
                owner,
                name,
                subject,
                is_trial=dry_run,
                settle_s=settle,
                archived_until_unix_us=None if backlog is None else backlog.archived_until_unix_us,
                grace_s=grace,
            )
            deleted = None
            if client is not None and not dry_run:
                deleted = await delete_messages(client, root, owner, name)
        left = len(read_undeleted(root, owner, name))
        _show_forgotten(done, backlog, deleted, left, dry_run=dry_run, as_json=json)

    _run_checked(work)


def _run_checked(work: Callable[[], Coroutine[None, None, None]]) -> None:
    try:
        run(work())
    except (ArchiveError, ValueError, OSError) as error:
        fail(str(error))


def _open(archive: str | None, tenant: str | None, endpoint: str | None) -> tuple[ArchiveRoot, str, list[str]]:
    """Returns the archive, the tenant and the endpoints that are meant: the one that is named, or all."""
    text, owner = archive_root(archive), archive_tenant(tenant)
    root = ArchiveRoot.parse(text)
    endpoints = list_endpoints(root, owner)
    if endpoint is not None or not endpoints:
        return root, owner, [choose_endpoint(text, owner, endpoint)]
    return root, owner, endpoints


@contextlib.asynccontextmanager
async def _maybe_connected(nats: str | None, *, offline: bool) -> AsyncIterator[Connection | None]:
    if offline:
        yield None
        return
    try:
        async with connected(nats) as client:
            yield client
    except ConnectionError as error:
        raise ConnectionError(f"{error}; or forget --offline, and delete the messages later") from error


def _show_compacted(done: dict[str, Compacted], *, as_json: bool) -> None:
    if as_json:
        print_json([{"endpoint": name, **asdict(each)} for name, each in done.items()])
        return
    table = new_table("endpoint", "entries", "files", "deleted", "waiting for readers")
    for name, each in done.items():
        table.add_row(
            escape(name),
            f"{each.entries_before} -> {each.entries_after}",
            f"{each.files_before} -> {each.files_after}",
            f"{each.swept.files} files, {each.swept.bytes / 1e6:.1f} MB",
            cell(each.swept.waiting),
        )
    console.print(table)


def _show_retained(done: Retained, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(done), "rows": done.rows, "dry_run": dry_run})
        return
    table = new_table("endpoint", "day", "kind", "rows", "MB")
    for each in done.removed:
        table.add_row(escape(each.endpoint), each.day, each.kind, cell(each.rows), f"{each.bytes / 1e6:.1f}")
    if done.removed:
        console.print(table)
    verb = "would be removed" if dry_run else "removed"
    console.print(f"{done.rows} rows {verb}; kept from {done.oldest_day or 'nowhere'} on, {done.bytes / 1e6:.1f} MB")


def _show_forgotten(
    done: Forgotten,
    backlog: Backlog | None,
    deleted: DeletedMessages | None,
    left: int,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    unarchived = None if backlog is None else backlog.messages
    if as_json:
        told = {"dry_run": dry_run, "messages_deleted": deleted.deleted if deleted else 0, "messages_left": left}
        print_json({**asdict(done), "total_rows": done.total_rows, **told, "unarchived": unarchived})
    else:
        table = new_table("kind", "rows")
        for kind, rows in done.rows.items():
            table.add_row(kind, cell(rows))
        console.print(table)
        verb = "would be removed" if dry_run else "removed"
        console.print(f"{done.total_rows} rows of {done.requests} requests {verb}, {done.files} files written anew")
        if deleted is not None:
            console.print(f"{deleted.deleted} messages deleted from the streams, {deleted.gone} were gone already")
    if left and not dry_run:
        note(f"{left} messages are still in the streams: run `rendezvous archive forget` where the server is reached")
    if unarchived:
        note(f"{unarchived} messages of the streams are not archived yet: run it again when they are")
    if done.young:
        note(f"{done.young} requests were left, because something may still come of them: run it again later")
    if not dry_run and (done.young or (left and deleted is not None)):
        raise typer.Exit(1)
