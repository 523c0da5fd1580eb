"""What a copied parcel says: the same requests and rows, and nobody to answer to. No I/O."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import check_frame, join_frames, split_frame, type_name
from rendezvous_proto.signatures import check_signature

from rendezvous_router.mirror.errors import MirrorError
from rendezvous_router.version import VERSION

__all__ = ["COMPONENT", "Selection", "check_columns", "copy_parcel", "is_sound", "select_columns", "take_sample"]

COMPONENT = v1.Provenance(component="rendezvous-mirror", version=VERSION)
"""What a mirror adds to the provenance of each request."""

_HASH_RANGE = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of a parcel is copied: some of its requests, with the rows of each."""

    items: Sequence[v1.ParcelItem]
    """The requests."""
    frame: v1.Frame
    """Their rows, in their order."""


def take_sample(parcel: v1.Parcel, share: float) -> Selection | None:
    """Returns the requests of a parcel that belong to the sample; None: none does.

    Which ones do follows from their ids alone (SHA-256), so a second look takes the same, and a smaller share a part of
    what a larger one takes.

    Args:
        parcel: a sound parcel.
        share: 0 to 1.
    """
    if share >= 1:
        return Selection(items=list(parcel.items), frame=parcel.inputs)
    chosen = [index for index, item in enumerate(parcel.items) if _is_chosen(item.request_id, share)]
    if not chosen:
        return None
    if len(chosen) == len(parcel.items):
        return Selection(items=list(parcel.items), frame=parcel.inputs)
    frames = split_frame(parcel.inputs, [item.rows for item in parcel.items])
    return Selection(
        items=[parcel.items[index] for index in chosen], frame=join_frames([frames[index] for index in chosen])
    )


def _is_chosen(request_id: str, share: float) -> bool:
    number = int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8], "big")
    return number < share * _HASH_RANGE


def select_columns(frame: v1.Frame, columns: Sequence[v1.ColumnSpec]) -> v1.Frame:
    """Returns the columns of a frame that an endpoint takes, in its order; all, where it declares none.

    Raises:
        SignatureMismatchError: one is missing, has another type or shape, or holds what is not allowed there.
    """
    if not columns:
        return frame
    by_name = {column.name: column for column in frame.columns}
    kept = v1.Frame(rows=frame.rows, columns=[by_name[spec.name] for spec in columns if spec.name in by_name])
    check_signature(kept, columns, what="inputs of the target")
    return kept


def is_sound(parcel: v1.Parcel) -> bool:
    """Returns whether a parcel can be cut and copied."""
    rows = [item.rows for item in parcel.items]
    if not rows or min(rows) < 1 or sum(rows) != parcel.inputs.rows:
        return False
    try:
        check_frame(parcel.inputs)
    except InvalidFrameError:
        return False
    return True


def copy_parcel(
    parcel_id: str, selection: Selection, *, endpoint: str, router: str, spec_revision: int, budget_us: int
) -> v1.Parcel:
    """Returns the parcel for the target.

    Ids, rows and context are the source's. Deadlines begin anew; traces and diagnostics end here: the trace would go on
    in another installation, and a model forced by name may not be there.

    Args:
        parcel_id: of the source; also the copy's.
        selection: what is copied.
        endpoint: name of the endpoint there.
        router: return address; nobody listens at it.
        spec_revision: revision of the endpoint's specification there.
        budget_us: time in which the target's models may score it, microseconds.
    """
    now = time.time_ns() // 1000
    items = [
        v1.ParcelItem(
            request_id=item.request_id,
            rows=item.rows,
            deadline_unix_us=now + budget_us,
            budget_us=budget_us,
            context=item.context,
            provenance=[*item.provenance, COMPONENT],
        )
        for item in selection.items
    ]
    return v1.Parcel(
        parcel_id=parcel_id,
        endpoint=endpoint,
        router=router,
        sealed_unix_us=now,
        spec_revision=spec_revision,
        items=items,
        inputs=selection.frame,
    )


def check_columns(source: Sequence[v1.ColumnSpec], target: Sequence[v1.ColumnSpec], names: tuple[str, str]) -> None:
    """Checks that the source's inputs have the columns that the target takes; it may have more.

    Args:
        source: input columns as the source's models see them; empty: not declared.
        target: columns that the target takes; empty: anything.
        names: of source and target, for the message.

    Raises:
        MirrorError: names every column that does not fit.
    """
    if not source or not target:
        return
    there = {spec.name: spec for spec in source}
    faults = [fault for spec in target if (fault := _fault(spec, there.get(spec.name)))]
    if faults:
        raise MirrorError(f"the inputs of {names[0]} do not fit {names[1]}: {'; '.join(faults)}")


def _fault(wanted: v1.ColumnSpec, there: v1.ColumnSpec | None) -> str:
    if there is None:
        return f"column {wanted.name} ({_shown(wanted)}) is missing"
    if (wanted.type, list(wanted.shape)) != (there.type, list(there.shape)):
        return f"column {wanted.name} is {_shown(there)}, expected {_shown(wanted)}"
    return ""


def _shown(spec: v1.ColumnSpec) -> str:
    return type_name(spec.type) + (str(list(spec.shape)) if spec.shape else "")
