"""Speaks to nats-server itself: tries every way of its API to what belongs to another account."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from rendezvous_proto.keys import Key, inbox_prefix
from rendezvous_proto.postbox import durable_stream, score_stream

from tests.tenants.probing import Place, Prey, Seen, said_in

SETTLE_S = 0.3
_PACKED = re.compile(rb'"(?:data|hdrs)": ?"([A-Za-z0-9+/]+=*)"')
APIS = ("$JS.API", "$JS.bank.API", "$JS.BANK.API", "bank.$JS.API")
BUCKETS = ("KV_rv_endpoints", "KV_rv_models", "KV_rv_replicas", "KV_rv_routers")
SYSTEM = (
    "$SYS.REQ.USER.INFO",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.PING.ACCOUNTZ",
    "$SYS.REQ.SERVER.PING.CONNZ",
    "$SYS.REQ.SERVER.PING.JSZ",
    "$SYS.REQ.SERVER.PING.SUBSZ",
    "$SYS.REQ.ACCOUNT.PING.STATZ",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.bank.CONNZ",
    "$SYS.REQ.ACCOUNT.bank.JSZ",
    "$SYS.REQ.ACCOUNT.bank.SUBSZ",
    "$SYS.REQ.ACCOUNT.bank.INFO",
)
LISTENS = (
    *(">", "*", "rv.>", "rv.*.input", "*.*.input", "$JS.>", "$JS.ACK.>", "$JS.EVENT.>", "$JSC.>", "$KV.>", "$O.>"),
    *("$SYS.>", "$SYS.ACCOUNT.>", "$NRG.>", "_INBOX.>", "*.>", "_R_.>", "_GR_.>", "bank.>", "$G.>"),
)


async def probe_nats(place: Place, key: Key | None, seen: Seen) -> Client | None:
    """Listens everywhere, and sends everything everywhere, as the owner of *key*.

    Returns:
        The connection, still listening, to be closed; None: there was none to be had.
    """
    try:
        client = await _connect(place, key, seen)
    except (nats.errors.Error, OSError) as error:
        seen.add(repr(error))
        return None
    heard = _Ear(place.prey, seen).hear
    inbox = f"{inbox_prefix(key)}.probe" if key else "_INBOX.probe"
    await client.subscribe(f"{inbox}.>", cb=heard)
    for subject in _listens(place.prey):
        for queue in ("", "rendezvous"):
            await client.subscribe(subject, queue=queue, cb=heard)
    await client.flush()
    for number, (subject, payload, headers) in enumerate(_questions(place.prey, inbox)):
        await client.publish(subject, payload, reply=f"{inbox}.{number}", headers=headers)
    await client.flush()
    await asyncio.sleep(SETTLE_S)
    return client


async def probe_again(client: Client, key: Key | None, place: Place, seen: Seen) -> None:
    """Reads what has got into streams of one's own that have the prey's names."""
    inbox = f"{inbox_prefix(key)}.again" if key else "_INBOX.again"
    await client.subscribe(f"{inbox}.>", cb=_Ear(place.prey, seen).hear)
    for stream in _streams(place.prey):
        for number in range(1, 20):
            question = json.dumps({"seq": number}).encode()
            await client.publish(f"$JS.API.STREAM.MSG.GET.{stream}", question, reply=f"{inbox}.{stream[-1]}{number}")
    await client.flush()
    await asyncio.sleep(SETTLE_S)


async def probe_login(place: Place, key: Key, seen: Seen) -> None:
    """Tries to be let in as somebody else, line by line as NATS speaks, and keeps what the server says."""
    names = ("bank", "router", *place.prey.key_ids)
    logins: list[dict[str, Any]] = [{"user": name, "pass": key.secret} for name in names]
    logins += [{"user": name, "pass": ""} for name in names]
    logins += [{"auth_token": key.text}, {"auth_token": key.secret}, {}, {"jwt": "bank", "sig": ""}, {"nkey": "bank"}]
    address = urlsplit(place.nats)
    for login in logins:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        asked = {"verbose": True, "account": "bank", "new_account": False, **login}
        writer.write(f"CONNECT {json.dumps(asked)}\r\nSUB > 1\r\nPING\r\n".encode())
        told = await asyncio.wait_for(reader.read(1 << 16), 5)
        while b"-ERR" not in told and b"PONG" not in told:
            more = await asyncio.wait_for(reader.read(1 << 16), 5)
            told += more or b"-ERR"
        seen.add(told)
        assert b"Authorization Violation" in told, told
        writer.close()
        await writer.wait_closed()


class _Ear:
    """Keeps what is heard."""

    def __init__(self, prey: Prey, seen: Seen) -> None:
        self._prey, self._seen = prey, seen

    async def hear(self, message: Msg) -> None:
        """Takes a message."""
        for packed in _PACKED.findall(message.data):
            self._seen.add(base64.b64decode(packed), *_own_words(self._prey))
        text = f"{message.subject} {message.headers} {message.data!r}"
        # Of a name that is asked for, its echo in an answer's error or in an own stream's configuration tells nothing.
        self._seen.add(text, *said_in(text, *_own_words(self._prey)))


def _own_words(prey: Prey) -> tuple[str, ...]:
    return (*_streams(prey), f"rv.{prey.endpoint}.", _consumer(prey), *_forged_subjects(prey))


async def _connect(place: Place, key: Key | None, seen: Seen) -> Client:
    async def note(error: Exception) -> None:
        seen.add(repr(error), *said_in(repr(error), *_lower(place.prey)))

    facts: dict[str, Any] = {}
    if key is not None:
        facts = {"user": key.id, "password": key.secret, "inbox_prefix": inbox_prefix(key).encode()}
    return await nats.connect(place.nats, allow_reconnect=False, error_cb=note, **facts)


def _lower(prey: Prey) -> tuple[str, ...]:
    # The client library tells a refused subject in small letters.
    words = (*_own_words(prey), prey.endpoint, prey.model)
    return (*words, *(word.lower() for word in words))


def _listens(prey: Prey) -> Iterator[str]:
    yield from LISTENS
    yield from (f"rv.{prey.endpoint}.>", f"rv.{prey.endpoint}.input", f"$KV.rv_endpoints.{prey.endpoint}")
    yield from (f"_INBOX_{key_id}.>" for key_id in prey.key_ids)


def _streams(prey: Prey) -> tuple[str, ...]:
    return durable_stream(prey.endpoint), score_stream(prey.endpoint)


def _consumer(prey: Prey) -> str:
    return f"{prey.model}__1"


def _questions(prey: Prey, inbox: str) -> Iterator[tuple[str, bytes, dict[str, str] | None]]:
    for api in APIS:
        for subject, document in _api_calls(prey, inbox, api):
            yield f"{api}.{subject}", json.dumps(document).encode(), None
    yield from ((subject, b"", None) for subject in SYSTEM)
    for subject in _forged_subjects(prey):
        for headers in _headers(prey, inbox):
            yield subject, b"+TERM", headers


def _api_calls(prey: Prey, inbox: str, api: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from (("INFO", {}), ("STREAM.NAMES", {}), ("STREAM.LIST", {}), ("ACCOUNT.PURGE.bank", {}))
    for stream in (*_streams(prey), *BUCKETS, "OBJ_artefacts"):
        yield f"STREAM.INFO.{stream}", {"subjects_filter": ">", "deleted_details": True}
        yield f"STREAM.MSG.GET.{stream}", {"seq": 1}
        yield f"STREAM.MSG.GET.{stream}", {"next_by_subj": ">", "seq": 1}
        yield f"DIRECT.GET.{stream}", {"seq": 1}
        yield f"DIRECT.GET.{stream}.rv.{prey.endpoint}.input", {}
        yield f"CONSUMER.NAMES.{stream}", {}
        yield f"CONSUMER.LIST.{stream}", {}
    yield from _takes(prey, inbox)
    yield from _thefts(prey, api)


def _takes(prey: Prey, inbox: str) -> Iterator[tuple[str, dict[str, Any]]]:
    consumer = _consumer(prey)
    for stream in _streams(prey):
        yield f"STREAM.SNAPSHOT.{stream}", {"deliver_subject": f"{inbox}.snapshot"}
        yield f"CONSUMER.INFO.{stream}.{consumer}", {}
        yield f"CONSUMER.MSG.NEXT.{stream}.{consumer}", {"batch": 10, "no_wait": True}
        for deliver in (f"{inbox}.pushed", *(f"_INBOX_{key_id}.x" for key_id in prey.key_ids)):
            config = {"deliver_subject": deliver, "ack_policy": "none", "deliver_policy": "all"}
            yield f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config}
        config = {"durable_name": consumer, "ack_policy": "explicit"}
        yield f"CONSUMER.DURABLE.CREATE.{stream}.{consumer}", {"stream_name": stream, "config": config}
        yield f"CONSUMER.DELETE.{stream}.{consumer}", {}
        yield f"STREAM.PURGE.{stream}", {}
        yield f"STREAM.MSG.DELETE.{stream}", {"seq": 1}
        yield f"STREAM.LEADER.STEPDOWN.{stream}", {}
        yield f"STREAM.DELETE.{stream}", {}
        yield f"STREAM.UPDATE.{stream}", {"name": stream, "subjects": [f"rv.{prey.endpoint}.input"], "max_msgs": 1}


def _thefts(prey: Prey, api: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Streams of one's own, filled from another's."""
    for number, stream in enumerate(_streams(prey)):
        for number_of_api, theirs in enumerate(("$JS.bank.API", "$JS.API", "bank.$JS.API")):
            name = f"thief-{number}-{number_of_api}"
            source = {"name": stream, "external": {"api": theirs, "deliver": "stolen"}}
            yield f"STREAM.CREATE.{name}", {"name": name, "sources": [source], "storage": "memory"}
            yield f"STREAM.CREATE.{name}-mirror", {"name": f"{name}-mirror", "mirror": source, "storage": "memory"}
        subjects = [f"rv.{prey.endpoint}.{'score.>' if number else '*'}"]  # what they publish, were it to get here
        config = {"name": stream, "subjects": subjects, "storage": "memory"}
        yield f"STREAM.CREATE.{stream}", config
        yield f"STREAM.RESTORE.{stream}", {"config": config, "state": {}}


def _forged_subjects(prey: Prey) -> Iterator[str]:
    stream, consumer = durable_stream(prey.endpoint), _consumer(prey)
    yield f"$JS.ACK.{stream}.{consumer}.1.1.1.1.0"
    yield f"$JS.ACK._.bank.{stream}.{consumer}.1.1.1.1.0.x"
    yield f"$JS.FC.{stream}.{consumer}.x"
    yield from (f"rv.{prey.endpoint}.{kind}" for kind in ("raw", "input", "decision", "feedback"))
    yield f"rv.{prey.endpoint}.score.{prey.model}.r1"
    yield f"$KV.rv_endpoints.{prey.endpoint}"
    yield f"$KV.rv_models.{prey.endpoint}.{prey.model}.1"
    yield f"$KV.rv_replicas.{prey.endpoint}.{prey.model}.1.x"
    yield from (f"_INBOX_{key_id}.x" for key_id in prey.key_ids)
    yield from ("_INBOX.x", "$O.artefacts.C.x", "$SRV.PING", f"bank.rv.{prey.endpoint}.input")


def _headers(prey: Prey, inbox: str) -> Iterator[dict[str, str] | None]:
    yield None
    yield {"Nats-Trace-Dest": f"{inbox}.trace"}
    yield {"Nats-Request-Info": json.dumps({"acc": "bank", "user": "router", "svc": "x"})}
    yield {"Nats-Expected-Stream": durable_stream(prey.endpoint), "Nats-Expected-Last-Sequence": "0"}
    yield {"Nats-Rollup": "sub", "Nats-Msg-Id": "x"}
    yield {"KV-Operation": "PURGE", "Nats-TTL": "1s", "Nats-Stream-Source": durable_stream(prey.endpoint)}
