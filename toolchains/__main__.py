"""`python -m toolchains prepare|test [LANGUAGE ...]`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from toolchains.building import STAMPS, BuildError, build, is_built
from toolchains.clients import CLIENTS
from toolchains.containers import CONTAINERS
from toolchains.languages import LANGUAGES, ROOT, Language
from toolchains.observability import OBSERVERS
from toolchains.tools import can_install, find_gaps, how_to_get, install


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status.

    Status 1: a build or a test failed, or, where the variable CI is set, a language's tools are missing.
    """
    parser = argparse.ArgumentParser(prog="python -m toolchains", description="Prepares the languages beside Python.")
    parser.add_argument("verb", choices=["prepare", "test"])
    known = {**LANGUAGES, **OBSERVERS, **CLIENTS, CONTAINERS.name: CONTAINERS}
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=f"of {', '.join(known)}; none: all")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.languages if name not in known]:
        parser.error(f"unknown language {unknown[0]!r}: use one of {', '.join(known)}")
    chosen = [known[name] for name in given.languages or known]
    verb = _prepare if given.verb == "prepare" else _test
    return max(verb(language) for language in chosen)


def _prepare(language: Language) -> int:
    gaps = find_gaps(language)
    if gaps and can_install():
        _say(language, f"installing {' '.join(language.packages)}")
        problem = install(language.packages)
        gaps = [f"installing failed: {problem}"] if problem else find_gaps(language)
    if gaps:
        (STAMPS / language.name).unlink(missing_ok=True)
        _say(language, f"LEFT OUT: {'; '.join(gaps)}. {how_to_get(language)}")
        return 1 if os.environ.get("CI") else 0
    try:
        _say(language, build(language))
    except BuildError as error:
        _say(language, f"BUILD FAILED: {error}")
        return 1
    return 0


def _test(language: Language) -> int:
    if not language.test:
        return 0
    if not is_built(language):
        _say(language, "tests SKIPPED: it is not built; see `make languages`")
        return 1 if os.environ.get("CI") else 0
    done = subprocess.run(
        list(language.test), cwd=ROOT, env={**os.environ, **language.environment}, stdin=subprocess.DEVNULL, check=False
    )
    _say(language, "tests passed" if done.returncode == 0 else f"tests FAILED (status {done.returncode})")
    return min(done.returncode, 1)


def _say(language: Language, what: str) -> None:
    print(f"{language.title}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
