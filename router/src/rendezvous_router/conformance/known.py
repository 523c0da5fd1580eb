"""Known failures: cases that are run all the same, expected to fail, each with its reason."""

from pathlib import Path

import yaml

from rendezvous_router.conformance.case import CASES

__all__ = ["KnownFailuresError", "load_known_failures"]


class KnownFailuresError(ValueError):
    """The file cannot be used; the message names it and what is wrong."""


def load_known_failures(path: Path) -> dict[str, str]:
    """Reads a YAML mapping of case ids to reasons.

    Raises:
        KnownFailuresError: the file cannot be read, is no such mapping, or names a case that does not exist.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise KnownFailuresError(f"{path}: {error}") from error
    known = {} if document is None else document
    if not isinstance(known, dict):
        raise KnownFailuresError(f"{path}: write one line for each case, as in `grpc.reflection: why it fails`")
    for case_id, reason in known.items():
        if case_id not in CASES:
            raise KnownFailuresError(
                f"{path}: there is no case {case_id!r}; `rendezvous conformance --list` lists them"
            )
        if not isinstance(reason, str) or not reason.strip():
            raise KnownFailuresError(f"{path}: case {case_id} has no reason: say in a sentence why it fails")
    return known
