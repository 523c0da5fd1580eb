"""A short search for inputs that break a parser, the same each time; `make fuzz` searches longer."""

import os
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from rendezvous_proto.errors import InternalError, RendezvousError

from tests.fuzz.mutation import mutated
from tests.fuzz.oracle import ExcessError, try_input
from tests.fuzz.targets import TARGETS, seeds_of

EXAMPLES = int(os.environ.get("RENDEZVOUS_FUZZ_EXAMPLES", "200"))
"""For each target."""


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_it(name: str) -> None:
    """Seeds, earlier findings and what is made of them: an answer or an error of ours, in bounded time and memory."""
    target, _ = TARGETS[name]
    seeds = seeds_of(name)
    for seed in seeds:  # libraries are loaded now, and not charged to an input
        with suppress(RendezvousError):
            target(seed)
    for seed in seeds:
        try_input(target, seed)

    @given(octets=mutated(seeds))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def search(octets: bytes) -> None:
        try_input(target, octets)

    search()


def test_what_is_broken_is_found() -> None:
    """Exceptions of others, errors that blame the router, time and memory: each is told."""

    def fail(octets: bytes) -> None:
        raise KeyError(octets)

    def blame(octets: bytes) -> None:
        raise InternalError("a fault of the router")

    def grow(octets: bytes) -> None:
        assert b"x" * (256 << 20)

    def wait(octets: bytes) -> None:
        until_s = time.thread_time() + 0.6
        while time.thread_time() < until_s:
            pass

    for target, error in ((fail, KeyError), (blame, AssertionError), (grow, ExcessError), (wait, ExcessError)):
        with pytest.raises(error):
            try_input(target, b"x", limit_s=0.5)
