"""Whether a candidate fits the history that it is to score, and the endpoint whose other scores it is compared with."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from rendezvous_proto import v1
from rendezvous_proto.frames import type_name, type_number
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchivedFile, ArchiveError, read_current
from rendezvous_sdk.archive.schema import SignatureColumn, signature_of

from rendezvous_router.replay.errors import ReplayError

__all__ = ["check_identity", "check_inputs", "check_outputs", "recorded_outputs"]

_SOURCES = ((SCORES, "scores"), (DURABLE, "decisions"))


def check_identity(info: v1.ModelInfo, name: str, version: str, where: str) -> None:
    """Checks that a candidate is the model under whose name its scores will be kept.

    Raises:
        ReplayError: it says that it is another.
    """
    wrong_name = info.name not in ("", name)
    if wrong_name or info.version not in ("", version):
        told = ":".join(part for part in (info.name, info.version) if part)
        raise ReplayError(
            f"{where} says that it is {told}, not {name}:{version}: its scores would be kept under the wrong name; "
            f"give --model {told}, or serve it as {name}:{version}"
        )


def check_inputs(wanted: Sequence[v1.ColumnSpec], history: Sequence[SignatureColumn], endpoint: str) -> None:
    """Checks that the history has the columns that a candidate takes.

    Args:
        wanted: the candidate's declared inputs; empty: it takes anything.
        history: typed columns of the archive's newest rows; empty: the endpoint declares none.
        endpoint: for the message.

    Raises:
        ReplayError: columns are missing, or have another type or shape; names all of them.
    """
    if not wanted or not history:
        return
    there = {column.name: column for column in history}
    faults = [_fault(SignatureColumn.of(spec), there.get(spec.name)) for spec in wanted]
    if told := [fault for fault in faults if fault]:
        raise ReplayError(
            f"the candidate does not fit the inputs of endpoint {endpoint}: {'; '.join(told)}. "
            f"The archive has {', '.join(there)}"
        )


def check_outputs(given: Sequence[v1.ColumnSpec], recorded: Sequence[SignatureColumn], endpoint: str) -> None:
    """Checks that a candidate gives what the endpoint's models give; arguments and errors as of `check_inputs`.

    Output columns without a declared type are compared by name; those not declared at all when they come.
    """
    if not given or not recorded:
        return
    wanted = {column.name: column for column in recorded}
    there = {spec.name: spec for spec in given}
    faults = [f"column {name} is missing" for name in wanted if name not in there]
    faults += [f"column {name} is none of the endpoint's" for name in there if name not in wanted]
    for name in wanted.keys() & there.keys():
        if there[name].type:
            faults.append(_fault(wanted[name], SignatureColumn.of(there[name])))
    if told := [fault for fault in faults if fault]:
        raise ReplayError(
            f"the candidate's outputs are not those of endpoint {endpoint}: {'; '.join(told)}; "
            "they could not be compared with the other models'"
        )


def recorded_outputs(root: ArchiveRoot, tenant: str, endpoint: str) -> list[v1.ColumnSpec]:
    """Returns the output columns of the endpoint as its record has them; none where no score has typed columns."""
    for source, kind in _SOURCES:
        for entry in reversed(read_current(root, tenant, endpoint, [source])):
            for file in entry.files:
                if file.kind == kind and (columns := _columns(root, file)):
                    return [_spec(column) for column in columns]
    return []


def _columns(root: ArchiveRoot, file: ArchivedFile) -> list[SignatureColumn]:
    try:
        with root.filesystem.open_input_file(root.at(file.path)) as stream:
            return list(signature_of(pq.read_schema(stream)).values())
    except FileNotFoundError:
        return []  # compacted since: another one tells the same
    except pa.ArrowInvalid as error:
        raise ArchiveError(f"the file {file.path} of the archive is damaged: {error}") from error


def _spec(column: SignatureColumn) -> v1.ColumnSpec:
    return v1.ColumnSpec(
        name=column.name,
        type=type_number(column.type),  # type: ignore[arg-type] # the enum's number
        shape=column.shape,
        allow_missing=True,
        allow_nan=True,
    )


def _fault(wanted: SignatureColumn, there: SignatureColumn | None) -> str:
    if there is None:
        return f"column {wanted.name} ({_shown(wanted)}) is missing"
    if (wanted.type, wanted.shape) == (there.type, there.shape):
        return ""
    return f"column {wanted.name} is {_shown(there)}, expected {_shown(wanted)}"


def _shown(column: SignatureColumn) -> str:
    kind = column.type if not column.type.isdigit() else type_name(int(column.type))
    return kind + (str(list(column.shape)) if column.shape else "")
