"""Several worker processes on one port (SO_REUSEPORT): the parent holds the port, starts them, and replaces the dead.

A connection stays with one worker, so with few clients the load is uneven. Workers are started by exec, never forked:
grpc does not survive a fork.
"""

import signal
import socket
import subprocess
import sys
import threading
import time

from rendezvous_router.listening import PortTakenError
from rendezvous_router.options import REST_PORT, RouterOptions

RESTART_PAUSE_S = 0.5
"""Pause before a worker that died is replaced."""
END_S = 10.0
"""What a worker may take to end beyond its drain: last decisions, flush, metrics and spans."""
POLL_S = 0.05
"""How often the parent looks after its children."""


def run_workers(options: RouterOptions) -> int:
    """Runs `options.workers` routers until SIGTERM or SIGINT, and returns the exit code.

    Raises:
        PortTakenError: a foreign process has the port; workers that shared it would swallow its connections.
    """
    with (
        _hold_port(options.host, options.grpc_port, "--grpc-port") as held,
        _hold_rest_port(options) as rest_held,
    ):
        ports = held.getsockname()[1], rest_held.getsockname()[1]
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        children = [_start(options, ports, number) for number in range(options.workers)]
        while not stop.wait(POLL_S):
            for index, child in enumerate(children):
                if child.poll() is not None:
                    print(
                        f"worker {child.pid} ended with {child.returncode}: replaced",
                        file=sys.stderr,
                        flush=True,
                    )
                    stop.wait(RESTART_PAUSE_S)
                    children[index] = _start(options, ports, index)
        return _stop(children, options.drain_s + END_S)


def _hold_rest_port(options: RouterOptions) -> socket.socket:
    if options.rest_port is not None:
        return _hold_port(options.host, options.rest_port, "--rest-port")
    try:
        return _hold_port(options.host, REST_PORT, "--rest-port")
    except PortTakenError:
        return _hold_port(options.host, 0, "--rest-port")


def _hold_port(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTakenError(
                f"port {port} of {host} is taken ({error.strerror}): choose another {setting}"
            ) from error
        port = probe.getsockname()[1]
    held = socket.socket(family)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held


def _start(options: RouterOptions, ports: tuple[int, int], number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rendezvous_router.main", "--nats", options.nats_url]
    command += ["--host", options.host, "--grpc-port", str(ports[0]), "--drain-s", str(options.drain_s)]
    command += ["--rest-port", str(ports[1]), "--rest-connections", str(options.rest_connections)]
    if options.metrics_port is not None:
        command += ["--metrics-port", str(options.metrics_port and options.metrics_port + number)]
    command += ["--metrics-host", options.metrics_host, *(["--insecure"] if options.insecure else [])]
    for option, file in (
        ("--cert", options.cert),
        ("--cert-key", options.cert_key),
        ("--client-ca", options.client_ca),
        ("--tenants", options.tenants),
        ("--journal", options.journal),
    ):
        command += [] if file is None else [option, str(file)]
    command += ["--max-in-flight", str(options.max_in_flight), "--worker-of", str(options.workers)]
    command += ["--repeat-window", str(options.repeat_window_s)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _stop(children: list[subprocess.Popen[bytes]], patience_s: float) -> int:
    for child in children:
        child.terminate()
    give_up = time.monotonic() + patience_s
    for child in children:
        try:
            child.wait(max(0.0, give_up - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return max((abs(child.returncode) for child in children), default=0)
