"""Specifications in the key-value bucket: revisions, lost updates, history, going back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client
from rendezvous.spec import EndpointSpec, parse_spec
from rendezvous_proto.errors import InvalidSpecError, UnknownEndpointError
from rendezvous_proto.postbox import ENDPOINTS_BUCKET
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.spec_store import LostUpdateError, SpecStore
from rendezvous_sdk.nats_connection import connect


def _spec(endpoint: str = "credit", deadline: str = "100ms") -> EndpointSpec:
    document: dict[str, Any] = {
        "endpoint": endpoint,
        "inputs": [{"name": "amount", "type": "FP64"}],
        "outputs": [{"name": "risk", "type": "FP64"}],
        "models": {"boosted": {"role": "champion"}},
        "policy": {"deadline": deadline, "steps": [{"take": "best"}]},
    }
    return parse_spec(document)


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection to the real server."""
    connection = await connect(nats_server.url, name="test", timeout_s=5)
    yield connection
    await connection.close()


async def test_what_is_put_is_read_back(client: Client) -> None:
    """A stored specification comes back equal, with the revision that storing it gave."""
    store = SpecStore(client)
    revision = await store.put(_spec())
    assert await store.get("credit") == (_spec(), revision)
    assert await store.list() == [(_spec(), revision)]
    assert await store.names() == ["credit"]


async def test_nothing_stored_is_nothing_found(client: Client) -> None:
    """Before the bucket exists every reading is empty, and deleting says that there was nothing."""
    store = SpecStore(client)
    assert await store.get("credit") is None
    assert await store.list() == []
    assert await store.history("credit") == []
    assert await store.delete("credit") is False


async def test_ensure_may_be_called_by_many(client: Client) -> None:
    """Making the bucket twice changes nothing."""
    await SpecStore(client).ensure()
    revision = await SpecStore(client).put(_spec())
    await SpecStore(client).ensure()
    assert await SpecStore(client).get("credit") == (_spec(), revision)


async def test_lost_update_is_refused(client: Client) -> None:
    """A change based on a revision that is no longer the latest is refused and names both."""
    store = SpecStore(client)
    first = await store.put(_spec(), expected_revision=0)
    second = await store.put(_spec(deadline="90ms"), expected_revision=first)
    with pytest.raises(LostUpdateError, match=f"at revision {second}, not {first}: someone else changed it"):
        await store.put(_spec(deadline="80ms"), expected_revision=first)
    with pytest.raises(LostUpdateError, match="not 0"):
        await store.put(_spec(), expected_revision=0)
    assert await store.get("credit") == (_spec(deadline="90ms"), second)


async def test_deleted_endpoint_can_be_put_again(client: Client) -> None:
    """A deleted endpoint is not there, keeps its history, and can be stored anew as if it never was."""
    store = SpecStore(client)
    await store.put(_spec())
    assert await store.delete("credit") is True
    assert await store.get("credit") is None
    assert [each.spec for each in await store.history("credit")] == [_spec(), None]
    revision = await store.put(_spec(), expected_revision=0)
    assert await store.get("credit") == (_spec(), revision)


async def test_rollback_makes_a_new_revision(client: Client) -> None:
    """Going back stores the old content as the newest revision; the history keeps all."""
    store = SpecStore(client)
    first = await store.put(_spec(deadline="10ms"))
    await store.put(_spec(deadline="20ms"))
    await store.put(_spec(deadline="30ms"))
    latest = await store.rollback("credit")
    assert await store.get("credit") == (_spec(deadline="20ms"), latest)
    latest = await store.rollback("credit", first)
    assert await store.get("credit") == (_spec(deadline="10ms"), latest)
    deadlines = [each.spec.policy.deadline for each in await store.history("credit") if each.spec]
    assert deadlines == ["10ms", "20ms", "30ms", "20ms", "10ms"]


async def test_rollback_undoes_a_deletion(client: Client) -> None:
    """Going back from a deletion puts the endpoint in force again."""
    store = SpecStore(client)
    await store.put(_spec())
    await store.delete("credit")
    revision = await store.rollback("credit")
    assert await store.get("credit") == (_spec(), revision)


@pytest.mark.parametrize(
    ("endpoint", "revision", "error", "message"),
    [
        ("nobody", None, UnknownEndpointError, "endpoint 'nobody' is not known"),
        ("credit", None, InvalidSpecError, "nothing to go back to; revisions kept: 1"),
        ("credit", 77, InvalidSpecError, "cannot go back to revision 77; revisions kept: 1"),
    ],
)
async def test_impossible_rollback_is_refused(
    client: Client, endpoint: str, revision: int | None, error: type[Exception], message: str
) -> None:
    """A rollback that cannot be done says why and which revisions there are."""
    store = SpecStore(client)
    await store.put(_spec())
    with pytest.raises(error, match=message):
        await store.rollback(endpoint, revision)


async def test_purge_forgets_the_history(client: Client) -> None:
    """Purging leaves nothing to go back to."""
    store = SpecStore(client)
    await store.put(_spec())
    await store.purge("credit")
    assert await store.get("credit") is None
    assert [each.spec for each in await store.history("credit")] == [None]


async def test_unreadable_value_is_named_and_left_out(client: Client) -> None:
    """A value that is no specification is refused by name when asked for, and does not hide the others."""
    store = SpecStore(client)
    await store.put(_spec("other"))
    bucket = await client.jetstream().key_value(ENDPOINTS_BUCKET)
    await bucket.put("credit", b"{not json")
    with pytest.raises(InvalidSpecError, match="endpoint credit revision 2 is stored but not valid"):
        await store.get("credit")
    assert [spec.endpoint for spec, _ in await store.list()] == ["other"]
    assert await store.names() == ["credit", "other"]
