"""The frame codec: tables to and from `v1.Frame`, checked, joined and cut.

Encode what you have (`encode_frame`), read what came (`FrameView`), refuse what contradicts itself
(`check_frame`), move rows about (`join_frames`, `slice_frame`, `split_frame`, `repeat_row`), and columns (`put_beside`,
`select_columns`).
Source: docs/protocol.md, section "Frames".
"""

from rendezvous_proto.frames._beside import put_beside, repeat_row, select_columns
from rendezvous_proto.frames._check import check_frame
from rendezvous_proto.frames._cut import join_frames, slice_frame, split_frame
from rendezvous_proto.frames._encode import encode_frame
from rendezvous_proto.frames._rows import RowPattern
from rendezvous_proto.frames._types import MAX_RANK, column_width, type_name, type_number
from rendezvous_proto.frames._utf8 import diagnose_bad_utf8
from rendezvous_proto.frames._view import FrameView

__all__ = [
    "MAX_RANK",
    "FrameView",
    "RowPattern",
    "check_frame",
    "column_width",
    "diagnose_bad_utf8",
    "encode_frame",
    "join_frames",
    "put_beside",
    "repeat_row",
    "select_columns",
    "slice_frame",
    "split_frame",
    "type_name",
    "type_number",
]
