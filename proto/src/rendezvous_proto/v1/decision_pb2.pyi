from rendezvous_proto.v1 import error_pb2 as _error_pb2
from rendezvous_proto.v1 import frame_pb2 as _frame_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_CHAMPION: _ClassVar[Role]
    ROLE_CHALLENGER: _ClassVar[Role]
    ROLE_CANARY: _ClassVar[Role]
    ROLE_SHADOW: _ClassVar[Role]

class ArrivalStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ARRIVAL_STATUS_UNSPECIFIED: _ClassVar[ArrivalStatus]
    ARRIVAL_STATUS_SCORED: _ClassVar[ArrivalStatus]
    ARRIVAL_STATUS_FAILED: _ClassVar[ArrivalStatus]
    ARRIVAL_STATUS_PENDING: _ClassVar[ArrivalStatus]
ROLE_UNSPECIFIED: Role
ROLE_CHAMPION: Role
ROLE_CHALLENGER: Role
ROLE_CANARY: Role
ROLE_SHADOW: Role
ARRIVAL_STATUS_UNSPECIFIED: ArrivalStatus
ARRIVAL_STATUS_SCORED: ArrivalStatus
ARRIVAL_STATUS_FAILED: ArrivalStatus
ARRIVAL_STATUS_PENDING: ArrivalStatus

class Arrival(_message.Message):
    __slots__ = ("model", "version", "role", "status", "after_us", "error", "after_ns")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AFTER_US_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    AFTER_NS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    role: Role
    status: ArrivalStatus
    after_us: int
    error: _error_pb2.Error
    after_ns: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., status: _Optional[_Union[ArrivalStatus, str]] = ..., after_us: _Optional[int] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., after_ns: _Optional[int] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("request_id", "endpoint", "rule", "models", "spec_revision", "decided_after_us", "deadline_left_us", "reason", "arrivals")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SPEC_REVISION_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AFTER_US_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_LEFT_US_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    rule: str
    models: _containers.RepeatedScalarFieldContainer[str]
    spec_revision: int
    decided_after_us: int
    deadline_left_us: int
    reason: str
    arrivals: _containers.RepeatedCompositeFieldContainer[Arrival]
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., rule: _Optional[str] = ..., models: _Optional[_Iterable[str]] = ..., spec_revision: _Optional[int] = ..., decided_after_us: _Optional[int] = ..., deadline_left_us: _Optional[int] = ..., reason: _Optional[str] = ..., arrivals: _Optional[_Iterable[_Union[Arrival, _Mapping]]] = ...) -> None: ...

class DecisionRecord(_message.Message):
    __slots__ = ("decision", "parcel_id", "first_row", "rows", "outputs", "error", "decided_unix_us", "router", "budget_ns", "decided_after_ns", "due_after_ns", "spec")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    PARCEL_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROW_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DECIDED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    BUDGET_NS_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AFTER_NS_FIELD_NUMBER: _ClassVar[int]
    DUE_AFTER_NS_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    parcel_id: str
    first_row: int
    rows: int
    outputs: _frame_pb2.Frame
    error: _error_pb2.Error
    decided_unix_us: int
    router: str
    budget_ns: int
    decided_after_ns: int
    due_after_ns: int
    spec: str
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., parcel_id: _Optional[str] = ..., first_row: _Optional[int] = ..., rows: _Optional[int] = ..., outputs: _Optional[_Union[_frame_pb2.Frame, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., decided_unix_us: _Optional[int] = ..., router: _Optional[str] = ..., budget_ns: _Optional[int] = ..., decided_after_ns: _Optional[int] = ..., due_after_ns: _Optional[int] = ..., spec: _Optional[str] = ...) -> None: ...

class DecisionBatch(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[DecisionRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[DecisionRecord, _Mapping]]] = ...) -> None: ...
