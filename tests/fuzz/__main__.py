"""`python -m tests.fuzz [SECONDS] [TARGET...]`: searches for inputs that break something; exit code 1 if one did.

Half of the time goes to the parsers, each in a process of its own under atheris (libFuzzer, guided by coverage; where
it is not installed, Hypothesis), the other half to both doors of a running router. What was reached is kept in
`.tools/fuzz`, so that the next run goes on from there.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import TARGETS, seeds_of

CORPUS = Path(".tools/fuzz")
LARGEST_BYTES = 16 << 10
"""Largest input that atheris thinks of."""
INPUT_S = 10
"""Longest time for one input before atheris says that it hangs."""
RSS_MIB = 2048
"""Most memory of a process that searches: the instrumented libraries and the corpus are in it."""


def main(arguments: list[str]) -> int:
    """Runs everything for the time given, and returns the exit code."""
    seconds = float(arguments[0]) if arguments else 300.0
    names = arguments[1:] or list(TARGETS)
    share_s = max(2, int(seconds / 2 / len(names)))
    broken = [name for name in names if not _search(name, share_s)]
    if not arguments[1:]:
        environment = {**os.environ, "RENDEZVOUS_FUZZ_SECONDS": str(seconds / 2)}
        command = [sys.executable, "-m", "pytest", "-q", "--timeout=0", "tests/fuzz/test_fuzz_doors.py"]
        broken += ["doors"] if subprocess.run(command, env=environment, check=False).returncode else []
    print(f"fuzz: broken: {', '.join(broken)}" if broken else "fuzz: nothing broke", flush=True)
    return 1 if broken else 0


def _search(name: str, seconds: int) -> bool:
    if find_spec("atheris") is None:
        environment = {**os.environ, "RENDEZVOUS_FUZZ_EXAMPLES": str(200 * seconds)}
        command = [sys.executable, "-m", "pytest", "-q", "--timeout=0", "tests/fuzz/test_fuzz_targets.py", "-k", name]
        return subprocess.run(command, env=environment, check=False).returncode == 0
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(corpus), f"-max_total_time={seconds}"]
    command += [f"-artifact_prefix={CORPUS}/{name}-", f"-max_len={LARGEST_BYTES}", f"-timeout={INPUT_S}"]
    done = subprocess.run(
        [*command, f"-rss_limit_mb={RSS_MIB}", "-verbosity=0"], check=False, capture_output=True, text=True
    )
    count = len(list(corpus.iterdir()))
    print(f"fuzz: {name}: {'broken' if done.returncode else 'sound'}, {count} inputs kept", flush=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], file=sys.stderr, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
