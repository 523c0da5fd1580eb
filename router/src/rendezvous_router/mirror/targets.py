"""Where copies go: into the postbox of an endpoint elsewhere, or through the door of its router."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import grpc
from nats import errors
from rendezvous.spec import EndpointSpec
from rendezvous_proto import v1
from rendezvous_proto.errors import OverloadedError, PermissionDeniedError, UnauthenticatedError, UnavailableError
from rendezvous_proto.frames import split_frame, type_number
from rendezvous_proto.postbox import MSG_ID_HEADER, input_subject
from rendezvous_sdk.calls import channel_options
from rendezvous_sdk.credentials import Credentials, host_of
from rendezvous_sdk.grpc_errors import from_rpc
from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.options import ClientOptions

from rendezvous_router.mirror.copies import COMPONENT, Selection, copy_parcel
from rendezvous_router.mirror.errors import MirrorError
from rendezvous_router.mirror.source import Patience, Source
from rendezvous_router.spec_store import SpecStore

__all__ = ["DoorTarget", "PostboxTarget", "Target", "spec_columns"]

MIRROR_HEADER = "Rendezvous-Mirror"
"""Header of a copied parcel: `<mirror>:<sequence at the source>`."""

_PUBLISH_LIMIT_S = 5.0
_ANSWER_LIMIT_S = 70.0
"""More than any endpoint's deadline: its own policy says how long an answer may take."""
_MAX_MESSAGE_BYTES = 16 << 20


class Target(Protocol):
    """Where copies go. Belongs to the event loop."""

    where: str
    """What messages call it."""

    async def columns(self) -> Sequence[v1.ColumnSpec]:
        """Returns the columns that the endpoint there takes; none: anything.

        Raises:
            MirrorError: there is no such endpoint.
        """
        ...

    async def last(self) -> int:
        """Returns the target's last sequence; 0 where it has none."""
        ...

    async def copied(self, after: int, mirror: str) -> set[int]:
        """Returns the sequences of the source that were copied behind the target's sequence *after*."""
        ...

    async def put(self, parcel_id: str, selection: Selection, sequence: int) -> int:
        """Copies; returns the target's sequence, 0 where it has none.

        Raises:
            MirrorError: the target did not answer for long, or refuses.
        """
        ...


class PostboxTarget:
    """The postbox of an endpoint: its models score, its archive keeps, and nobody decides. See `Target`.

    Args:
        nc: connection to the target's NATS.
        endpoint: name of the endpoint there.
        mirror: this mirror; also the return address.
        budget_us: time in which the models may score.
        where: what messages call it.
    """

    def __init__(self, nc: Connection, *, endpoint: str, mirror: str, budget_us: int, where: str) -> None:
        self.where = f"endpoint {endpoint} at {where}"
        self._nc = nc
        self._endpoint = endpoint
        self._mirror = mirror
        self._budget_us = budget_us
        self._revision = 0
        self._source = Source(nc, endpoint, where)

    async def columns(self) -> Sequence[v1.ColumnSpec]:
        """Reads the specification there."""
        found = await SpecStore(self._nc).get(self._endpoint)
        if found is None:
            raise MirrorError(f"there is no {self.where}: apply it there first, or name another with --as")
        spec, self._revision = found
        return spec_columns(spec)

    async def last(self) -> int:
        """Asks the stream there."""
        return await self._source.last()

    async def copied(self, after: int, mirror: str) -> set[int]:
        """Looks through what came into the postbox since."""
        found_ones = set()
        while (found := await self._source.next(after)) is not None:
            after = found.sequence
            name, _, sequence = found.headers.get(MIRROR_HEADER, "").partition(":")
            if name == mirror and sequence.isdigit():
                found_ones.add(int(sequence))
        return found_ones

    async def put(self, parcel_id: str, selection: Selection, sequence: int) -> int:
        """Publishes, and waits for the acknowledgement; under the parcel's id, so that it is there once."""
        parcel = copy_parcel(
            parcel_id,
            selection,
            endpoint=self._endpoint,
            router=self._mirror,
            spec_revision=self._revision,
            budget_us=self._budget_us,
        )
        headers = {MSG_ID_HEADER: parcel_id, MIRROR_HEADER: f"{self._mirror}:{sequence}"}
        payload = parcel.SerializeToString()
        patience = Patience(self.where)
        while True:
            try:
                acknowledged = await self._nc.jetstream().publish(
                    input_subject(self._endpoint), payload, timeout=_PUBLISH_LIMIT_S, headers=headers
                )
            except errors.MaxPayloadError as error:
                raise MirrorError(
                    f"a parcel of {len(payload)} bytes is more than {self.where} takes: raise max_payload there"
                ) from error
            except (errors.Error, TimeoutError, OSError) as error:
                await patience.wait(error)
            else:
                return acknowledged.seq


class DoorTarget:
    """A router's door: requests come in as any client's, so the whole endpoint works, decisions included. See `Target`.

    Args:
        address: `host:port`.
        endpoint: name of the endpoint there.
        credentials: shown there; nothing of the environment is, which is the source's.
        where: what messages call it.

    Raises:
        InvalidRequestError: the key would travel in the clear, or a file cannot be read.
    """

    def __init__(self, address: str, *, endpoint: str, credentials: Credentials, where: str) -> None:
        self.where = f"endpoint {endpoint} at {where}"
        self.refused = 0
        """Requests that were answered with an error: no answer in time, or refused."""
        self._endpoint = endpoint
        self._metadata = credentials.metadata
        secure = credentials.channel_credentials()
        credentials.check_exposure(host_of(address), has_tls=secure is not None)
        options = channel_options(ClientOptions(max_message_bytes=_MAX_MESSAGE_BYTES))
        self._channel = (
            grpc.aio.insecure_channel(address, options)
            if secure is None
            else grpc.aio.secure_channel(address, secure, options)
        )
        self._stub: Any = v1.ScoreStub(self._channel)  # type: ignore[no-untyped-call] # generated

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def columns(self) -> Sequence[v1.ColumnSpec]:
        """Asks `Describe`."""
        request = v1.DescribeRequest(endpoint=self._endpoint)
        try:
            info = await self._stub.Describe(request, timeout=_PUBLISH_LIMIT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise MirrorError(f"{self.where} does not describe itself: {from_rpc(error).message}") from error
        return list(info.signature.inputs)

    async def last(self) -> int:
        """Returns 0."""
        return 0

    async def copied(self, after: int, mirror: str) -> set[int]:  # noqa: ARG002 - a door does not tell
        """Returns none: a router answers a request that comes again within its window once, by its id."""
        return set()

    async def put(self, parcel_id: str, selection: Selection, sequence: int) -> int:  # noqa: ARG002 - ids do
        """Asks `Score` for each request, under its own id, all at once."""
        frames = split_frame(selection.frame, [item.rows for item in selection.items])
        asked = [
            v1.ScoreRequest(
                request_id=item.request_id,
                endpoint=self._endpoint,
                inputs=frame,
                context=item.context,
                provenance=[*item.provenance, COMPONENT],
            )
            for item, frame in zip(selection.items, frames, strict=True)
        ]
        await asyncio.gather(*map(self._ask, asked))
        return 0

    async def _ask(self, request: v1.ScoreRequest) -> None:
        patience = Patience(self.where)
        while True:
            try:
                await self._stub.Score(request, timeout=_ANSWER_LIMIT_S, metadata=self._metadata)
            except grpc.RpcError as failure:
                error = from_rpc(failure)
                if isinstance(error, UnauthenticatedError | PermissionDeniedError):
                    raise MirrorError(f"{self.where} refuses: {error.message}") from failure
                if not isinstance(error, UnavailableError | OverloadedError):
                    self.refused += 1
                    return
                await patience.wait(error)
            else:
                return


def spec_columns(spec: EndpointSpec) -> list[v1.ColumnSpec]:
    """Returns the columns that an endpoint's models see."""
    if not spec.inputs:
        return []
    return [
        v1.ColumnSpec(
            name=column.name,
            type=type_number(column.type),  # type: ignore[arg-type] # the enum's number
            shape=column.shape,
            allow_missing=column.missing,
            allow_nan=column.nan,
        )
        for column in spec.model_inputs()
    ]
