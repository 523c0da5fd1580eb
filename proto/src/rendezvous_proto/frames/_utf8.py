"""Finds the text that made protobuf refuse a message.

Protobuf refuses a message with invalid UTF-8 as a whole and does not say where. So the message is parsed again with
copies of the descriptors in which every string is bytes, and searched.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import DecodeError, Message

_COLUMN = "rendezvous.v1.Column"
_SHOWN_BYTES = 40


def diagnose_bad_utf8(raw: bytes, message_type: type[Message]) -> str | None:
    """Returns where a serialized message has invalid UTF-8, for people: column and element, or the field's path.

    Meant for the rare message that cannot be parsed; it costs several times what parsing costs.
    Thread safety: may be called from any thread.

    Args:
        raw: The bytes that were received.
        message_type: What they should be, `v1.ScoreRequest` for instance.

    Returns:
        `column 'purpose': element 3 is not valid UTF-8 (byte 0xff at 5)`; None if that is not what is wrong.
    """
    message = _lenient_class(message_type.DESCRIPTOR)()
    try:
        message.ParseFromString(raw)
    except DecodeError:
        return None
    return next(_faults(message, message_type.DESCRIPTOR, ""), None)


@cache
def _lenient_class(descriptor: Descriptor) -> type[Message]:
    """Returns a class for the same message with bytes in the place of strings."""
    pool = descriptor_pool.DescriptorPool()
    _add_file(pool, descriptor.file, set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(descriptor.full_name))


def _add_file(pool: descriptor_pool.DescriptorPool, file: FileDescriptor, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add_file(pool, dependency, added)
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        _strings_to_bytes(message)
    pool.Add(copy)


def _strings_to_bytes(message: descriptor_pb2.DescriptorProto) -> None:
    message.options.map_entry = False  # bytes cannot be a map's key; on the wire an entry is a message like any other
    for field in message.field:
        if field.type == descriptor_pb2.FieldDescriptorProto.TYPE_STRING:
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    for nested in message.nested_type:
        _strings_to_bytes(nested)


def _faults(message: Any, strict: Any, path: str) -> Iterator[str]:
    """Yields every invalid text in a leniently parsed message; *strict* tells which of its fields are text."""
    for field, value in message.ListFields():
        declared = strict.fields_by_name[field.name]
        values = value if field.is_repeated else [value]
        here = f"{path}.{field.name}" if path else str(field.name)
        for index, each in enumerate(values):
            place = f"{here}[{index}]" if field.is_repeated else here
            if declared.type == FieldDescriptor.TYPE_STRING:
                fault = _fault_in(each)
                if fault:
                    yield f"{_place_of(message, strict, field.name, index) or place} is not valid UTF-8 ({fault})"
            elif declared.message_type is not None:
                yield from _faults(each, declared.message_type, place)


def _fault_in(octets: bytes) -> str | None:
    try:
        octets.decode()
    except UnicodeDecodeError as error:
        return f"byte 0x{octets[error.start]:02x} at {error.start}"
    return None


def _place_of(message: Any, strict: Any, field: str, index: int) -> str | None:
    """Names a column's element; None outside of columns."""
    if strict.full_name != _COLUMN:
        return None
    name = message.name[:_SHOWN_BYTES].decode(errors="backslashreplace")
    return f"column {name!r}: its name" if field == "name" else f"column {name!r}: element {index}"
