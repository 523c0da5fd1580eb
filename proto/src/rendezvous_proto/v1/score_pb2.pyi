from rendezvous_proto.v1 import decision_pb2 as _decision_pb2
from rendezvous_proto.v1 import error_pb2 as _error_pb2
from rendezvous_proto.v1 import frame_pb2 as _frame_pb2
from rendezvous_proto.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    def __init__(self, endpoint: _Optional[str] = ...) -> None: ...

class Diagnostics(_message.Message):
    __slots__ = ("explain", "force_model", "force_trace")
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    FORCE_MODEL_FIELD_NUMBER: _ClassVar[int]
    FORCE_TRACE_FIELD_NUMBER: _ClassVar[int]
    explain: bool
    force_model: str
    force_trace: bool
    def __init__(self, explain: _Optional[bool] = ..., force_model: _Optional[str] = ..., force_trace: _Optional[bool] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("component", "version")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    component: str
    version: str
    def __init__(self, component: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("request_id", "endpoint", "inputs", "context", "diagnostics", "provenance", "traceparent", "tracestate")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSTICS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    inputs: _frame_pb2.Frame
    context: _containers.ScalarMap[str, str]
    diagnostics: Diagnostics
    provenance: _containers.RepeatedCompositeFieldContainer[Provenance]
    traceparent: str
    tracestate: str
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., inputs: _Optional[_Union[_frame_pb2.Frame, _Mapping]] = ..., context: _Optional[_Mapping[str, str]] = ..., diagnostics: _Optional[_Union[Diagnostics, _Mapping]] = ..., provenance: _Optional[_Iterable[_Union[Provenance, _Mapping]]] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("received_unix_us", "started_unix_us", "finished_unix_us")
    RECEIVED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    FINISHED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    received_unix_us: int
    started_unix_us: int
    finished_unix_us: int
    def __init__(self, received_unix_us: _Optional[int] = ..., started_unix_us: _Optional[int] = ..., finished_unix_us: _Optional[int] = ...) -> None: ...

class ModelScore(_message.Message):
    __slots__ = ("model", "version", "outputs", "error", "timing")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    outputs: _frame_pb2.Frame
    error: _error_pb2.Error
    timing: Timing
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., outputs: _Optional[_Union[_frame_pb2.Frame, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class ScoreReply(_message.Message):
    __slots__ = ("request_id", "model", "version", "outputs", "error", "timing", "decision", "scores", "traceparent")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    version: str
    outputs: _frame_pb2.Frame
    error: _error_pb2.Error
    timing: Timing
    decision: _decision_pb2.Decision
    scores: _containers.RepeatedCompositeFieldContainer[ModelScore]
    traceparent: str
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., outputs: _Optional[_Union[_frame_pb2.Frame, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ..., scores: _Optional[_Iterable[_Union[ModelScore, _Mapping]]] = ..., traceparent: _Optional[str] = ...) -> None: ...
