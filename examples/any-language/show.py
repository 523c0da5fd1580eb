"""One endpoint, seven languages: starts all that are built here, sends 200 applicants, shows who answered.

Ends with status 0 if every model that was started answered every request as the Python one did, and leaves nothing
running.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from google.protobuf import json_format
from nats.aio.client import Client
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.postbox import MODELS_BUCKET
from rendezvous_sdk import AsyncClient
from rendezvous_sdk.nats_connection import connect
from rich.console import Console
from rich.table import Table

from examples.credit.applicants import load_applicants
from examples.credit.stack import Stack, StackError
from examples.credit.standing import Record, Scored, read_record

from .joining import BARE, ENDPOINT, REFERENCE, TITLES, PolyglotStack, find_built

APPLICANTS = 200
TOLERANCE = 1e-12
"""How far two languages' probabilities may be apart."""
_TYPES = {"checking_account": "STRING", "duration_months": "INT64", "credit_amount": "FP64", "age_years": "INT64"}
_IN_FLIGHT = 4
_WARM_UP = 20
_RECORD_S = 20.0

console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=110)


class PolyglotError(RuntimeError):
    """The languages did not all answer, or did not agree; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one model did."""

    model: str
    answered: int
    """Requests that it scored."""
    agreed: int
    """Of those, the ones where its label is the reference's, and its probability within TOLERANCE."""
    furthest: float
    """Largest difference of a probability from the reference's."""
    median_ms: float
    """From the moment when the postbox stored a request to the one when it stored the score."""
    first: int
    """Requests to which it was the first to answer, so that its answer was given."""


def choose_applicants() -> list[dict[str, Any]]:
    """Returns applicants of the credit example; every seventh without an account's state, every fifth without a sum."""
    rows = load_applicants().table[list(_TYPES)].head(APPLICANTS).to_dict("records")
    for place, row in enumerate(rows):
        if place % 7 == 0:
            row["checking_account"] = None
        row["credit_amount"] = None if place % 5 == 0 else float(row["credit_amount"])
    return rows


async def send(client: AsyncClient, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sends one request for each applicant, a few at a time; returns the ids of the requests."""
    waiting = iter(rows)
    sent: list[str] = []

    async def work() -> None:
        for row in waiting:
            frame = encode_frame({name: [row[name]] for name in _TYPES}, types=_TYPES)
            sent.append((await client.score(frame, timeout=10.0)).request_id)

    await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
    return sent


async def read_complete(nats: Client, models: Sequence[str], request_ids: frozenset[str]) -> Record:
    """Reads the record until every model's score of every request is in it, or for 20 s."""
    end = time.monotonic() + _RECORD_S
    while True:
        record = await read_record(nats, ENDPOINT, request_ids)
        is_complete = all(len(record.scores[model]) == len(request_ids) for model in models)
        if (is_complete and len(record.decisions) == len(request_ids)) or time.monotonic() > end:
            return record


def sum_up(record: Record, models: Sequence[str]) -> list[Row]:
    """Returns how each model did, in the order of *models*."""
    reference = record.scores[REFERENCE]
    first = [decision.models[0] for decision in record.decisions.values() if decision.models]
    return [_sum_up_model(model, record.scores[model], reference, first.count(model)) for model in models]


def _sum_up_model(model: str, scores: Mapping[str, Scored], reference: Mapping[str, Scored], first: int) -> Row:
    shared = [(scores[each], reference[each]) for each in scores if each in reference]
    apart = [abs(score.default_probability - other.default_probability) for score, other in shared]
    same = [far <= TOLERANCE and score.label == other.label for far, (score, other) in zip(apart, shared, strict=True)]
    times = sorted(score.after_ms for score in scores.values()) or [float("nan")]
    return Row(
        model=model,
        answered=len(scores),
        agreed=sum(same),
        furthest=max(apart, default=float("nan")),
        median_ms=times[len(times) // 2],
        first=first,
    )


def print_rows(rows: Sequence[Row], runtimes: Mapping[str, str]) -> None:
    """Prints who answered."""
    table = Table()
    for heading in ("language", "runtime", "joined by"):
        table.add_column(heading)
    for heading in ("answered", "agrees", "furthest apart", "median ms", "first"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            TITLES[row.model],
            runtimes.get(row.model, "?"),
            "bridge" if row.model in BARE else "SDK",
            f"{row.answered} of {APPLICANTS}",
            f"{row.agreed / max(row.answered, 1):.0%}",
            f"{row.furthest:.0e}" if row.furthest else "0",
            f"{row.median_ms:.1f}",
            str(row.first),
        )
    console.print(table)


async def read_runtimes(nats: Client) -> dict[str, str]:
    """Returns what each registered model runs on, as it says itself."""
    bucket = await nats.jetstream().key_value(MODELS_BUCKET)
    infos = [
        json_format.Parse((await bucket.get(key)).value or b"{}", v1.ModelInfo(), ignore_unknown_fields=True)
        for key in await bucket.keys()
    ]
    return {info.name: info.runtime for info in infos}


async def show(stack: Stack) -> str:
    """Sends the applicants and prints the table; returns the id of one request.

    Raises:
        PolyglotError: a model did not answer, or not as the reference.
    """
    models = stack.models
    rows = choose_applicants()
    async with AsyncClient(stack.address, ENDPOINT) as client:
        await send(client, rows[:_WARM_UP])  # what each process does once, it does here
        sent = await send(client, rows)
    nats = await connect(stack.nats_url, name="polyglot", timeout_s=5.0)
    try:
        record = await read_complete(nats, models, frozenset(sent))
        runtimes = await read_runtimes(nats)
    finally:
        await nats.close()
    results = sum_up(record, models)
    print_rows(results, runtimes)
    wrong = [
        f"{TITLES[row.model]} answered {row.answered} and agreed on {row.agreed}"
        for row in results
        if (row.answered, row.agreed) != (APPLICANTS, APPLICANTS)
    ]
    if wrong:
        raise PolyglotError(f"of {APPLICANTS} requests {'; '.join(wrong)}")
    return sent[len(sent) // 2]


def explain(stack: Stack, request_id: str) -> None:
    """Prints what `rendezvous explain` says of a request.

    Raises:
        PolyglotError: it failed.
    """
    console.print(f"$ rendezvous explain {request_id}")
    command = [stack.script("rendezvous"), "explain", request_id, "--nats", stack.nats_url]
    width = {**os.environ, "COLUMNS": str(console.width)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False, env=width)
    if done.returncode:
        raise PolyglotError(f"`rendezvous explain` failed: {(done.stderr or done.stdout).strip()}")
    console.print(done.stdout.rstrip(), markup=False)


def _run() -> None:
    built, left_out = find_built()
    console.print(f"One endpoint, {len(built)} languages: {', '.join(TITLES[name] for name in built)}.")
    for name, reason in left_out.items():
        console.print(f"Left out: {TITLES[name]}: {reason}", style="yellow", markup=False, soft_wrap=True)
    with PolyglotStack(built) as stack:
        stack.wait_until_ready()
        console.rule(f"[bold]{APPLICANTS} applicants, some values missing, each scored in every language")
        request_id = asyncio.run(show(stack))
        console.rule("[bold]One of them")
        explain(stack, request_id)
    console.print("\nEverything is stopped again.")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Runs the demo; returns the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run()
    except (PolyglotError, StackError) as error:
        console.print(f"\nFailed: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        with suppress(OSError):
            console.print("\nInterrupted; everything is stopped.")
        return 130
    return 0
