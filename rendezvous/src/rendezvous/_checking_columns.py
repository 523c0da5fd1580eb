"""What must hold of a list of columns, and of the fixed values that stand in for them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rendezvous._problems import Problems, nearest
from rendezvous._structs import ColumnSpec
from rendezvous._values import value_problem


def check_columns(path: str, columns: Sequence[ColumnSpec], problems: Problems) -> None:
    """Note what is wrong with a list of columns."""
    seen: dict[str, int] = {}
    for i, column in enumerate(columns):
        if not column.name:
            problems.add(f"{path}[{i}].name", "empty; a column needs a name")
        first = seen.setdefault(column.name, i)
        if first != i:
            problems.add(f"{path}[{i}].name", f"duplicate column {column.name!r}; {path}[{first}] has that name")
        for j, size in enumerate(column.shape):
            if size < 1:
                problems.add(f"{path}[{i}].shape[{j}]", f"{size} is less than 1")
        if column.nan and not column.is_floating:
            problems.add(f"{path}[{i}].nan", f"only FP16, FP32 and FP64 have NaN, {column.type} has not")


def check_otherwise(
    path: str, values: Mapping[str, Any] | Literal["error"], columns: Sequence[ColumnSpec], problems: Problems
) -> None:
    """Note what is wrong with the values that stand in for *columns*: one for each, of its type, or `error`."""
    if isinstance(values, str):
        return
    known = {column.name: column for column in columns}
    for name, value in values.items():
        if name not in known:
            problems.add(f"{path}.{name}", f"not an output column{nearest(name, known)}")
        elif problem := value_problem(known[name], value):
            problems.add(f"{path}.{name}", problem)
    for name in known:
        if name not in values:
            problems.add(path, f"output column {name!r} has no value; give one, or write 'error'")
