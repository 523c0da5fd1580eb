"""Requests from their bytes: what cannot be parsed is refused by name."""

from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidRequestError
from rendezvous_proto.frames import diagnose_bad_utf8

__all__ = ["parse_describe_request", "parse_score_request", "request_id_of"]


def parse_score_request(raw: bytes) -> v1.ScoreRequest:
    """Returns the request in *raw*.

    Raises:
        InvalidFrameError: some text is not UTF-8; names the column or field.
        InvalidRequestError: the bytes are no ScoreRequest.
    """
    try:
        return v1.ScoreRequest.FromString(raw)
    except DecodeError as error:
        where = diagnose_bad_utf8(raw, v1.ScoreRequest)
        if where is not None:
            raise InvalidFrameError(where, {"field": where}) from error
        raise InvalidRequestError(
            f"the message of {len(raw)} bytes is not a rendezvous.v1.ScoreRequest", {"actual": len(raw)}
        ) from error


def parse_describe_request(raw: bytes) -> v1.DescribeRequest:
    """Returns the request in *raw*.

    Raises:
        InvalidRequestError: the bytes are no DescribeRequest.
    """
    try:
        return v1.DescribeRequest.FromString(raw)
    except DecodeError as error:
        raise InvalidRequestError(
            f"the message of {len(raw)} bytes is not a rendezvous.v1.DescribeRequest", {"actual": len(raw)}
        ) from error


def request_id_of(raw: bytes) -> str:
    """Returns the id in a serialized ScoreRequest of which something else may be wrong; empty if there is none."""
    message = _id_class()()
    try:
        message.ParseFromString(raw)
        return str(message.request_id.decode())  # type: ignore[attr-defined] # made below
    except (DecodeError, UnicodeDecodeError):
        return ""


@cache
def _id_class() -> type[Message]:
    """A message of nothing but the request's id, as bytes: protobuf refuses one of which any text is not UTF-8."""
    field = v1.ScoreRequest.DESCRIPTOR.fields_by_name["request_id"]
    proto = descriptor_pb2.FieldDescriptorProto
    message = descriptor_pb2.DescriptorProto(name="RequestId")
    message.field.add(name=field.name, number=field.number, type=proto.TYPE_BYTES, label=proto.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto(name="request_id.proto", message_type=[message]))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("RequestId"))
