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
from rendezvous_proto.v1.feedback_pb2 import (
    BusinessKey,
    FeedbackBatch,
    Outcome,
    OutcomeKind,
    RecordReply,
    RecordRequest,
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
from rendezvous_proto.v1.feedback_pb2_grpc import (
    FeedbackServicer,
    FeedbackStub,
    add_FeedbackServicer_to_server,
)
from rendezvous_proto.v1.score_pb2_grpc import (
    ScoreServicer,
    ScoreStub,
    add_ScoreServicer_to_server,
)

__all__ = [
    "Arrival",
    "ArrivalStatus",
    "BusinessKey",
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
    "FeedbackBatch",
    "FeedbackServicer",
    "FeedbackStub",
    "Frame",
    "ItemScore",
    "ModelInfo",
    "ModelScore",
    "Outcome",
    "OutcomeKind",
    "Package",
    "Parcel",
    "ParcelItem",
    "ParcelScore",
    "Provenance",
    "RecordReply",
    "RecordRequest",
    "Role",
    "ScoreReply",
    "ScoreRequest",
    "ScoreServicer",
    "ScoreStub",
    "Signature",
    "SourceControl",
    "Timing",
    "Training",
    "add_FeedbackServicer_to_server",
    "add_ScoreServicer_to_server",
]
