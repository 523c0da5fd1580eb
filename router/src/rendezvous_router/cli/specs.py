"""`rendezvous apply`, `get`, `describe`, `delete`: endpoint specifications."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from nats.js.errors import NotFoundError
from rendezvous.spec import ColumnSpec, EndpointSpec, spec_to_dict
from rendezvous_proto.errors import UnknownEndpointError
from rendezvous_proto.postbox import durable_stream, score_stream
from rendezvous_sdk.nats_connection import Connection

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
from rendezvous_router.fleet import ModelState, read_models, read_routers, wait_for_revision
from rendezvous_router.project import load_spec
from rendezvous_router.spec_changes import describe_policy, diff_specs, spec_text
from rendezvous_router.spec_store import SpecStore

_Names = Annotated[str, typer.Argument(help="Name of the endpoint.", metavar="ENDPOINT")]


class Output(StrEnum):
    """How a specification is printed."""

    YAML = "yaml"
    JSON = "json"


def apply(
    files: Annotated[list[Path], typer.Argument(help="Files with endpoint specifications, YAML or JSON.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for a router to take it up; 0: do not wait.")] = 10.0,
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Puts endpoint specifications in force; no restart, no failed request. `rollback` goes back."""
    run(_apply(files, dry_run=dry_run, wait_s=wait_s, nats=nats, as_json=json))


async def _apply(files: list[Path], *, dry_run: bool, wait_s: float, nats: str | None, as_json: bool) -> None:
    specs = [load_spec(path) for path in files]
    results = []
    async with connected(nats) as client:
        for spec in specs:
            result = await _apply_one(client, spec, dry_run=dry_run, wait_s=wait_s)
            results.append(result)
            if not as_json:
                _show_applied(result)
    if as_json:
        print_json(results)
    late = [result["endpoint"] for result in results if result["state"] == "not taken up"]
    if late:
        fail(f"no router has taken up {', '.join(late)} within {wait_s:g} s; it is stored: see the router's log")


async def _apply_one(client: Connection, spec: EndpointSpec, *, dry_run: bool, wait_s: float) -> dict[str, Any]:
    store = SpecStore(client)
    stored = await store.get(spec.endpoint)
    result: dict[str, Any] = {"endpoint": spec.endpoint, "diff": diff_specs(stored[0] if stored else None, spec)}
    if stored is not None and stored[0] == spec:
        return {**result, "state": "unchanged", "revision": stored[1]}
    if dry_run:
        return {**result, "state": "would change", "revision": stored[1] if stored else None}
    revision = await store.put(spec, expected_revision=stored[1] if stored else 0)
    return {**result, "state": await take_up(client, spec.endpoint, revision, wait_s), "revision": revision}


async def take_up(client: Connection, endpoint: str, revision: int, wait_s: float) -> str:
    """Waits for a router to have a revision in force; returns `in force`, `not taken up` or `stored`."""
    if wait_s <= 0 or not await read_routers(client):
        return "stored"
    return "in force" if await wait_for_revision(client, endpoint, revision, wait_s) else "not taken up"


def _show_applied(result: dict[str, Any]) -> None:
    for line in result["diff"]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)
    revision = f", revision {result['revision']}" if result["revision"] else ""
    hint = " (no router is running; the next one takes it up)" if result["state"] == "stored" else ""
    console.print(f"endpoint {result['endpoint']}: {result['state']}{revision}{hint}", highlight=False)


def get(
    endpoint: Annotated[str | None, typer.Argument(help="Name of the endpoint; none: list all.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Format of the specification.")] = Output.YAML,
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Prints an endpoint's specification, or the list of endpoints."""
    run(_get(endpoint, as_json=json or output is Output.JSON, nats=nats))


async def _get(endpoint: str | None, *, as_json: bool, nats: str | None) -> None:
    async with connected(nats) as client:
        if endpoint is not None:
            spec, _ = await require_spec(client, endpoint)
            print_json(spec_to_dict(spec)) if as_json else typer.echo(spec_text(spec), nl=False)
            return
        stored = await SpecStore(client).list()
    if as_json:
        print_json([{**spec_to_dict(spec), "revision": revision} for spec, revision in stored])
        return
    table = new_table("endpoint", "revision", "models", "deadline", "description")
    for spec, revision in stored:
        models = ", ".join(spec.models)
        table.add_row(spec.endpoint, cell(revision), models, spec.policy.deadline, cell(spec.description))
    console.print(table)


def describe(endpoint: _Names, nats: NatsOption = None, json: JsonOption = False) -> None:
    """Tells an endpoint's signature, its models and how they do, and its policy in words."""
    run(_describe(endpoint, nats=nats, as_json=json))


async def _describe(endpoint: str, *, nats: str | None, as_json: bool) -> None:
    async with connected(nats) as client:
        spec, revision = await require_spec(client, endpoint)
        states = await read_models(client, endpoint)
        routers = [router for router in await read_routers(client) if endpoint in router["endpoints"]]
    if as_json:
        print_json(
            {
                "spec": spec_to_dict(spec),
                "revision": revision,
                "policy": describe_policy(spec),
                "models": [model_document(state) for state in states],
                "routers": routers,
            }
        )
        return
    console.print(f"[bold]{endpoint}[/], revision {revision}. {cell(spec.description)}", highlight=False)
    added = [(f"added by enricher {name}", enricher.outputs) for name, enricher in spec.enrichers.items()]
    for title, columns in (("inputs", spec.inputs), *added, ("outputs", spec.outputs)):
        console.print(_column_table(title, columns))
    table = new_table("model", "role", "version", "replicas", "lag", title="\nmodels")
    for state in states:
        replicas = len(state.replicas)
        table.add_row(state.model, state.role or "-", state.version or "-", cell(replicas), cell(state.lag))
    console.print(table)
    console.print("\npolicy", style="italic")
    for sentence in describe_policy(spec):
        console.print(f"  {cell(sentence)}", highlight=False)
    addresses = ", ".join(str(router["grpc"]) for router in routers) or "none"
    console.print(f"\nrouters: {addresses}", highlight=False)


def _column_table(title: str, columns: list[ColumnSpec]) -> object:
    table = new_table("column", "type", "shape", "missing", "description", title=f"\n{title}")
    for column in columns:
        shape = "x".join(map(str, column.shape)) or "scalar"
        allowed = "allowed" if column.missing else "-"
        table.add_row(cell(column.name), column.type, shape, allowed, cell(column.description))
    return table


def model_document(state: ModelState) -> dict[str, Any]:
    """Returns a model's state as JSON shows it."""
    return {
        "endpoint": state.endpoint,
        "model": state.model,
        "version": state.version,
        "role": state.role,
        "lag": state.lag,
        "replicas": list(state.replicas),
        "counts": state.counts,
    }


def delete(
    endpoint: _Names,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete its streams and history: requests, scores, decisions.")
    ] = False,
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Deletes an endpoint's specification. Its streams stay, and `rollback` brings it back, unless --purge."""
    run(_delete(endpoint, purge=purge, nats=nats, as_json=json))


async def _delete(endpoint: str, *, purge: bool, nats: str | None, as_json: bool) -> None:
    async with connected(nats) as client:
        store = SpecStore(client)
        if not await store.delete(endpoint) and not purge:
            raise await unknown_endpoint(client, endpoint)
        if purge:
            await store.purge(endpoint)
            for stream in (durable_stream(endpoint), score_stream(endpoint)):
                await _delete_stream(client, stream)
    if as_json:
        print_json({"endpoint": endpoint, "deleted": True, "purged": purge})
    else:
        note(f"endpoint {endpoint}: deleted{', with streams and history' if purge else ''}")


async def _delete_stream(client: Connection, stream: str) -> None:
    try:
        await client.jetstream().delete_stream(stream)
    except NotFoundError:
        note(f"stream {stream} was not there")


async def require_spec(client: Connection, endpoint: str) -> tuple[EndpointSpec, int]:
    """Returns an endpoint's specification and revision.

    Raises:
        UnknownEndpointError: there is no such endpoint.
    """
    stored = await SpecStore(client).get(endpoint)
    if stored is None:
        raise await unknown_endpoint(client, endpoint)
    return stored


async def unknown_endpoint(client: Connection, endpoint: str) -> UnknownEndpointError:
    """Returns the error that names an unknown endpoint and those that there are."""
    known = ", ".join(await SpecStore(client).names()) or "none"
    return UnknownEndpointError(f"endpoint {endpoint!r} is not known; known: {known}", {"endpoint": endpoint})
