"""A stranger with keys of every kind, at every door: nothing of another tenant is seen, and nothing of it changes."""

import asyncio
import gc
import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from rendezvous_proto import inference as oip
from rendezvous_proto.keys import Key
from rendezvous_proto.v1 import DescribeRequest, ScoreReply, ScoreRequest
from rendezvous_router.tenants.keys import make_key

from tests.support.archiving import settled
from tests.tenants.conftest import PREY_TENANT, Town, ask_all
from tests.tenants.grpc_probes import OIP, infer_request, probe_grpc, record_requests
from tests.tenants.nats_probes import probe_again, probe_login, probe_nats
from tests.tenants.probing import Place, Seen, bearer, metadata, table, told_by
from tests.tenants.record import read_files, read_record
from tests.tenants.rest_probes import ROWS, TENSORS, probe_rest

# nats-py leaves the transport of a connection open that the server has closed or refused
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(300),
]
Probe = Callable[[Place, Key | None, Seen], None]
PROBES: dict[str, Probe] = {"grpc": probe_grpc, "rest": probe_rest}


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()


async def kept(town: Town) -> dict[str, Any]:
    """Returns the prey's record, once its answers are written down and acknowledged."""
    client = await town.house.operator(PREY_TENANT)
    try:
        last: dict[str, Any] = {}
        while True:
            record = await read_record(client)
            if record == last:
                return record
            last = record
            await asyncio.sleep(0.5)
    finally:
        await client.close()


async def archive(town: Town) -> dict[str, str]:
    """Lets the prey's archive write what is new, and returns a hash of each file of the archive."""
    folder = town.folder / "archive"
    archiver = town.house.start_archive(PREY_TENANT, folder)
    client = await town.house.operator(PREY_TENANT)
    try:
        await settled(client, folder, town.place.prey.endpoint, PREY_TENANT)
    finally:
        await client.close()
        archiver.stop()
    return read_files(folder)


@pytest.mark.parametrize("door", PROBES)
async def test_a_stranger_at_the_door_sees_and_changes_nothing(town: Town, door: str) -> None:
    """Every method and path, names leaked and guessed, with every kind of key: no byte of the prey's comes back."""
    before = await kept(town)
    for kind, key in town.strangers.items():
        seen = Seen((f"model:{town.place.prey.endpoint}/{town.place.prey.model}",))
        await asyncio.to_thread(PROBES[door], town.place, key, seen)
        assert len(seen.told) > 100, kind
        assert not seen.has(town.place.prey.canary, *town.place.prey.key_ids), kind
    assert await kept(town) == before


@pytest.mark.parametrize("door", PROBES)
async def test_the_same_probes_see_all_where_there_are_no_tenants(hamlet: Place, door: str) -> None:
    """So what the test above does not find could have been found."""
    seen = Seen()
    await asyncio.to_thread(PROBES[door], hamlet, None, seen)
    assert len(seen.has(hamlet.prey.canary)) > 20
    assert any(hamlet.prey.model.encode() in each for each in seen.told)


async def test_a_stranger_in_nats_sees_and_changes_nothing(town: Town) -> None:
    """The whole API, forged subjects and headers, listening everywhere while the prey works, and its archive."""
    before = await kept(town)
    archived = await archive(town)
    assert archived
    seen, clients = Seen(), {}
    for kind, key in town.strangers.items():
        client = await probe_nats(town.place, key, seen)
        if client is not None:
            clients[kind] = client
    assert set(clients) == {"control", "model", "model of their names", "everything"}
    await probe_login(town.place, town.strangers["everything"] or make_key(), seen)
    assert await kept(town) == before
    assert await archive(town) == archived

    await asyncio.to_thread(ask_all, town.place.grpc, town.place.prey, town.theirs["score"], "later")
    assert await kept(town) != before
    for kind, client in clients.items():
        await probe_again(client, town.strangers[kind], town.place, seen)
        await client.close()
    assert len(seen.told) > 500
    assert not seen.has(town.place.prey.canary)


async def test_the_same_nats_probes_see_and_destroy_where_there_is_one_account(hamlet: Place) -> None:
    """So what the test above does not find could have been found."""
    seen = Seen()
    client = await probe_nats(hamlet, None, seen)
    assert client is not None
    await client.close()
    assert seen.has(hamlet.prey.row)
    assert seen.has(hamlet.prey.model)
    assert sum(b'"success":true' in told for told in seen.told) >= 2, "a purge, a deletion"


def over_grpc(place: Place, method: str, request: Any, key: Key | None) -> str:
    """Returns everything that the gRPC door tells in answer to a call."""
    with grpc.insecure_channel(place.grpc) as channel:
        call = channel.unary_unary(method, lambda message: message.SerializeToString())
        try:
            return repr(call(request, timeout=10, metadata=metadata(bearer(key))))
        except grpc.RpcError as error:
            return told_by(error)


def over_stream(place: Place, name: str, key: Key | None) -> str:
    """Returns what a stream's reply tells."""
    request = ScoreRequest(endpoint=name, request_id="x", inputs=table())
    with grpc.insecure_channel(place.grpc) as channel:
        call = channel.stream_stream(
            "/rendezvous.v1.Score/ScoreStream", ScoreRequest.SerializeToString, ScoreReply.FromString
        )
        return str(list(call(iter([request]), timeout=10, metadata=metadata(bearer(key)))))


def over_rest(place: Place, method: str, path: str, key: Key | None, document: Any = None) -> str:
    """Returns status, headers and body, but for what is of the moment."""
    connection = http.client.HTTPConnection(place.rest, timeout=10)
    try:
        headers = {**bearer(key), "content-type": "application/json", "x-request-id": "x"}
        connection.request(method, path, None if document is None else json.dumps(document), headers)
        response = connection.getresponse()
        # `connection` says whether the refusal was faster than the second packet, the body
        passing = {"date", "connection"}
        shown = {name.lower(): value for name, value in response.getheaders() if name.lower() not in passing}
        return f"{response.status} {shown} {response.read()!r}"
    finally:
        connection.close()


ASKS: dict[str, Callable[[Place, str, Key | None], str]] = {
    "Describe": lambda place, name, key: over_grpc(
        place, "/rendezvous.v1.Score/Describe", DescribeRequest(endpoint=name), key
    ),
    "Score": lambda place, name, key: over_grpc(
        place, "/rendezvous.v1.Score/Score", ScoreRequest(endpoint=name, request_id="x", inputs=table()), key
    ),
    "Record": lambda place, name, key: over_grpc(
        place, "/rendezvous.v1.Feedback/Record", next(record_requests(place.prey, name)), key
    ),
    "ScoreStream": over_stream,
    "ModelReady": lambda place, name, key: over_grpc(place, f"{OIP}ModelReady", oip.ModelReadyRequest(name=name), key),
    "ModelMetadata": lambda place, name, key: over_grpc(
        place, f"{OIP}ModelMetadata", oip.ModelMetadataRequest(name=name), key
    ),
    "ModelMetadata of a version": lambda place, name, key: over_grpc(
        place, f"{OIP}ModelMetadata", oip.ModelMetadataRequest(name=name, version="1"), key
    ),
    "ModelInfer": lambda place, name, key: over_grpc(place, f"{OIP}ModelInfer", infer_request(name), key),
    "GET endpoint": lambda place, name, key: over_rest(place, "GET", f"/v1/endpoints/{name}", key),
    "POST score": lambda place, name, key: over_rest(place, "POST", f"/v1/endpoints/{name}/score", key, ROWS),
    "POST nonsense": lambda place, name, key: over_rest(place, "POST", f"/v1/endpoints/{name}/score", key, [1]),
    "GET v2": lambda place, name, key: over_rest(place, "GET", f"/v2/models/{name}", key),
    "GET v2 ready": lambda place, name, key: over_rest(place, "GET", f"/v2/models/{name}/ready", key),
    "POST v2 infer": lambda place, name, key: over_rest(place, "POST", f"/v2/models/{name}/infer", key, TENSORS),
}
"""Ways to ask for an endpoint, or one of its models, by name."""


@pytest.mark.parametrize("way", ASKS)
def test_a_foreign_endpoint_looks_like_one_that_nobody_has(town: Town, way: str) -> None:
    """Same status, same headers, same words but for the name, whatever key is shown."""
    prey = town.place.prey
    foreign, unknown = prey.endpoint, f"{prey.endpoint[:-1]}_"
    pairs = [(foreign, unknown)]
    if "v2" in way or way.startswith("Model"):
        pairs += [(f"{name}/{prey.model}", f"{other}/{prey.model}") for name, other in pairs]
    for kind, key in town.strangers.items():
        for name, other in pairs:
            told, expected = (
                ASKS[way](town.place, asked, key).replace(f"model:{foreign}", "SCOPE").replace(endpoint, "NAME")
                for asked, endpoint in ((name, foreign), (other, unknown))
            )
            assert told == expected, kind
            scope = "feedback" if way == "Record" else "score"
            assert ("NAME" in told) == (kind in (scope, "everything")), kind


@pytest.mark.parametrize("way", ["Score", "POST score", "POST v2 infer"])
def test_a_foreign_endpoint_takes_no_longer_than_an_unknown_one(town: Town, way: str) -> None:
    """Asked in turns, the medians of 150 each differ by less than a third."""
    prey = town.place.prey
    names = (prey.endpoint, f"{prey.endpoint[:-1]}_")
    took: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(300):
        name = names[turn % 2]
        started = time.perf_counter()
        ASKS[way](town.place, name, town.strangers["score"])
        took[name].append(time.perf_counter() - started)
    foreign, unknown = (statistics.median(took[name]) for name in names)
    assert abs(foreign - unknown) < unknown / 3


def test_a_retry_with_anothers_request_id_is_a_request_of_ones_own(town: Town) -> None:
    """The same id and the same row at an endpoint of the same name: the own model's answer, not the other tenant's."""
    prey = town.place.prey
    request = ScoreRequest(endpoint="sum", request_id="known-to-both", inputs=table(prey.row))
    answers = {}
    for kind, key in (("theirs", town.theirs["score"]), ("own", town.strangers["score"])):
        with grpc.insecure_channel(town.place.grpc) as channel:
            call = channel.unary_unary(
                "/rendezvous.v1.Score/Score", ScoreRequest.SerializeToString, ScoreReply.FromString
            )
            answers[kind] = call(request, timeout=10, metadata=metadata(bearer(key)))
    assert (answers["own"].model, answers["theirs"].model) == ("first", prey.model)
    assert answers["own"].decision.spec_revision == 1


def test_a_model_of_the_same_name_is_ones_own(town: Town) -> None:
    """The other tenant's replica of `sum/shared` is live; one's own has none, and no version of it is told."""
    asked = oip.ModelReadyRequest(name="sum/shared")
    theirs = over_grpc(town.place, f"{OIP}ModelReady", asked, town.theirs["score"])
    own = over_grpc(town.place, f"{OIP}ModelReady", asked, town.strangers["score"])
    assert (theirs, own) == (repr(oip.ModelReadyResponse(ready=True).SerializeToString()), repr(b""))
    for key, versions in ((town.theirs["score"], [f"v-{town.place.prey.canary}"]), (town.strangers["score"], [])):
        told = over_rest(town.place, "GET", "/v2/models/sum/shared", key)
        assert (f"v-{town.place.prey.canary}" in told) == bool(versions), told


def test_lists_show_ones_own_only(town: Town) -> None:
    """Endpoints, the OpenAPI document and its paths: each tenant's key shows what is that tenant's."""
    prey = town.place.prey
    for key, names in ((town.strangers["score"], {"sum"}), (town.theirs["score"], {"sum", prey.endpoint})):
        for path in ("/v1/endpoints", "/openapi.json"):
            told = over_rest(town.place, "GET", path, key)
            assert told.startswith("200"), told
            assert {name for name in ("sum", prey.endpoint) if name in told} == names, path
    empty = over_rest(town.place, "GET", "/openapi.json", None)
    assert "/v1/endpoints/sum" not in empty
    assert over_rest(town.place, "GET", "/metrics", town.theirs["score"]).startswith("404")
