"""Arrow IPC bodies, streams and files. Nothing in them is believed: offsets and sizes are checked before they are used.

What makes small bodies large once they are read is refused (compressed buffers: compress the body instead) or measured
first (dictionaries, views).
"""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rendezvous_proto.errors import InvalidFrameError, InvalidRequestError, TooLargeError

__all__ = ["read_arrow"]

_FILE_START = b"ARROW1\0\0"
_BATCH, _DICTIONARY = 3, 2
_VIEW_BYTES = 16


def read_arrow(body: bytes, *, max_rows: int, max_bytes: int) -> pa.Table:
    """Returns the table in *body*.

    Args:
        body: an IPC stream, or a file: the same behind eight bytes, with an index at its end.
        max_rows: most rows.
        max_bytes: most bytes of any column, its dictionary applied.

    Raises:
        InvalidRequestError: it is no Arrow IPC, or has compressed buffers.
        InvalidFrameError: a column's type has none in a frame.
        TooLargeError: it has more rows or bytes.
    """
    buffer = pa.py_buffer(body)
    if body.startswith(_FILE_START):
        buffer = buffer.slice(len(_FILE_START))
    try:
        _check_messages(buffer)
        table = pa.ipc.open_stream(buffer, options=pa.ipc.IpcReadOptions(use_threads=False)).read_all()
        table.validate(full=True)
        str(table.schema)  # the names within, which nothing else has looked at
    except UnicodeDecodeError as error:
        raise InvalidRequestError("body: a name in its Arrow schema is not UTF-8") from error
    except (pa.ArrowException, OSError, struct.error, IndexError, MemoryError, RecursionError) as error:
        raise InvalidRequestError("body: is not an Arrow IPC stream or file, or is damaged: write it again") from error
    if table.num_rows > max_rows:
        raise TooLargeError(
            f"request of {table.num_rows} rows: the limit is {max_rows} rows; send several requests",
            {"limit": max_rows, "actual": table.num_rows},
        )
    for name, column in zip(table.column_names, table.columns, strict=True):
        _check_type(name, column.type)
        for chunk in column.chunks:
            _check_expanded(name, chunk, max_bytes)
    return table


def _check_messages(buffer: pa.Buffer) -> None:
    for message in pa.ipc.MessageReader.open_stream(buffer):
        metadata = message.metadata.to_pybytes()
        if _is_compressed(metadata):
            raise InvalidRequestError(
                "body: its Arrow buffers are compressed, which is not taken: write them as they are, and compress "
                "the whole body (Content-Encoding: zstd)"
            )


def _is_compressed(metadata: bytes) -> bool:
    """Tells whether a message's header, a flatbuffer that Arrow has verified, names a compression."""
    root = struct.unpack_from("<I", metadata)[0]
    kind_at, header_at = _field(metadata, root, 1), _field(metadata, root, 2)
    kind = metadata[kind_at] if kind_at else 0
    if kind not in (_BATCH, _DICTIONARY) or not header_at:
        return False
    table = header_at + struct.unpack_from("<I", metadata, header_at)[0]
    if kind == _DICTIONARY:
        at = _field(metadata, table, 1)
        if not at:
            return False
        table = at + struct.unpack_from("<I", metadata, at)[0]
    return _field(metadata, table, 3) != 0


def _field(metadata: bytes, table: int, slot: int) -> int:
    """Returns where a flatbuffer table has the field of a slot; 0: it has none."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    size = struct.unpack_from("<H", metadata, vtable)[0]
    entry = 4 + 2 * slot
    if entry + 2 > size:
        return 0
    offset = struct.unpack_from("<H", metadata, vtable + entry)[0]
    return table + offset if offset else 0


def _check_type(name: str, kind: pa.DataType, depth: int = 0) -> None:
    types = pa.types
    if types.is_dictionary(kind) and not depth:
        return _check_type(name, kind.value_type, 1)
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if is_list and depth < 9:
        return _check_type(name, kind.value_type, depth + 1)
    is_text = (
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )
    is_view = (types.is_string_view(kind) or types.is_binary_view(kind)) and not depth
    is_octets = types.is_fixed_size_binary(kind) and kind.byte_width > 0
    is_number = types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)
    is_bare = not depth and (types.is_null(kind) or types.is_timestamp(kind))
    if not (is_text or is_view or is_octets or is_number or is_bare):
        shown = name[:80]
        raise InvalidFrameError(
            f"column {shown!r}: Arrow type {str(kind)[:80]} has no type in a frame: cast it to numbers, text or binary",
            {"column": shown, "dtype": str(kind)[:80]},
        )
    return None


def _check_expanded(name: str, array: Any, max_bytes: int) -> None:
    """Refuses a column that would be larger than a body may be, once its references are followed."""
    size = 0
    types = pa.types
    if types.is_dictionary(array.type) and len(array):
        values = array.dictionary
        each = np.asarray(_sizes(values))
        counts = np.bincount(pc.drop_null(array.indices).to_numpy(zero_copy_only=False), minlength=len(values))
        size = int(counts.astype(np.float64) @ each.astype(np.float64)) if len(values) else 0
    elif types.is_string_view(array.type) or types.is_binary_view(array.type):
        size = int(_view_sizes(array).sum())
    if size > max_bytes:
        shown = name[:80]
        raise TooLargeError(
            f"column {shown!r} has {size} bytes once it is written out: the limit is {max_bytes}",
            {"column": shown, "limit": max_bytes, "actual": size},
        )


def _sizes(values: Any) -> Any:
    types, kind = pa.types, values.type
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return _view_sizes(values)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return np.full(len(values), values.nbytes)
    if types.is_boolean(kind) or types.is_null(kind) or types.is_integer(kind) or types.is_floating(kind):
        return np.ones(len(values))
    if types.is_timestamp(kind) or types.is_fixed_size_binary(kind):
        return np.full(len(values), kind.bit_width // 8)
    return pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)


def _view_sizes(array: Any) -> Any:
    views = np.frombuffer(array.buffers()[1], dtype="<i4")[:: _VIEW_BYTES // 4]
    return views[array.offset : array.offset + len(array)].astype(np.int64)
