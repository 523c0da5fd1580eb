"""Known failures: cases that are run all the same, expected to fail, each with its reason."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import yaml

from rendezvous_router.conformance.case import CASES

__all__ = ["KnownFailuresError", "load_known_failures"]

_HOW = "write one line for each case, as in `grpc.reflection: why it fails`"


class KnownFailuresError(ValueError):
    """The file cannot be used; the message names it and what is wrong."""


def load_known_failures(path: Path) -> dict[str, str]:
    """Reads a YAML mapping of case ids to reasons.

    Raises:
        KnownFailuresError: the file cannot be read, is no such mapping, or names a case that does not exist.
    """
    try:
        lines = dict(_lines(path))
    except OSError as error:
        raise KnownFailuresError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise KnownFailuresError(f"{path} is not UTF-8 text: {error}") from error
    except yaml.MarkedYAMLError as error:
        raise KnownFailuresError(f"{_place(path, error)}: this is no YAML: {error.problem}; {_HOW}") from error
    except yaml.YAMLError as error:
        raise KnownFailuresError(f"{path}: this is no YAML: {error}; {_HOW}") from error
    for case_id, (line, _) in lines.items():
        if case_id not in CASES:
            near = get_close_matches(case_id, CASES, n=1, cutoff=0.0)[0]
            raise KnownFailuresError(
                f"{path}, line {line}: there is no case {case_id!r}; the nearest is {near!r}, "
                "and `rendezvous conformance --list` lists them"
            )
    for case_id, (line, reason) in lines.items():
        if not reason:
            raise KnownFailuresError(
                f"{path}, line {line}: case {case_id} has no reason: say in a sentence why it fails"
            )
    return {case_id: reason for case_id, (_, reason) in lines.items()}


def _lines(path: Path) -> Iterator[tuple[str, tuple[int, str]]]:
    """Yields each case's id, line and reason; the reason is empty where there is none in words."""
    document = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    if document is None:
        return
    if not isinstance(document, yaml.MappingNode):
        raise KnownFailuresError(f"{path}: {_HOW}")
    for key, value in document.value:
        is_text = isinstance(value, yaml.ScalarNode) and value.tag == "tag:yaml.org,2002:str"
        yield str(key.value), (key.start_mark.line + 1, value.value.strip() if is_text else "")


def _place(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark is not None else str(path)
