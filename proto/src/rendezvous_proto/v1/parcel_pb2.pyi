from rendezvous_proto.v1 import error_pb2 as _error_pb2
from rendezvous_proto.v1 import frame_pb2 as _frame_pb2
from rendezvous_proto.v1 import score_pb2 as _score_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Parcel(_message.Message):
    __slots__ = ("parcel_id", "endpoint", "router", "sealed_unix_us", "spec_revision", "items", "inputs")
    PARCEL_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    SEALED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    SPEC_REVISION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    parcel_id: str
    endpoint: str
    router: str
    sealed_unix_us: int
    spec_revision: int
    items: _containers.RepeatedCompositeFieldContainer[ParcelItem]
    inputs: _frame_pb2.Frame
    def __init__(self, parcel_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., router: _Optional[str] = ..., sealed_unix_us: _Optional[int] = ..., spec_revision: _Optional[int] = ..., items: _Optional[_Iterable[_Union[ParcelItem, _Mapping]]] = ..., inputs: _Optional[_Union[_frame_pb2.Frame, _Mapping]] = ...) -> None: ...

class ParcelItem(_message.Message):
    __slots__ = ("request_id", "rows", "deadline_unix_us", "budget_us", "traceparent", "tracestate", "context", "diagnostics", "provenance")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    BUDGET_US_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSTICS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    rows: int
    deadline_unix_us: int
    budget_us: int
    traceparent: str
    tracestate: str
    context: _containers.ScalarMap[str, str]
    diagnostics: _score_pb2.Diagnostics
    provenance: _containers.RepeatedCompositeFieldContainer[_score_pb2.Provenance]
    def __init__(self, request_id: _Optional[str] = ..., rows: _Optional[int] = ..., deadline_unix_us: _Optional[int] = ..., budget_us: _Optional[int] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ..., context: _Optional[_Mapping[str, str]] = ..., diagnostics: _Optional[_Union[_score_pb2.Diagnostics, _Mapping]] = ..., provenance: _Optional[_Iterable[_Union[_score_pb2.Provenance, _Mapping]]] = ...) -> None: ...

class ParcelScore(_message.Message):
    __slots__ = ("parcel_id", "endpoint", "model", "version", "replica", "items", "outputs", "timing", "parcel_sequence", "delivery", "stage")
    PARCEL_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    PARCEL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    parcel_id: str
    endpoint: str
    model: str
    version: str
    replica: str
    items: _containers.RepeatedCompositeFieldContainer[ItemScore]
    outputs: _frame_pb2.Frame
    timing: _score_pb2.Timing
    parcel_sequence: int
    delivery: int
    stage: int
    def __init__(self, parcel_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., replica: _Optional[str] = ..., items: _Optional[_Iterable[_Union[ItemScore, _Mapping]]] = ..., outputs: _Optional[_Union[_frame_pb2.Frame, _Mapping]] = ..., timing: _Optional[_Union[_score_pb2.Timing, _Mapping]] = ..., parcel_sequence: _Optional[int] = ..., delivery: _Optional[int] = ..., stage: _Optional[int] = ...) -> None: ...

class ItemScore(_message.Message):
    __slots__ = ("request_id", "rows", "error", "traceparent")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    rows: int
    error: _error_pb2.Error
    traceparent: str
    def __init__(self, request_id: _Optional[str] = ..., rows: _Optional[int] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...
