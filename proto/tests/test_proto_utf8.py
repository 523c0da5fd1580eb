"""Invalid UTF-8 is found and named."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from rendezvous_proto import v1
from rendezvous_proto.frames import diagnose_bad_utf8, encode_frame

GOOD = v1.ScoreRequest(
    request_id="marker-id",
    endpoint="credit",
    inputs=encode_frame({"amount": [1.0, 2.0], "purpose": ["radio", "marker-text"], "marker-name": [1, 2]}),
    context={"customer": "marker-value", "marker-key": "x"},
    provenance=[v1.Provenance(component="a"), v1.Provenance(component="marker-component")],
)


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("marker-id", "request_id is not valid UTF-8 (byte 0xff at 3)"),
        ("marker-text", "column 'purpose': element 1 is not valid UTF-8 (byte 0xff at 3)"),
        ("marker-name", "column 'mar\\\\xffer-name': its name is not valid UTF-8 (byte 0xff at 3)"),
        ("marker-component", "provenance[1].component is not valid UTF-8 (byte 0xff at 3)"),
        ("marker-value", ".value is not valid UTF-8"),
        ("marker-key", ".key is not valid UTF-8"),
    ],
)
def test_offender_is_named(marker: str, expected: str) -> None:
    """The column and element, or the field, that protobuf refuses is named."""
    octets = bytearray(marker.encode())
    octets[3] = 0xFF
    raw = GOOD.SerializeToString().replace(marker.encode(), bytes(octets))
    with pytest.raises(DecodeError):
        v1.ScoreRequest.FromString(raw)
    assert expected in str(diagnose_bad_utf8(raw, v1.ScoreRequest))


@pytest.mark.parametrize("raw", [b"", GOOD.SerializeToString(), b"\xff\xff\xff", b"\x0a\x7f", b"\x1a\x02\x12\xff"])
def test_other_messages_are_not_blamed(raw: bytes) -> None:
    """A message without invalid text, or broken otherwise, gives no diagnosis."""
    assert diagnose_bad_utf8(raw, v1.ScoreRequest) is None


@pytest.mark.parametrize("kind", [v1.ScoreRequest, v1.ScoreReply, v1.Parcel, v1.ParcelScore, v1.DecisionBatch])
def test_every_message_can_be_searched(kind: Any) -> None:
    """The search knows every message that travels."""
    assert diagnose_bad_utf8(b"", kind) is None
