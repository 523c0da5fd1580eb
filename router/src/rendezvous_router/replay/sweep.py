"""Reads some Parquet files together in the order of a stream, in memory for a few row groups.

Files of one manifest entry overlap: rows of other columns are in another file, and in none need they be in order. But
row groups tell between which sequences they lie. So they are read by their least sequence, and what lies before all
that is unread can be given out, in order.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rendezvous_sdk.archive.schema import signature_of

__all__ = ["read_in_order"]

_SEQUENCE = "stream_sequence"
_WINDOW_ROWS = 4096


@dataclass(slots=True)
class _RowGroup:
    """A row group that is still to be read."""

    first: int
    """Least sequence in it."""
    file: pq.ParquetFile
    number: int


def read_in_order(
    filesystem: pafs.FileSystem, paths: Sequence[str], fixed: Sequence[str], *, after: int = 0
) -> Iterator[list[pa.Table]]:
    """Yields the rows of some files, in windows: all rows of one come before all rows of the next.

    Args:
        filesystem: where they are.
        paths: the files.
        fixed: columns to read beside the signature's.
        after: sequence behind which it begins.

    Returns:
        The tables of a window, one for each set of columns, each in the order of the sequences. The rows of a
        sequence are in one window. About 4096 rows, or those of one sequence.

    Raises:
        FileNotFoundError: a file is not there.
        pa.ArrowInvalid: a file is damaged.
    """
    with ExitStack() as stack:
        groups: list[_RowGroup] = []
        for path in paths:
            file = stack.enter_context(pq.ParquetFile(stack.enter_context(filesystem.open_input_file(path))))
            groups += _row_groups(file, after)
        groups.sort(key=lambda group: group.first)
        pending: list[pa.Table] = []
        for index, group in enumerate(groups):
            pending.append(_read(group, fixed, after))
            unread = groups[index + 1].first if index + 1 < len(groups) else None
            ready, pending = _split(pending, unread)
            yield from _windows(_joined(ready))


def _row_groups(file: pq.ParquetFile, after: int) -> Iterator[_RowGroup]:
    leaves = [file.schema.column(index).path for index in range(len(file.schema))]
    column = leaves.index(_SEQUENCE)
    for number in range(file.num_row_groups):
        told = file.metadata.row_group(number).column(column).statistics
        if told is not None and told.has_min_max:
            first, last = told.min, told.max
        else:
            sequences = file.read_row_group(number, columns=[_SEQUENCE])[_SEQUENCE].to_numpy()
            if not len(sequences):
                continue
            first, last = int(sequences.min()), int(sequences.max())
        if last > after:
            yield _RowGroup(first, file, number)


def _read(group: _RowGroup, fixed: Sequence[str], after: int) -> pa.Table:
    schema = group.file.schema_arrow
    names = [*fixed, *signature_of(schema)]
    table = group.file.read_row_group(group.number, columns=names, use_threads=False).select(names)
    table = table.cast(pa.schema([schema.field(name) for name in names])).combine_chunks()
    ordered = _ordered(table)
    return ordered.slice(int(np.searchsorted(_sequences(ordered), after, side="right")))


def _ordered(table: pa.Table) -> pa.Table:
    sequences = _sequences(table)
    if (np.diff(sequences) >= 0).all():
        return table
    return table.take(pa.array(np.argsort(sequences, kind="stable"))).combine_chunks()


def _joined(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Returns the tables, those of one schema as one."""
    alike: list[list[pa.Table]] = []
    for table in tables:
        same = next((each for each in alike if each[0].schema.equals(table.schema, check_metadata=True)), None)
        if same is None:
            alike.append([table])
        else:
            same.append(table)
    return [each[0] if len(each) == 1 else _ordered(pa.concat_tables(each).combine_chunks()) for each in alike]


def _split(tables: Sequence[pa.Table], unread: int | None) -> tuple[list[pa.Table], list[pa.Table]]:
    """Returns the rows before sequence *unread* (None: all), and the others."""
    ready, rest = [], []
    for table in tables:
        stop = table.num_rows if unread is None else int(np.searchsorted(_sequences(table), unread))
        if stop:
            ready.append(table.slice(0, stop))
        if stop < table.num_rows:
            rest.append(table.slice(stop))
    return ready, rest


def _windows(tables: Sequence[pa.Table]) -> Iterator[list[pa.Table]]:
    if not tables:
        return
    every = np.sort(np.concatenate([_sequences(table) for table in tables]))
    bounds = sorted({int(every[index]) for index in range(_WINDOW_ROWS, len(every), _WINDOW_ROWS)})
    rest = list(tables)
    for bound in bounds:
        ready, rest = _split(rest, bound)
        if ready:
            yield ready
    yield rest


def _sequences(table: pa.Table) -> NDArray[np.int64]:
    values: NDArray[np.int64] = table[_SEQUENCE].to_numpy()
    return values
