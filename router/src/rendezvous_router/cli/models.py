"""`rendezvous models`."""

from typing import Annotated

import typer

from rendezvous_router.cli._shared import JsonOption, NatsOption, cell, connected, console, new_table, print_json, run
from rendezvous_router.cli.specs import model_document, require_spec
from rendezvous_router.fleet import ModelState, read_models

_COUNTS = ("scored", "won", "late", "failed", "invalid", "expired")


def models(
    endpoint: Annotated[str | None, typer.Argument(help="Name of the endpoint; none: all.")] = None,
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Lists models and enrichers: live replicas, versions, parcels waiting, times and faults as the routers saw them.

    Times are from a parcel's sealing to the score's arrival, over the latest 1,024 scores. What got an enricher's
    defaults is counted as `defaulted` with --json.
    """
    run(_models(endpoint, nats=nats, as_json=json))


async def _models(endpoint: str | None, *, nats: str | None, as_json: bool) -> None:
    async with connected(nats) as client:
        if endpoint is not None:
            await require_spec(client, endpoint)
        states = await read_models(client, endpoint)
    if as_json:
        print_json([model_document(state) for state in states])
        return
    table = new_table("endpoint", "model", "version", "role", "replicas", "lag", "p50 ms", "p99 ms", *_COUNTS)
    for state in states:
        table.add_row(*_row(state))
    console.print(table)


def _row(state: ModelState) -> list[str]:
    counts = state.counts
    return [
        state.endpoint,
        state.model,
        state.version or "-",
        state.role or "-",
        _replicas(state),
        cell(state.lag),
        cell(counts.get("p50_ms")),
        cell(counts.get("p99_ms")),
        *(cell(counts.get(name, 0)) for name in _COUNTS),
    ]


def _replicas(state: ModelState) -> str:
    """Returns how many live, and how many of them are bridges whose model server is down."""
    down = sum(replica.get("state") == "down" for replica in state.replicas)
    return f"{len(state.replicas)} ({down} down)" if down else str(len(state.replicas))
