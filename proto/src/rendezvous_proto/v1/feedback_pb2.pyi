from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OutcomeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_KIND_UNSPECIFIED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_TRUTH: _ClassVar[OutcomeKind]
    OUTCOME_KIND_REWARD: _ClassVar[OutcomeKind]
    OUTCOME_KIND_VERDICT: _ClassVar[OutcomeKind]
OUTCOME_KIND_UNSPECIFIED: OutcomeKind
OUTCOME_KIND_TRUTH: OutcomeKind
OUTCOME_KIND_REWARD: OutcomeKind
OUTCOME_KIND_VERDICT: OutcomeKind

class BusinessKey(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("feedback_id", "request_id", "key", "row", "kind", "output", "number", "text", "flag", "observed_unix_us", "source")
    FEEDBACK_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    feedback_id: str
    request_id: str
    key: BusinessKey
    row: int
    kind: OutcomeKind
    output: str
    number: float
    text: str
    flag: bool
    observed_unix_us: int
    source: str
    def __init__(self, feedback_id: _Optional[str] = ..., request_id: _Optional[str] = ..., key: _Optional[_Union[BusinessKey, _Mapping]] = ..., row: _Optional[int] = ..., kind: _Optional[_Union[OutcomeKind, str]] = ..., output: _Optional[str] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., flag: _Optional[bool] = ..., observed_unix_us: _Optional[int] = ..., source: _Optional[str] = ...) -> None: ...

class RecordRequest(_message.Message):
    __slots__ = ("endpoint", "outcomes")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, endpoint: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class RecordReply(_message.Message):
    __slots__ = ("endpoint", "feedback_ids")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_IDS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    feedback_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, endpoint: _Optional[str] = ..., feedback_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class FeedbackBatch(_message.Message):
    __slots__ = ("batch_id", "endpoint", "router", "recorded_unix_us", "spec_revision", "outcomes")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    RECORDED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    SPEC_REVISION_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    endpoint: str
    router: str
    recorded_unix_us: int
    spec_revision: int
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, batch_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., router: _Optional[str] = ..., recorded_unix_us: _Optional[int] = ..., spec_revision: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...
