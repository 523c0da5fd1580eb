"""`rendezvous archive`: the process that archives, and what is done to an archive."""

import asyncio
import dataclasses
import logging
from typing import Annotated

import typer
from rendezvous_proto.errors import InvalidRequestError, UnavailableError
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import list_endpoints
from rendezvous_sdk.logs import configure_logs
from rendezvous_sdk.signals import heed_sigterm_early

from rendezvous_router.archive.process import ArchiveOptions, run_archive
from rendezvous_router.archive.verify import EndpointReport, StreamState, read_stream_states, verify_endpoint
from rendezvous_router.cli._archive import ArchiveOption, TenantOption, archive_root, archive_tenant
from rendezvous_router.cli._shared import (
    JsonOption,
    NatsOption,
    cell,
    connected,
    console,
    fail,
    nats_address,
    new_table,
    note,
    print_json,
    run,
)
from rendezvous_router.cli.archive_upkeep import (
    GraceOption,
    KeepBytesOption,
    KeepOption,
    UpkeepEveryOption,
    add_commands,
    upkeep_of,
)

_log = logging.getLogger(__name__)

app = typer.Typer(help="Archives requests, scores, decisions and feedback; and what is done to an archive.")


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    nats: NatsOption = None,
    endpoint: Annotated[list[str] | None, typer.Option(help="Archive only this endpoint (repeatable).")] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(envvar="RENDEZVOUS_GRPC_PORT", help="Port of gRPC health, 0 a free one; none: it is not served."),
    ] = None,
    grpc_host: Annotated[str, typer.Option(envvar="RENDEZVOUS_GRPC_HOST", help="Address to listen on.")] = "127.0.0.1",
    keep: KeepOption = "",
    keep_bytes: KeepBytesOption = "",
    grace: GraceOption = "10m",
    upkeep_every: UpkeepEveryOption = "1m",
    log_level: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_LOG_LEVEL", help="debug, info, warning, error.")
    ] = "info",
    log_format: Annotated[str, typer.Option(envvar="RENDEZVOUS_LOG_FORMAT", help="text or json.")] = "text",
) -> None:
    """Archives every endpoint's requests, scores, decisions and feedback as Parquet, until it is told to stop.

    With a subcommand, does that instead.
    """
    if context.invoked_subcommand is not None:
        return
    heed_sigterm_early()
    try:
        configure_logs(log_level, log_format)
        options = ArchiveOptions(
            nats=nats_address(nats),
            root=ArchiveRoot.parse(archive_root(archive)),
            tenant=archive_tenant(tenant),
            only=tuple(endpoint or ()),
            grpc_port=grpc_port,
            grpc_host=grpc_host,
            upkeep=upkeep_of(keep=keep, keep_bytes=keep_bytes, grace=grace, every=upkeep_every),
        )
        asyncio.run(run_archive(options))
    except InvalidRequestError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error
    except (UnavailableError, OSError) as error:
        _log.error("stopped: %s", error)
        raise SystemExit(1) from error


@app.command()
def verify(
    endpoint: Annotated[str | None, typer.Argument(help="Name of the endpoint; none: all in the archive.")] = None,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every column and check the pages' checksums.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Check the archive only; do not ask the server.")] = False,
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Proves the archive complete: every sequence of the streams is in it, once, every file whole. Status 1 if not."""
    run(
        _verify(
            endpoint, archive_root(archive), archive_tenant(tenant), deep=deep, nats=nats, offline=offline, json=json
        )
    )


async def _verify(
    endpoint: str | None, archive: str, tenant: str, *, deep: bool, nats: str | None, offline: bool, json: bool
) -> None:
    root = ArchiveRoot.parse(archive)
    there = list_endpoints(root, tenant)
    endpoints = [name for name in there if endpoint in (None, name)]
    if not endpoints:
        known = ", ".join(there) or "none"
        fail(f"the archive {root.text} has no endpoint {endpoint or '*'} of tenant {tenant}: it has {known}")
    streams = {} if offline else await _read_streams(endpoints, nats)
    reports = [verify_endpoint(root, tenant, name, streams=streams.get(name), deep=deep) for name in endpoints]
    if json:
        print_json([_document(report) for report in reports])
    else:
        _show(reports)
    incomplete = [report.endpoint for report in reports if not report.is_complete]
    if incomplete:
        fail(f"the archive of {', '.join(incomplete)} is not complete")


async def _read_streams(endpoints: list[str], nats: str | None) -> dict[str, dict[str, StreamState]]:
    async with connected(nats) as client:
        return {name: await read_stream_states(client, name) for name in endpoints}


def _document(report: EndpointReport) -> dict[str, object]:
    return {**dataclasses.asdict(report), "is_complete": report.is_complete, "pending": report.pending}


def _show(reports: list[EndpointReport]) -> None:
    table = new_table(
        "endpoint", "complete", "source", "messages", "sequences", "missing", "pending", "files", "requests"
    )
    for report in reports:
        for number, source in enumerate(report.sources):
            is_first = number == 0
            table.add_row(
                report.endpoint if is_first else "",
                ("yes" if report.is_complete else "NO") if is_first else "",
                source.source,
                cell(source.messages),
                ", ".join(f"{each.first}-{each.last}" for each in source.generations) or "-",
                cell(sum(each.last - each.first + 1 for each in source.missing)),
                cell(source.pending),
                cell(report.files) if is_first else "",
                cell(report.requests) if is_first else "",
            )
    console.print(table)
    for report in reports:
        _show_faults(report)


def _show_faults(report: EndpointReport) -> None:
    for source in report.sources:
        for each in source.missing:
            note(f"{report.endpoint}: {source.source}: sequences {each.first} to {each.last} are missing")
        for each in source.twice:
            note(f"{report.endpoint}: {source.source}: sequences {each.first} to {each.last} are there twice")
    for damage in report.damaged:
        note(f"{report.endpoint}: {damage}")
    for warning in report.warnings:
        note(f"{report.endpoint}: warning: {warning}")
    for kind, rows in report.notes.items():
        note(f"{report.endpoint}: {rows} rows were removed by {kind}")
    if "retention" in report.notes:
        kept = ", ".join(f"{kind} from {day} on" for kind, day in report.kept_from.items()) or "nothing"
        note(f"{report.endpoint}: kept: {kept}")
    if report.repeated_requests:
        note(f"{report.endpoint}: requests in several parcels, no fault: {', '.join(report.repeated_requests[:10])}")
    if report.undecided:
        note(f"{report.endpoint}: {report.undecided} requests have no decision (yet), no fault")


add_commands(app)
