"""`rendezvous explain`."""

import dataclasses
import datetime as dt
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from rendezvous_router.cli._shared import (
    JsonOption,
    NatsOption,
    cell,
    connected,
    console,
    fail,
    new_table,
    print_json,
    progress_bar,
    run,
)
from rendezvous_router.explanation import EnricherAnswer, Explanation, ModelAnswer, explain_request


def explain(
    request_id: Annotated[str, typer.Argument(help="Id of the request.", metavar="REQUEST_ID")],
    endpoint: Annotated[str | None, typer.Option(help="Endpoint that was asked; default: look in all.")] = None,
    nats: NatsOption = None,
    json: JsonOption = False,
) -> None:
    """Tells why a request was answered as it was: every model's answer, when it came, and the rule that chose.

    Where there are enrichers: what each added, or why it did not.
    """
    run(_explain(request_id, endpoint, nats=nats, as_json=json))


async def _explain(request_id: str, endpoint: str | None, *, nats: str | None, as_json: bool) -> None:
    async with connected(nats) as client:
        with progress_bar() as progress:
            task = progress.add_task("reading decisions", total=None)
            explanation = await explain_request(
                client,
                request_id,
                endpoint,
                on_progress=lambda read, total: progress.update(task, completed=read, total=total),
            )
    if explanation is None:
        where = f"endpoint {endpoint}" if endpoint else "any endpoint"
        fail(
            f"no decision on request {request_id} is kept in {where}: "
            "it may be too recent (decisions are written in batches), too old, or was never accepted"
        )
    print_json(to_document(explanation)) if as_json else show(explanation)


def to_document(explanation: Explanation) -> dict[str, Any]:
    """Returns an explanation as JSON shows it."""
    record = explanation.record
    return {
        "endpoint": explanation.endpoint,
        "decision": MessageToDict(record.decision, preserving_proto_field_name=True),
        "error": MessageToDict(record.error, preserving_proto_field_name=True) if record.HasField("error") else None,
        "parcel_id": record.parcel_id,
        "router": record.router,
        "decided_unix_us": record.decided_unix_us,
        "inputs": explanation.inputs,
        "outputs": explanation.outputs,
        "models": [dataclasses.asdict(answer) for answer in explanation.models],
        "enrichers": [dataclasses.asdict(answer) for answer in explanation.enrichers],
    }


def show(explanation: Explanation) -> None:
    """Prints an explanation for people."""
    record = explanation.record
    decision = record.decision
    when = dt.datetime.fromtimestamp(record.decided_unix_us / 1e6, dt.UTC)
    console.print(
        f"request [bold]{cell(decision.request_id)}[/] of endpoint {explanation.endpoint}, "
        f"decided {when:%Y-%m-%d %H:%M:%S.%f} UTC by router {cell(record.router)}",
        highlight=False,
    )
    console.print(
        f"rule [bold]{cell(decision.rule)}[/] after {decision.decided_after_us / 1000:.2f} ms, "
        f"{decision.deadline_left_us / 1000:.2f} ms before the deadline; "
        f"specification revision {decision.spec_revision}",
        highlight=False,
    )
    console.print(f"because {cell(decision.reason)}", highlight=False)
    answer = cell(record.error.message) if record.HasField("error") else cell(_short(explanation.outputs))
    console.print(f"answer {answer}\n", highlight=False)
    table = new_table("", "model", "version", "role", "status", "after ms", "output or error")
    for model in explanation.models:
        table.add_row(*_row(model))
    console.print(table)
    if explanation.enrichers:
        added = new_table("enricher", "version", "stage", "columns", "output or error", title="\nenrichers")
        for enricher in explanation.enrichers:
            added.add_row(*_enricher_row(enricher))
        console.print(added)


def _row(model: ModelAnswer) -> list[str]:
    return [
        "*" if model.is_chosen else "",
        model.model,
        model.version or "-",
        model.role or "-",
        model.status,
        "-" if model.after_ms is None else f"{model.after_ms:.2f}",
        cell(model.error or _short(model.outputs)),
    ]


def _enricher_row(answer: EnricherAnswer) -> list[str]:
    return [
        answer.enricher,
        answer.version or "-",
        str(answer.stage or "-"),
        f"{answer.status} ({answer.reason})" if answer.reason else answer.status,
        cell(answer.error or _short(answer.outputs)),
    ]


def _short(rows: list[dict[str, Any]]) -> str:
    """Returns rows as text: the first, and how many more."""
    if not rows:
        return "-"
    first = ", ".join(f"{name} = {cell(value)}" for name, value in rows[0].items())
    return first if len(rows) == 1 else f"{first} ({len(rows) - 1} more rows)"
