"""What the blocking and the asyncio client have in common: where they ask, by whose authority, with which key."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from rendezvous_proto import v1

from rendezvous_sdk.calls import channel_options
from rendezvous_sdk.client_spans import ClientSpans
from rendezvous_sdk.credentials import Credentials, host_of
from rendezvous_sdk.options import ClientOptions


class ScoreConnection:
    """A connection to a router or a model; subclasses say how it is opened.

    Args:
        address: `host:port`.
        endpoint: endpoint asked; None where only one is served.
        options: deadlines, pauses, limits; None takes the defaults.
        key: shown with every call, as text, or the `Path` of a file that holds it.
        ca: file of the authority that the server's certificate is checked against, PEM.
        cert: file of the own certificate chain, PEM, for servers that ask for one.
        cert_key: file of its private key, PEM.
        tls: whether to use TLS where neither `ca` nor `cert` is given; then by the system's authorities.
        insecure: whether the key may be sent without TLS to other than loopback.
        credentials: gRPC's own, in place of all that.

    What is None is taken from the environment (`rendezvous_sdk.credentials`).

    Raises:
        InvalidRequestError: a malformed key, a file that cannot be read, or a key that would travel in the clear.
    """

    def __init__(
        self,
        address: str,
        endpoint: str | None = None,
        *,
        options: ClientOptions | None = None,
        key: str | Path | None = None,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        cert_key: str | Path | None = None,
        tls: bool | None = None,
        insecure: bool | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.address = address
        self.endpoint = endpoint or ""
        self._options = options or ClientOptions()
        shown = Credentials.read(key=key, ca=ca, cert=cert, cert_key=cert_key, tls=tls, insecure=insecure)
        secure = credentials or shown.channel_credentials()
        shown.check_exposure(host_of(address), has_tls=secure is not None)
        self._uses_tls = secure is not None
        self._authorization = shown.metadata
        self._channel = self._open(secure, channel_options(self._options))
        self._stub: Any = v1.ScoreStub(self._channel)  # type: ignore[no-untyped-call] # generated
        self._feedback: Any = v1.FeedbackStub(self._channel)  # type: ignore[no-untyped-call] # generated
        self._info: v1.ModelInfo | None = None
        self._spans = ClientSpans(address, self.endpoint)

    def _open(self, secure: grpc.ChannelCredentials | None, arguments: Sequence[tuple[str, Any]]) -> Any:
        """Returns the channel; *secure* None: in the clear."""
        raise NotImplementedError
