"""Targets that take text and bodies: JSON, CSV, Arrow, compressed ones, heads, keys, registers, specifications."""

import datetime as dt
import tempfile
from collections.abc import MutableMapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.keys import parse_bearer, parse_key
from rendezvous_router._buckets import Entry
from rendezvous_router.endpoint import compile_endpoint
from rendezvous_router.oip.documents import read_document, tensors_of, wanted_of
from rendezvous_router.oip.inputs import frame_of
from rendezvous_router.oip.outputs import check_wanted
from rendezvous_router.oip.parameters import read_wishes
from rendezvous_router.project import load_spec
from rendezvous_router.rest.asking import read_headers, read_query, remaining_s
from rendezvous_router.rest.bodies import read_body
from rendezvous_router.rest.columns import ColumnCodec
from rendezvous_router.rest.media import ARROW_STREAM, CSV, JSON, MEDIA, choose_answer, media_of_body
from rendezvous_router.rest.problems import HttpFaultError, problem_of
from rendezvous_router.rest.score import _request_of
from rendezvous_router.spec_store import _decode
from rendezvous_router.tenants.accounts import accounts_text
from rendezvous_router.tenants.keys import KeyHolder, KeyRing, make_key, new_record
from rendezvous_router.tenants.register import REGISTER, RegisterFile

from tests.fuzz.material import endpoints, view_all
from tests.fuzz.messages import write_tensors
from tests.fuzz.oracle import SPEC_ERRORS, refuse

BODY_BYTES = 1 << 20
NOW = dt.datetime.now(dt.UTC)
CHUNKS = (1, 7, 4096, 1 << 20)
"""Sizes of the pieces in which a body comes."""


def fuzz_json(data: bytes) -> None:
    """A JSON body becomes a frame of the signature, or is refused."""
    _read(data, JSON)


def fuzz_csv(data: bytes) -> None:
    """So does a CSV body."""
    _read(data, CSV)


def fuzz_arrow(data: bytes) -> None:
    """So does an Arrow body; nothing in it is followed unchecked."""
    _read(data, ARROW_STREAM)


def fuzz_infer_body(data: bytes) -> None:
    """Tensors over REST, typed or binary behind a lying length, become the signature's columns or are refused."""
    length, _, body = data.partition(b"\n")
    document, binary = read_document(body, length.decode("latin-1") or None)
    wanted, tensors = wanted_of(document), tensors_of(document, binary)
    _ = document.binary
    read_wishes(document.parameters or {})
    for endpoint in endpoints().values():
        try:
            check_wanted(wanted, endpoint.spec.outputs, "endpoint e")
            write_tensors(endpoint.inputs.accept(frame_of(tensors, endpoint.spec.inputs, "endpoint e")).frame)
        except RendezvousError as error:
            refuse(error)


def fuzz_packed(data: bytes) -> None:
    """A compressed body is inflated up to the limit, in whatever pieces it comes, or refused."""
    encoding, _, body = data.partition(b"\n")
    outcomes: list[object] = []
    for size in CHUNKS if len(body) < 1 << 14 else CHUNKS[-2:]:
        try:
            inflated = _read_body(body, [(b"content-encoding", encoding)], size)
        except (RendezvousError, HttpFaultError) as error:
            refuse(error)
            outcomes.append(type(error))
        else:
            assert len(inflated) <= BODY_BYTES
            outcomes.append(inflated)
    assert all(outcome == outcomes[0] for outcome in outcomes), "it depends on the pieces"


def fuzz_head(data: bytes) -> None:
    """Query and headers are understood or refused."""
    query, *lines = data.split(b"\n")
    pairs = [line.partition(b":") for line in lines]
    headers = read_headers((name.strip().lower(), value.strip()) for name, _, value in pairs)
    problems: list[RendezvousError | HttpFaultError] = []
    for read in (
        lambda: read_query(query),
        lambda: media_of_body(headers.get("content-type")),
        lambda: choose_answer(headers.get("accept"), MEDIA),
        lambda: remaining_s(headers, 0.1),
        lambda: parse_bearer(headers.get("authorization")),
    ):
        try:
            read()  # type: ignore[no-untyped-call] # each has another type
        except (RendezvousError, HttpFaultError) as error:
            problems.append(error)
    for each in problems:
        refuse(each)
        problem_of(each.error if isinstance(each, HttpFaultError) else each)


def fuzz_key(data: bytes) -> None:
    """Nothing but the whole key opens; and no refusal repeats what was shown."""
    text = data.decode("latin-1")
    ring, right = _ring()
    holder = ring.find(parse_bearer(text), 1e9)
    assert (holder is not None) == (text[:7].lower() == "bearer " and text[7:].strip() == right)
    said = ""
    try:
        parse_key(text)
    except RendezvousError as error:
        refuse(error)
        said = error.message
    assert len(text) < 12 or text not in said


def fuzz_register(data: bytes) -> None:
    """A register is refused as a whole, or every key in it can be asked for and every account written."""
    folder = _folder()
    (folder / REGISTER).write_bytes(data)
    register = RegisterFile(folder).read()
    ring = register.key_ring()
    for tenant in register.tenants.values():
        for record in tenant.keys.values():
            assert record.uses_nats in (True, False)
            ring.find(parse_bearer(f"Bearer rv_{record.id}_" + "a2" * 26), 1e9)
    accounts_text(register, "secret", 1e9)


def fuzz_spec(data: bytes) -> None:
    """A specification is refused with what is wrong in it, or can be put in force."""
    path = _folder() / "spec.yaml"
    path.write_bytes(data)
    with suppress(RendezvousError):
        _decode(Entry(key="spec", revision=1, created=NOW, value=data))
    said = ""
    try:
        compile_endpoint(load_spec(path), 1)
    except SPEC_ERRORS as error:
        said = str(error)
    assert len(said) < 100 * len(data) + 10_000, "more is said than was"


def _read(body: bytes, media: str) -> None:
    for endpoint in endpoints().values():
        codecs = {spec.name: ColumnCodec(spec) for spec in endpoint.info.signature.inputs}
        try:
            request, _ = _request_of(body, media, endpoint, codecs, "")
            view_all(endpoint.inputs.accept(request.inputs).frame)
        except (RendezvousError, HttpFaultError) as error:
            refuse(error)


def _read_body(body: bytes, headers: list[tuple[bytes, bytes]], size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    reading = read_body(receive, headers, BODY_BYTES)
    try:
        reading.send(None)
    except StopIteration as end:
        return bytes(end.value)
    raise AssertionError("it waits for more than there is")


@cache
def _ring() -> tuple[KeyRing, str]:
    key = make_key()
    return KeyRing({key.id: KeyHolder("acme", new_record(key, ["score"]))}), key.text


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="rendezvous-fuzz-"))
