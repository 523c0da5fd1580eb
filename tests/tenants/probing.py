"""What every probe needs: where to knock, what belongs to the other tenant, a memory of each byte that came back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.keys import Key
from rendezvous_proto.v1 import Frame

TABLE = {"a": [1.0], "b": [2], "tag": ["x"]}
HOSTILE = {
    "x-tenant": "bank",
    "x-tenant-id": "bank",
    "tenant": "bank",
    "rendezvous-tenant": "bank",
    "x-rendezvous-tenant": "bank",
    "x-account": "bank",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-host": "bank",
    "x-forwarded-prefix": "/bank",
    "x-forwarded-user": "bank",
    "x-remote-user": "bank",
    "forwarded": "for=127.0.0.1;host=bank;proto=https",
}
"""Headers by which other systems tell tenants apart; over REST and as gRPC's metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prey:
    """What belongs to the other tenant."""

    canary: str
    """Random text that stands in everything that is theirs."""
    key_ids: tuple[str, ...] = ()
    """Public parts of their keys."""

    @property
    def endpoint(self) -> str:
        """Name of an endpoint."""
        return f"vault-{self.canary}"

    @property
    def model(self) -> str:
        """Name of its model."""
        return f"m-{self.canary}"

    @property
    def request_id(self) -> str:
        """Id of one of their requests, to that endpoint and to `sum`."""
        return f"id-{self.canary}"

    @property
    def row(self) -> str:
        """Text in a row of that request."""
        return f"row-{self.canary}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which a stranger may ask: leaked, nearly right, common to both, and none."""
        exact = self.endpoint
        near = f"{exact[:-1]}_"
        return (exact, f"{exact}x", near, "sum", "", "*", ">", f"bank/{exact}", f"bank.{exact}", f"../{exact}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to knock."""

    grpc: str
    """Address of the gRPC door."""
    rest: str
    """Host and port of the REST door."""
    nats: str
    """URL of nats-server."""
    prey: Prey
    """What is looked for."""


@dataclass
class Seen:
    """All that a stranger was told, without the stranger's own words."""

    scopes: tuple[str, ...] = ()
    """What the stranger's own key is for: a refusal says so."""
    told: list[bytes] = field(default_factory=list)
    """Piece by piece."""

    def add(self, told: Any, *said: str) -> None:
        """Keeps what came back; *said* are names that stand in the question: an echo of them tells nothing."""
        raw = told if isinstance(told, bytes) else str(told).encode()
        for words in sorted((*said, *self.scopes), key=len, reverse=True):
            raw = raw.replace(words.encode(), b"*") if words else raw
        self.told.append(raw)

    def has(self, *texts: str) -> list[bytes]:
        """Returns what holds one of *texts*, in capitals or not."""
        return [each[:2000] for each in self.told if any(text.lower().encode() in each.lower() for text in texts)]


def bearer(key: Key | None) -> dict[str, str]:
    """Returns a key's header."""
    return {} if key is None else {"authorization": f"Bearer {key.text}"}


def table(tag: str = "x") -> Frame:
    """Returns a row for endpoint `sum` and its like."""
    return encode_frame({**TABLE, "tag": [tag]}, types={"a": "FP64", "b": "INT64", "tag": "STRING"})


def metadata(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Returns headers as gRPC takes them."""
    return tuple(headers.items())


def said_in(question: object, *names: str) -> tuple[str, ...]:
    """Returns those of *names* that stand in a question."""
    text = str(question)
    return tuple(name for name in names if name and name in text)


def told_by(error: grpc.RpcError) -> str:
    """Returns everything that a failed call tells."""
    call: Any = error
    return f"{call.code()} {call.details()} {call.initial_metadata()} {call.trailing_metadata()}"
