"""The generated messages and stubs of package `rendezvous.v1`, under one name."""

from rendezvous_proto.v1.decision_pb2 import (
    Arrival,
    ArrivalStatus,
    Decision,
    DecisionBatch,
    DecisionRecord,
    Role,
)
from rendezvous_proto.v1.error_pb2 import (
    Error,
    ErrorCode,
)
from rendezvous_proto.v1.frame_pb2 import (
    Column,
    DataType,
    Frame,
)
from rendezvous_proto.v1.model_pb2 import (
    ColumnSpec,
    ModelInfo,
    Package,
    Signature,
    SourceControl,
    Training,
)
from rendezvous_proto.v1.parcel_pb2 import (
    ItemScore,
    Parcel,
    ParcelItem,
    ParcelScore,
)
from rendezvous_proto.v1.score_pb2 import (
    DescribeRequest,
    Diagnostics,
    ModelScore,
    Provenance,
    ScoreReply,
    ScoreRequest,
    Timing,
)
from rendezvous_proto.v1.score_pb2_grpc import (
    ScoreServicer,
    ScoreStub,
    add_ScoreServicer_to_server,
)

__all__ = [
    "Arrival",
    "ArrivalStatus",
    "Column",
    "ColumnSpec",
    "DataType",
    "Decision",
    "DecisionBatch",
    "DecisionRecord",
    "DescribeRequest",
    "Diagnostics",
    "Error",
    "ErrorCode",
    "Frame",
    "ItemScore",
    "ModelInfo",
    "ModelScore",
    "Package",
    "Parcel",
    "ParcelItem",
    "ParcelScore",
    "Provenance",
    "Role",
    "ScoreReply",
    "ScoreRequest",
    "ScoreServicer",
    "ScoreStub",
    "Signature",
    "SourceControl",
    "Timing",
    "Training",
    "add_ScoreServicer_to_server",
]
