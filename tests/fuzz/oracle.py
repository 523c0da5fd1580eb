"""What must hold for every input: errors of ours or none, bounded time, bounded memory."""

import resource
import time
from collections.abc import Callable

from rendezvous.spec import SpecError
from rendezvous_proto.errors import InternalError, RendezvousError
from rendezvous_router.project import ProjectError
from rendezvous_router.rest.problems import HttpFaultError

Target = Callable[[bytes], None]

INPUT_S = 5.0
"""Processor time that one input may take."""
GROWTH = 100
"""Times its own size that an input may cost in memory,"""
SPARE_BYTES = 32 << 20
"""beyond this much, which is what the allocator and the libraries take at their leisure."""
SPEC_ERRORS = (SpecError, ProjectError)
"""What may come of a file of the operator's."""


class ExcessError(AssertionError):
    """An input cost too much time or memory."""


def refuse(error: BaseException) -> None:
    """Lets an error pass that a client may see: a leaf class of ours that is not the router's fault."""
    if isinstance(error, HttpFaultError):
        assert 400 <= error.status < 500, error
        error = error.error
    assert isinstance(error, RendezvousError), error
    assert type(error) not in (RendezvousError, InternalError), error
    assert error.facts.http_status != 500, error
    assert error.message, error
    error.to_proto().SerializeToString()


def try_input(target: Target, octets: bytes, *, limit_s: float = INPUT_S) -> None:
    """Runs *target* on one input, which may take *limit_s* seconds of processor time.

    Raises:
        ExcessError: it took too long or too much memory.
        Exception: whatever the target did not expect.
    """
    peak_kib, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    try:
        target(octets)
    except (RendezvousError, HttpFaultError) as error:
        refuse(error)
    took_s = time.thread_time() - started_s
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kib) << 10
    if took_s > limit_s:
        raise ExcessError(f"{len(octets)} bytes took {took_s:.1f} s, the limit is {limit_s:g} s")
    if grown > SPARE_BYTES + GROWTH * len(octets):
        raise ExcessError(f"{len(octets)} bytes took {grown >> 20} MiB, the limit is {GROWTH} times as many and 32 MiB")
