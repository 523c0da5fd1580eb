"""Asks a process of Rendezvous how it is: the command `rendezvous-health`, for health checks of containers.

A package of its own beside `rendezvous_sdk`, because a check runs every few seconds and starts Python each time.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["ask_health", "check_address", "default_address", "main", "parse_timeout_s"]

_TIMEOUT = re.compile(r"(\d+(?:\.\d+)?)(ms|s)?")
_ADDRESS = re.compile(r".+:\d+")


def ask_health(address: str, *, service: str = "", timeout_s: float = 1.0) -> str:
    """Asks `grpc.health.v1.Health/Check`.

    Args:
        address: `host:port`.
        service: asked about; empty: the process as a whole.
        timeout_s: longest wait for the answer, connecting included, seconds.

    Returns:
        Nothing if it is SERVING, else why not, in one line.
    """
    what = f"{address}, service {service}," if service else address
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.RpcError as error:
            return f"{what} {_reason(error, timeout_s)}"
    if reply.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"{what} is {health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)}"


def default_address() -> str:
    """Returns where this container's own process listens by `RENDEZVOUS_GRPC_PORT`.

    Raises:
        ValueError: the variable does not tell.
    """
    port = os.environ.get("RENDEZVOUS_GRPC_PORT", "").strip()
    if not port.isdecimal() or int(port) == 0:
        raise ValueError("no address: give HOST:PORT, or set RENDEZVOUS_GRPC_PORT to the port")
    return f"127.0.0.1:{port}"


def parse_timeout_s(text: str) -> float:
    """Returns seconds for `500ms`, `1s` or a number of seconds.

    Raises:
        ValueError: *text* is nothing of that, or not more than 0.
    """
    match = _TIMEOUT.fullmatch(text.strip())
    seconds = float(match[1]) * (0.001 if match[2] == "ms" else 1.0) if match else 0.0
    if seconds <= 0:
        raise ValueError(f"timeout is {text!r}: write it as 500ms or 1s, more than 0")
    return seconds


def check_address(text: str) -> str:
    """Returns *text* if it is `host:port`.

    Raises:
        ValueError: it is not.
    """
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"address is {text!r}: write it as HOST:PORT")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 SERVING, 1 not, 2 wrong usage.

    Args:
        arguments: of the command line; None takes this process's.

    Raises:
        SystemExit: wrong usage (status 2), or `--help`.
    """
    parser = argparse.ArgumentParser(
        prog="rendezvous-health",
        description="Asks a router, model, archive or bridge how it is. Exit status: 0 SERVING, 1 not, 2 wrong usage.",
    )
    parser.add_argument("address", nargs="?", help="HOST:PORT; default: 127.0.0.1:$RENDEZVOUS_GRPC_PORT")
    parser.add_argument("--service", default="", help="ask about one service; default: the process as a whole")
    parser.add_argument("--timeout", default="1s", help="longest wait for the answer; default: 1s")
    given = parser.parse_args(arguments)
    try:
        address = check_address(given.address) if given.address else default_address()
        timeout_s = parse_timeout_s(given.timeout)
    except ValueError as error:
        parser.error(str(error))
    why_not = ask_health(address, service=given.service, timeout_s=timeout_s)
    print(why_not or f"{address} is SERVING", file=sys.stderr if why_not else sys.stdout)
    return 1 if why_not else 0


def _reason(error: grpc.RpcError, timeout_s: float) -> str:
    code = error.code()
    if code is grpc.StatusCode.NOT_FOUND:
        return "does not know that service"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"has not answered within {timeout_s:g} s"
    return f"does not answer: {code.name}: {' '.join((error.details() or '').split())}"
