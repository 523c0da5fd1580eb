"""Checks under load: how fast the candidate answers at a rate, and what requests cost it in memory for good."""

import asyncio
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from rendezvous_proto import v1

from rendezvous_router.conformance.caller import refusal_of
from rendezvous_router.conformance.case import Failed, NotApplicable
from rendezvous_router.model_test.candidate import Candidate
from rendezvous_router.model_test.cases import Latency, Memory

__all__ = ["check_latency", "check_memory", "group_resident_bytes"]

_WARM_REQUESTS = 500
_AT_ONCE = 8
_PROC = Path("/proc")


async def check_latency(wanted: Latency, candidate: Candidate) -> str:
    """Sends requests of one row at a rate, answered or not, and times each from when it was due.

    Raises:
        Failed: too slow, or one was not answered.
    """
    requests = [v1.ScoreRequest(inputs=candidate.rows.frame([row])) for row in candidate.rows.rows]
    await candidate.still_answers("being started")
    count = max(1, math.ceil(wanted.rate_per_s * wanted.seconds))
    loop = asyncio.get_running_loop()
    began = loop.time() + 0.01
    tasks = []
    late_s = 0.0
    for number in range(count):
        due = began + number / wanted.rate_per_s
        if (pause_s := due - loop.time()) > 0:
            await asyncio.sleep(pause_s)
        late_s = max(late_s, loop.time() - due)
        tasks.append(asyncio.create_task(_timed(candidate, requests[number % len(requests)], due)))
    took_s = sorted(_all_answered(await asyncio.gather(*tasks, return_exceptions=True)))
    told = {share: took_s[min(count - 1, math.ceil(share * count) - 1)] for share in (0.5, 0.99)}
    said = f"p50 {told[0.5] * 1e3:.1f} ms, p99 {told[0.99] * 1e3:.1f} ms of {count} requests"
    for share, limit_s in wanted.limits_s().items():
        if told[share] > limit_s:
            why = f"; this program was itself up to {late_s * 1e3:.0f} ms late" if late_s > limit_s else ""
            raise Failed(f"{said}; p{share * 100:g} is to be at most {limit_s * 1e3:g} ms{why}")
    return said


def _all_answered(found: Sequence[float | BaseException]) -> list[float]:
    failed = [each for each in found if isinstance(each, BaseException)]
    if failed:
        raise failed[0]
    return [each for each in found if not isinstance(each, BaseException)]


async def _timed(candidate: Candidate, request: v1.ScoreRequest, due: float) -> float:
    try:
        await candidate.caller.stub.Score(request, timeout=candidate.call_limit_s)
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        raise Failed(f"a request was not answered: {refusal.status} {refusal.code} {refusal.details!r}") from error
    return asyncio.get_running_loop().time() - due


async def check_memory(wanted: Memory, candidate: Candidate) -> str:
    """Counts the resident memory of the candidate's processes before and after requests, warmed up.

    Raises:
        Failed: it grew by more than it may.
        NotApplicable: the candidate was not started here, or the system does not tell.
    """
    if not candidate.site.options.run:
        raise NotApplicable("needs the candidate's process: start it with --run")
    if not os.path.isdir(_PROC):  # noqa: ASYNC240 - of the kernel, in memory
        raise NotApplicable("this system does not tell the memory of processes")
    requests = [v1.ScoreRequest(inputs=candidate.rows.frame([row])) for row in candidate.rows.rows]
    pid = candidate.site.programs[0].pid
    await _send(candidate, requests, min(wanted.requests, _WARM_REQUESTS))
    before = group_resident_bytes(pid)
    started = time.monotonic()
    await _send(candidate, requests, wanted.requests)
    grown = group_resident_bytes(pid) - before
    said = (
        f"grew by {grown / 2**20:.1f} MiB in {wanted.requests} requests, to {(before + grown) / 2**20:.0f} MiB "
        f"({wanted.requests / (time.monotonic() - started):.0f} requests/s)"
    )
    if grown > wanted.limit_bytes:
        raise Failed(
            f"{said}; at most {wanted.grows_at_most} is allowed, {grown / wanted.requests / 1024:.1f} KiB a request"
        )
    return said


async def _send(candidate: Candidate, requests: Sequence[v1.ScoreRequest], count: int) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await _timed(candidate, requests[number % len(requests)], 0.0)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


def group_resident_bytes(leader: int) -> int:
    """Returns the resident memory of all processes of a process group, bytes; Linux only.

    Args:
        leader: id of the group's first process.
    """
    page, total = os.sysconf("SC_PAGE_SIZE"), 0
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[2]) == leader:
            total += int(fields[21]) * page
    return total
