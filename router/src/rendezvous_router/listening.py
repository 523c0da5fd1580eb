"""HTTP inside the router: its server, and sockets at the port asked for, or at the usual or a free one."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn

__all__ = ["PortTakenError", "Server", "listen"]


class PortTakenError(RuntimeError):
    """Another process listens on the port."""


class Server(uvicorn.Server):
    """uvicorn inside a process that has other things to end, too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to the router, which drains."""
        yield


def listen(host: str, port: int | None, *, usual: int, setting: str, reuse_port: bool = False) -> socket.socket:
    """Returns a socket that listens.

    Args:
        host: address to listen on.
        port: 0 takes a free one; None *usual* or, if that is taken, a free one.
        usual: where clients look first.
        setting: what sets the port, for the message (`--rest-port`).
        reuse_port: share the port with other processes that do the same (SO_REUSEPORT).

    Raises:
        PortTakenError: the port is taken.
    """
    if port is not None:
        return _listen(host, port, setting, reuse_port)
    try:
        return _listen(host, usual, setting, reuse_port)
    except PortTakenError:
        return _listen(host, 0, setting, reuse_port)


def _listen(host: str, port: int, setting: str, reuse_port: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # two may bind the same address; only one may listen
    except OSError as error:
        listener.close()
        raise PortTakenError(
            f"port {port} of {host} is taken ({error.strerror}): choose another {setting}, or 0 for a free one"
        ) from error
    return listener
