"""One target under atheris: `python -m tests.fuzz.guided TARGET CORPUS [libFuzzer's options]`."""

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["rendezvous", "rendezvous_proto", "rendezvous_router", "rendezvous_sdk"]):
    from tests.fuzz.oracle import try_input
    from tests.fuzz.targets import TARGETS, seeds_of

if __name__ == "__main__":
    _target = TARGETS[sys.argv[1]][0]
    for _seed in seeds_of(sys.argv[1]):
        with suppress(
            Exception
        ):  # libraries are loaded now, and not charged to an input; atheris tries the seeds again
            _target(_seed)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda octets: try_input(_target, octets))
    atheris.Fuzz()
