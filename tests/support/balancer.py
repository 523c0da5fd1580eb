"""HAProxy in front of several routers: one address, gRPC over cleartext HTTP/2, balanced by request."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rendezvous_router.nats_server import find_free_port

from toolchains.tools import can_install, install

_CONFIG = """\
global
  log stderr local0 warning
defaults
  mode http
  retries 2
  option redispatch 1
  retry-on conn-failure
  timeout connect 500ms
  timeout client 65s
  timeout server 65s
  timeout http-keep-alive 65s
frontend door
  bind 127.0.0.1:{port} proto h2
  default_backend routers
backend routers
  balance leastconn
  {check}
  default-server inter 200ms fall 2 rise 2 on-marked-down shutdown-sessions
{servers}
"""


class Balancer:
    """A running HAProxy.

    Args:
        folder: where its configuration and log go.
        routers: (gRPC port, metrics port) of each router; health is asked for with GET /readyz on the latter.
    """

    def __init__(self, folder: Path, routers: Sequence[tuple[int, int]]) -> None:
        self.port = find_free_port()
        self.log = folder / "haproxy.log"
        servers = "\n".join(
            f"  server r{number} 127.0.0.1:{grpc} proto h2 check check-proto h1 port {metrics}"
            for number, (grpc, metrics) in enumerate(routers)
        )
        config = folder / "haproxy.cfg"
        config.write_text(_CONFIG.format(port=self.port, servers=servers, check="option httpchk GET /readyz"))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([haproxy(), "-f", str(config)], stdout=log, stderr=log)
        self._wait()

    @property
    def address(self) -> str:
        """Where clients ask."""
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        give_up = time.monotonic() + 10.0
        while time.monotonic() < give_up and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(f"haproxy did not start:\n{self.log.read_text(errors='replace')}")


def haproxy() -> str:
    """Returns the path of HAProxy; installs it where that can be done, skips the test where it cannot.

    Where CI says so (`CI=true`) a test that could have run fails instead.
    """
    found = _find()
    reason = "haproxy not found: apt-get install haproxy"
    if found is None and can_install():
        reason = install(["haproxy"]) or reason
        found = _find()
    if found is None and can_install() and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if found is None:
        pytest.skip(reason)
    return found


def _find() -> str | None:
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
