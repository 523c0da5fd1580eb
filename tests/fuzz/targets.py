"""All targets with their seeds, and what was found by them: each finding is a seed for good."""

from collections.abc import Callable

from tests.fuzz import documents, material, messages
from tests.fuzz.oracle import Target

__all__ = ["FINDINGS", "TARGETS", "seeds_of"]

Seeds = Callable[[], list[bytes]]


def _keys() -> list[bytes]:
    return [b"Bearer rv_abcdefghijkl_" + b"a2" * 26, b"rv_abcdefghijkl_" + b"a2" * 26, b"Basic YTpi", b"Bearer"]


TARGETS: dict[str, tuple[Target, Seeds]] = {
    "frame": (messages.fuzz_frame, material.frames),
    "score_request": (messages.fuzz_score_request, material.score_requests),
    "parcel_score": (messages.fuzz_parcel_score, material.parcel_scores),
    "infer_request": (messages.fuzz_infer_request, material.infer_requests),
    "infer_body": (documents.fuzz_infer_body, material.infer_bodies),
    "json": (documents.fuzz_json, material.json_bodies),
    "csv": (documents.fuzz_csv, material.csv_bodies),
    "arrow": (documents.fuzz_arrow, material.arrow_bodies),
    "packed": (documents.fuzz_packed, material.packed_bodies),
    "head": (documents.fuzz_head, material.heads),
    "key": (documents.fuzz_key, _keys),
    "register": (documents.fuzz_register, material.registers),
    "spec": (documents.fuzz_spec, material.specs),
}
"""By name: the target, and its seeds."""

FINDINGS: dict[str, list[bytes]] = {
    "frame": [b"\x08\x02\x12\x11\n\x01x\x10\x0c\x1a\n\x00\x15\x80\x80\x10\x80\x80\x80\x80\x10"],
    "arrow": [material.arrow_bodies()[0].replace(b"\1\0\0\0a\0", b"\1\0\0\0\x8c\0")],
    "infer_body": [
        b"0" * 5000 + b"5\n{}",
        b'\n{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["\x88"]}]}',
    ],
    "csv": [b"a,b,tag\n1,2\xbe\n", b"\xff"],
    "register": [
        b"\xff",
        b'{"tenants": {"acme": {"name": "acme", "created_unix_s": 1}}}',
        material.registers()[0].replace(b"00ff", b"salt"),
    ],
    "spec": [b"endpoint: " + b"9" * 5000, b"[" * 1200, b"{a: 2026-13-45}", b'{"a":' * 1200],
}
"""By target: inputs that once broke it, each mended."""


def seeds_of(name: str) -> list[bytes]:
    """Returns the seeds of a target, its findings among them."""
    return TARGETS[name][1]() + FINDINGS.get(name, [])
