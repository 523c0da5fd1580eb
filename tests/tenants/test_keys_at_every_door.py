"""Keys that are no good, at every door: the same words, the right status, an end within a second, no secret told."""

import asyncio
import http.client
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from rendezvous_proto.keys import Key
from rendezvous_proto.v1 import DescribeRequest, ErrorCode, ScoreReply, ScoreRequest
from rendezvous_router.tenants.keys import make_key

from tests.support.otlp import OtlpReceiver
from tests.support.tenants import TenantHouse
from tests.tenants.conftest import spec_of
from tests.tenants.grpc_probes import OIP, infer_request
from tests.tenants.probing import metadata, table
from tests.tenants.rest_probes import ROWS, TENSORS

Headers = dict[str, str]
Told = tuple[str, str, Headers]
"""Status, words, headers or metadata."""
WORDS = "a valid key is needed: send `authorization: Bearer rv_...`; one that is unknown, revoked or expired is none"
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Takes every trace."""
    with OtlpReceiver() as made:
        yield made


@pytest.fixture
def house(tmp_path: Path, receiver: OtlpReceiver) -> Iterator[TenantHouse]:
    """One tenant with an endpoint, a model, a router that logs all it can and traces everything."""
    made = TenantHouse(tmp_path, "bank")
    try:
        asyncio.run(made.apply("bank", spec_of("sum", "first")))
        environment = {"RENDEZVOUS_LOG_LEVEL": "debug", **receiver.environment, "OTEL_TRACES_SAMPLER": "always_on"}
        made.start_router(env=environment)
        made.start_model(made.add_key("bank", "model:sum/first"), "tests.support.models:first")
        yield made
    finally:
        made.stop()


def over_grpc(method: str, make_request: Callable[[], Any]) -> Callable[[TenantHouse, Headers], Told]:
    """Returns a door: a method over gRPC."""

    def ask(house: TenantHouse, headers: Headers) -> Told:
        with grpc.insecure_channel(house.stack.address) as channel:
            call = channel.unary_unary(method, lambda message: message.SerializeToString())
            try:
                call(make_request(), timeout=10, metadata=metadata(headers))
            except grpc.RpcError as error:
                failed: Any = error
                shown = {name: str(value) for name, value in failed.trailing_metadata() or ()}
                return failed.code().name, failed.details(), shown
            return "OK", "", {}

    return ask


def over_stream(house: TenantHouse, headers: Headers) -> Told:
    """A door: one request in a stream."""
    request = ScoreRequest(endpoint="sum", inputs=table())
    with grpc.insecure_channel(house.stack.address) as channel:
        call = channel.stream_stream(
            "/rendezvous.v1.Score/ScoreStream", ScoreRequest.SerializeToString, ScoreReply.FromString
        )
        [reply] = call(iter([request]), timeout=10, metadata=metadata(headers))
        return code_of(reply), reply.error.message, {}


def code_of(reply: ScoreReply) -> str:
    """Returns the code of a reply's error."""
    return str(ErrorCode.Name(reply.error.code).removeprefix("ERROR_CODE_")) if reply.HasField("error") else "OK"


def over_rest(method: str, path: str, document: Any = None) -> Callable[[TenantHouse, Headers], Told]:
    """Returns a door: a path over REST."""

    def ask(house: TenantHouse, headers: Headers) -> Told:
        connection = http.client.HTTPConnection(urlsplit(house.stack.rest).netloc, timeout=10)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, path, body, {**headers, "content-type": "application/json"})
            response = connection.getresponse()
            told = json.loads(response.read() or b"{}")
            shown = {name.lower(): value for name, value in response.getheaders()}
            return str(response.status), str(told.get("detail", told.get("error", ""))), shown
        finally:
            connection.close()

    return ask


DOORS: dict[str, Callable[[TenantHouse, Headers], Told]] = {
    "Score": over_grpc("/rendezvous.v1.Score/Score", lambda: ScoreRequest(endpoint="sum", inputs=table())),
    "Describe": over_grpc("/rendezvous.v1.Score/Describe", lambda: DescribeRequest(endpoint="sum")),
    "ScoreStream": over_stream,
    "ModelInfer": over_grpc(f"{OIP}ModelInfer", lambda: infer_request("sum")),
    "ModelReady": over_grpc(f"{OIP}ModelReady", lambda: infer_request("sum")),
    "ModelMetadata": over_grpc(f"{OIP}ModelMetadata", lambda: infer_request("sum")),
    "ServerReady": over_grpc(f"{OIP}ServerReady", DescribeRequest),
    "ServerMetadata": over_grpc(f"{OIP}ServerMetadata", DescribeRequest),
    "POST score": over_rest("POST", "/v1/endpoints/sum/score", ROWS),
    "GET endpoints": over_rest("GET", "/v1/endpoints"),
    "GET endpoint": over_rest("GET", "/v1/endpoints/sum"),
    "GET v2": over_rest("GET", "/v2"),
    "GET v2 ready": over_rest("GET", "/v2/health/ready"),
    "GET v2 model": over_rest("GET", "/v2/models/sum"),
    "GET v2 model ready": over_rest("GET", "/v2/models/sum/ready"),
    "POST v2 infer": over_rest("POST", "/v2/models/sum/infer", TENSORS),
}
"""Everything that asks for the scope `score`."""


def bad_headers(house: TenantHouse) -> dict[str, Headers]:
    """Returns credentials that are none, by what is wrong with them."""
    good = house.add_key("bank", "score")
    expired = house.add_key("bank", "score", expires_unix_s=int(time.time()) - 1)
    revoked = house.add_key("bank", "score")
    house.revoke(revoked)
    wrong = Key(good.id, make_key().secret)
    shown = {"unknown": make_key(), "wrong": wrong, "expired": expired, "revoked": revoked}
    bad = {name: {"authorization": f"Bearer {key.text}"} for name, key in shown.items()}
    return bad | {
        "none": {},
        "empty": {"authorization": ""},
        "no scheme": {"authorization": good.text},
        "another scheme": {"authorization": f"Basic {good.text}"},
        "cut": {"authorization": f"Bearer {good.text[:-1]}"},
        "longer": {"authorization": f"Bearer {good.text}a"},
        "in capitals": {"authorization": f"Bearer {good.text.upper()}"},
        "elsewhere": {"x-api-key": good.text, "cookie": f"key={good.text}", "rendezvous-key": good.text},
        "huge": {"authorization": f"Bearer rv_{'a' * 4000}"},
    }


def test_keys_that_are_none_are_told_the_same_at_every_door(house: TenantHouse) -> None:
    """Whatever is wrong with a key: 401 or UNAUTHENTICATED, the same words, and how to ask, at sixteen doors."""
    bad = bad_headers(house)
    time.sleep(0.5)  # the router looks at the register five times a second
    for door, ask in DOORS.items():
        for what, headers in bad.items():
            status, words, shown = ask(house, headers)
            assert status in ("401", "UNAUTHENTICATED"), (door, what, words)
            assert words == WORDS, (door, what)
            assert status != "401" or shown["www-authenticate"] == "Bearer", (door, what)


def test_a_key_for_something_else_is_told_so_at_every_door(house: TenantHouse) -> None:
    """403 or PERMISSION_DENIED with the scope that is wanted, and without the way to log in."""
    keys = [house.add_key("bank", scope) for scope in ("feedback", "control", "model:sum/first")]
    assert until(lambda: DOORS["Score"](house, bearer(keys[-1]))[0] == "PERMISSION_DENIED", 2.0)
    for door, ask in DOORS.items():
        for key in keys:
            status, words, shown = ask(house, bearer(key))
            assert status in ("403", "PERMISSION_DENIED"), (door, words)
            assert "no scope 'score'" in words, door
            assert "www-authenticate" not in shown, door
    feedback = over_rest("POST", "/v1/feedback", {})
    assert feedback(house, bearer(house.add_key("bank", "score")))[0] in ("401", "403")
    assert feedback(house, bearer(keys[0]))[0] == "400", "past the reception"


def bearer(key: Key) -> Headers:
    """Returns the header that shows a key."""
    return {"authorization": f"Bearer {key.text}"}


def until(is_so: Callable[[], bool], within_s: float) -> bool:
    """Returns whether it became so in time."""
    give_up = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def test_a_revoked_key_ends_at_every_door_within_a_second(house: TenantHouse) -> None:
    """Revoked or expired, it is refused everywhere a second later; another key goes on."""
    key, other = house.add_key("bank", "score"), house.add_key("bank", "score")
    fading = house.add_key("bank", "score", expires_unix_s=int(time.time()) + 3)
    assert until(lambda: DOORS["POST score"](house, bearer(fading))[0] == "200", 2.0)
    for door, ask in DOORS.items():
        assert ask(house, bearer(key))[0] in ("200", "OK"), door
    house.revoke(key)
    revoked_at = time.monotonic()
    assert until(lambda: DOORS["POST score"](house, bearer(key))[0] == "401", 1.0), time.monotonic() - revoked_at
    for door, ask in DOORS.items():
        assert ask(house, bearer(key))[0] in ("401", "UNAUTHENTICATED"), door
    assert DOORS["ModelInfer"](house, bearer(other))[0] == "OK"
    assert until(lambda: DOORS["ModelInfer"](house, bearer(fading))[0] == "UNAUTHENTICATED", 4.0)


async def test_a_stream_that_is_open_ends_with_its_key(house: TenantHouse) -> None:
    """Each request of a stream is admitted anew: answered before the revocation, refused within a second after it."""
    key = house.add_key("bank", "score")
    await asyncio.to_thread(until, lambda: DOORS["Score"](house, bearer(key))[0] == "OK", 2.0)
    asked: asyncio.Queue[ScoreRequest] = asyncio.Queue()

    async def requests() -> AsyncIterator[bytes]:
        while True:
            yield (await asked.get()).SerializeToString()

    async with grpc.aio.insecure_channel(house.stack.address) as channel:
        call = channel.stream_stream("/rendezvous.v1.Score/ScoreStream")(requests(), metadata=metadata(bearer(key)))
        revoked_at = 0.0
        for number in range(200):
            await asked.put(ScoreRequest(request_id=f"r{number}", endpoint="sum", inputs=table()))
            reply = ScoreReply.FromString(await asyncio.wait_for(call.read(), 10))
            if reply.HasField("error"):
                break
            if number == 20:
                await asyncio.to_thread(house.revoke, key)
                revoked_at = time.monotonic()
            await asyncio.sleep(0.01 if revoked_at else 0)
        assert revoked_at
        assert time.monotonic() - revoked_at < 1.0
        assert (code_of(reply), reply.error.message) == ("UNAUTHENTICATED", WORDS)
        call.cancel()


def test_no_secret_is_in_logs_traces_errors_or_metrics(house: TenantHouse, receiver: OtlpReceiver) -> None:
    """After good keys and bad ones at every door, nothing that the router writes, tells or exports has a secret."""
    good, other = house.add_key("bank", "score"), house.add_key("bank", "control")
    wrong = Key(good.id, make_key().secret)
    revoked = house.add_key("bank", "score")
    house.revoke(revoked)
    assert until(lambda: DOORS["Score"](house, bearer(good))[0] == "OK", 2.0)
    keys = (good, other, wrong, revoked)
    told: list[object] = []
    for ask in DOORS.values():
        for key in keys:
            told.append(ask(house, {**bearer(key), "traceparent": SAMPLED}))
            told.append(ask(house, {"authorization": f"Basic {key.text}", "traceparent": SAMPLED}))
    connection = http.client.HTTPConnection(urlsplit(house.stack.page).netloc, timeout=10)
    connection.request("GET", "/metrics", headers=bearer(good))
    told.append(connection.getresponse().read())
    connection.close()
    told += receiver.spans(lambda spans: len(spans) > 10)
    told += [str(metrics) for metrics in receiver.metrics()]
    house.stack.stop()
    written = b"".join(path.read_bytes() for path in house.folder.rglob("*") if path.is_file())
    text = repr(told).encode() + written
    assert b"sum" in text
    assert not [key.id for key in keys if key.secret.encode() in text]
