"""Which policy decides which recorded request: the file's, alone or in the endpoint of the day; or that of the day."""

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rendezvous.backtest import Trial
from rendezvous.spec import ColumnSpec, EndpointSpec, SpecError, parse_spec, spec_to_dict
from rendezvous_sdk.archive.reader import Archive

__all__ = ["Policies", "PolicyFileError", "RecordedSpec", "read_policy"]


class PolicyFileError(ValueError):
    """The file holds no policy that can be tried; the message tells what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedSpec:
    """One revision of the endpoint's specification, from the record."""

    revision: int
    """Its revision."""
    spec: EndpointSpec | None
    """The specification; None: the record does not have it, or it needs a rule that is not installed."""

    @property
    def deadline_s(self) -> float | None:
        """The policy's deadline, seconds; None: unknown."""
        return None if self.spec is None else self.spec.policy.deadline_s


def read_policy(path: Path) -> dict[str, Any]:
    """Reads what is to be tried: a whole endpoint file, or one with nothing but its section `policy`.

    Raises:
        PolicyFileError: the file cannot be read, or is neither.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PolicyFileError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, Mapping) or "policy" not in document:
        raise PolicyFileError(f"{path}: write an endpoint file, or one with the section `policy:` alone")
    document = dict(document)
    if "endpoint" in document:
        _parse(document, str(path))
    elif set(document) != {"policy"}:
        more = ", ".join(sorted(set(map(str, document)) - {"policy"}))
        raise PolicyFileError(f"{path}: beside `policy` it has {more}: write a whole endpoint file, or `policy` alone")
    return document


def _parse(document: Mapping[str, Any], where: str) -> EndpointSpec:
    try:
        return parse_spec(document)
    except SpecError as error:
        raise PolicyFileError(f"{where}: {error}") from error


class Policies:
    """Finds the specification that was in force, and the trial of a request.

    Args:
        archive: the whole record of the endpoint, whatever the time that is asked for.
        document: what is tried, of `read_policy`; None: each request's own policy.
        margin_s: what the routers keep back from a deadline.

    Raises:
        PolicyFileError: the policy does not fit any of the recorded revisions.
    """

    def __init__(self, archive: Archive, document: Mapping[str, Any] | None, *, margin_s: float) -> None:
        self._document = document
        self._margin_s = margin_s
        self._whole = None
        if document is not None and "endpoint" in document:
            self._whole = self._try(_parse(document, "the endpoint file"))
        self._told: dict[tuple[str, int], tuple[list[int], list[RecordedSpec]]] = {}
        self._unknown: dict[int, RecordedSpec] = {}
        self._trials: dict[RecordedSpec, Trial | None] = {}
        self.misfits: dict[int, str] = {}
        """Why a revision's requests cannot be decided, by revision."""
        self._read(archive)

    def _read(self, archive: Archive) -> None:
        found = archive.sql(
            "SELECT router, spec_revision, stream_sequence, spec FROM decisions WHERE spec IS NOT NULL "
            "ORDER BY stream_sequence, batch_index"
        ).fetchall()
        parsed: dict[tuple[int, str], RecordedSpec] = {}
        for router, revision, sequence, text in found:
            spec = parsed.get((revision, text))
            if spec is None:
                spec = parsed[revision, text] = RecordedSpec(revision, self._recorded(revision, text))
            for key in ((router, revision), ("", revision)):
                sequences, specs = self._told.setdefault(key, ([], []))
                sequences.append(sequence)
                specs.append(spec)

    def _recorded(self, revision: int, text: str) -> EndpointSpec | None:
        try:
            return parse_spec(json.loads(text))
        except ValueError as error:
            self.misfits[revision] = f"its recorded specification is not valid here: {error}"
            return None

    @property
    def outputs(self) -> list[ColumnSpec]:
        """Outputs of what is tried and of all recorded revisions; of one name, the newest."""
        known = sorted((specs[-1] for (router, _), (_, specs) in self._told.items() if not router), key=_revision)
        specs = [each.spec for each in known if each.spec is not None] + ([self._whole.spec] if self._whole else [])
        return list({column.name: column for spec in specs for column in spec.outputs}.values())

    def in_force(self, router: str, revision: int, sequence: int) -> RecordedSpec:
        """Returns the specification under which a router decided.

        Args:
            router: the router's id.
            revision: the revision that the decision names.
            sequence: the decision's sequence in the stream: where a bucket was made anew, numbers come again.
        """
        told = self._told.get((router, revision)) or self._told.get(("", revision))
        if told is None:
            return self._unknown.setdefault(revision, RecordedSpec(revision, None))
        sequences, specs = told
        return specs[max(0, bisect_right(sequences, sequence) - 1)]

    def trial(self, recorded: RecordedSpec) -> Trial | None:
        """Returns what decides requests of a revision; None: nothing can, `misfits` tells why."""
        if self._whole is not None:
            return self._whole
        if recorded not in self._trials:
            self._trials[recorded] = self._trial(recorded)
        return self._trials[recorded]

    def _trial(self, recorded: RecordedSpec) -> Trial | None:
        if recorded.spec is None:
            self.misfits.setdefault(recorded.revision, "the record does not have its specification: give a whole file")
            return None
        if self._document is None:
            return self._try(recorded.spec)
        document = spec_to_dict(recorded.spec) | {"policy": self._document["policy"]}
        try:
            return self._try(parse_spec(document))
        except SpecError as error:
            self.misfits[recorded.revision] = str(error)
            return None

    def _try(self, spec: EndpointSpec) -> Trial:
        return Trial(spec, margin_s=self._margin_s)


def _revision(recorded: RecordedSpec) -> int:
    return recorded.revision
