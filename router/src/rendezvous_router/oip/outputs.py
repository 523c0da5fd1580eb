"""Columns of an answer as the tensors that were asked for."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rendezvous.spec import ColumnSpec
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, shown
from rendezvous_proto.nearest import nearest_name

from rendezvous_router.oip.inputs import MISSING, wanted_text

__all__ = ["check_wanted", "pick_outputs"]

_BOOL = v1.DataType.DATA_TYPE_BOOL


def check_wanted(wanted: Sequence[str], declared: Sequence[ColumnSpec], what: str) -> None:
    """Checks that all outputs asked for are there.

    Args:
        wanted: names of tensors.
        declared: the signature's output columns.
        what: whose they are, for messages: `endpoint credit`.

    Raises:
        InvalidRequestError: one is unknown, or asked for twice.
    """
    if not wanted:
        return
    known = {column.name for column in declared}
    known |= {name + MISSING for name in known}
    for name in wanted:
        if name not in known:
            near = nearest_name(name, known)
            hint = f", did you mean {near!r}?" if near else f": it has {wanted_text(declared)}"
            raise InvalidRequestError(f"output {shown(name)!r} is unknown to {what}{hint}", {"output": shown(name)})
    if len(set(wanted)) != len(wanted):
        name = Counter(wanted).most_common(1)[0][0]
        raise InvalidRequestError(f"output {name!r} is asked for twice", {"output": name})


def pick_outputs(frame: v1.Frame, wanted: Sequence[str]) -> list[v1.Column]:
    """Returns the columns of an answer as they were asked for.

    A column with missing rows is followed by its companion `<column>.missing`, unless that was asked for by itself.

    Args:
        frame: the answer.
        wanted: names that `check_wanted` has passed; none: all columns.
    """
    columns = {column.name: column for column in frame.columns}
    picked = []
    for name in wanted or columns:
        column = columns.get(name)
        if column is None:
            picked.append(_companion(columns[name.removesuffix(MISSING)], frame.rows))
            continue
        picked.append(column)
        if column.missing.strip(b"\0") and name + MISSING not in wanted and name + MISSING not in columns:
            picked.append(_companion(column, frame.rows))
    return picked


def _companion(column: v1.Column, rows: int) -> v1.Column:
    bits = np.frombuffer(column.missing or bytes((rows + 7) // 8), np.uint8)
    mask = np.unpackbits(bits, count=rows, bitorder="little")
    return v1.Column(name=column.name + MISSING, type=_BOOL, values=mask.tobytes())
