"""`rendezvous history` and `rollback`: earlier revisions of a specification."""

from typing import Annotated, Any

import typer
from rendezvous.spec import spec_to_dict

from rendezvous_router.cli._shared import (
    JsonOption,
    NatsOption,
    cell,
    connected,
    console,
    fail,
    new_table,
    print_json,
    run,
)
from rendezvous_router.cli.specs import take_up, unknown_endpoint
from rendezvous_router.spec_changes import diff_specs
from rendezvous_router.spec_store import SpecRevision, SpecStore

_Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint.", metavar="ENDPOINT")]


def history(endpoint: _Endpoint, nats: NatsOption = None, json: JsonOption = False) -> None:
    """Lists the kept revisions of an endpoint's specification, and what each changed."""
    run(_history(endpoint, nats=nats, as_json=json))


async def _history(endpoint: str, *, nats: str | None, as_json: bool) -> None:
    async with connected(nats) as client:
        revisions = await SpecStore(client).history(endpoint)
        if not revisions:
            raise await unknown_endpoint(client, endpoint)
    if as_json:
        print_json([_document(each) for each in revisions])
        return
    table = new_table("revision", "stored (UTC)", "what")
    before = None
    for each in revisions:
        diff = [line for line in diff_specs(before, each.spec) if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        what = "deleted" if each.spec is None else f"{len(diff)} lines changed" if before else "created"
        table.add_row(cell(each.revision), f"{each.created:%Y-%m-%d %H:%M:%S}", what)
        before = each.spec
    console.print(table)


def _document(each: SpecRevision) -> dict[str, Any]:
    spec = None if each.spec is None else spec_to_dict(each.spec)
    return {"revision": each.revision, "created": each.created.isoformat(), "spec": spec}


def rollback(
    endpoint: _Endpoint,
    to: Annotated[int | None, typer.Option("--to", help="Revision; default: the one before the latest.")] = None,
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for a router to take it up; 0: do not wait.")] = 10.0,
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Puts an earlier revision of an endpoint's specification in force again, as a new revision."""
    run(_rollback(endpoint, to, wait_s=wait_s, nats=nats, as_json=json))


async def _rollback(endpoint: str, to: int | None, *, wait_s: float, nats: str | None, as_json: bool) -> None:
    async with connected(nats) as client:
        revision = await SpecStore(client).rollback(endpoint, to)
        state = await take_up(client, endpoint, revision, wait_s)
    if as_json:
        print_json({"endpoint": endpoint, "revision": revision, "state": state})
    else:
        console.print(f"endpoint {endpoint}: {state}, revision {revision}", highlight=False)
    if state == "not taken up":
        fail(f"no router has taken up {endpoint} within {wait_s:g} s; it is stored: see the router's log")
