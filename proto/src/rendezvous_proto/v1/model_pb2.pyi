from rendezvous_proto.v1 import frame_pb2 as _frame_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ColumnSpec(_message.Message):
    __slots__ = ("name", "type", "shape", "allow_missing", "allow_nan", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    ALLOW_NAN_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: _frame_pb2.DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    allow_missing: bool
    allow_nan: bool
    description: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[_frame_pb2.DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., allow_missing: _Optional[bool] = ..., allow_nan: _Optional[bool] = ..., description: _Optional[str] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("inputs", "outputs")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[ColumnSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[ColumnSpec]
    def __init__(self, inputs: _Optional[_Iterable[_Union[ColumnSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[ColumnSpec, _Mapping]]] = ...) -> None: ...

class SourceControl(_message.Message):
    __slots__ = ("repository", "commit", "dirty")
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    DIRTY_FIELD_NUMBER: _ClassVar[int]
    repository: str
    commit: str
    dirty: bool
    def __init__(self, repository: _Optional[str] = ..., commit: _Optional[str] = ..., dirty: _Optional[bool] = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("data_reference", "data_sha256", "trained_unix_us", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    DATA_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    DATA_SHA256_FIELD_NUMBER: _ClassVar[int]
    TRAINED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    data_reference: str
    data_sha256: str
    trained_unix_us: int
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, data_reference: _Optional[str] = ..., data_sha256: _Optional[str] = ..., trained_unix_us: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Package(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "version", "language", "runtime", "signature", "task", "labels", "source_control", "training", "packages", "description", "sdk")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_CONTROL_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SDK_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    language: str
    runtime: str
    signature: Signature
    task: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    source_control: SourceControl
    training: Training
    packages: _containers.RepeatedCompositeFieldContainer[Package]
    description: str
    sdk: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., language: _Optional[str] = ..., runtime: _Optional[str] = ..., signature: _Optional[_Union[Signature, _Mapping]] = ..., task: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., source_control: _Optional[_Union[SourceControl, _Mapping]] = ..., training: _Optional[_Union[Training, _Mapping]] = ..., packages: _Optional[_Iterable[_Union[Package, _Mapping]]] = ..., description: _Optional[str] = ..., sdk: _Optional[str] = ...) -> None: ...
