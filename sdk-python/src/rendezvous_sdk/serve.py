"""Serves a model: at the postbox of its endpoint, and over gRPC."""

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from rendezvous_proto.errors import InvalidRequestError

from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.environment import options_from_environment
from rendezvous_sdk.frame import Takes
from rendezvous_sdk.logs import configure_logs
from rendezvous_sdk.model import Columns, as_model
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.replica import Replica, run_replica
from rendezvous_sdk.signals import heed_sigterm_early
from rendezvous_sdk.supervisor import PARENT_FD_VARIABLE, REPLICA_VARIABLE, Supervisor

__all__ = ["serve", "serve_with"]


def serve(
    model: object,
    *,
    endpoint: str | None = None,
    name: str | None = None,
    version: str | None = None,
    nats: str | None = None,
    grpc_port: int | None = None,
    key: str | Path | None = None,
    ca: str | Path | None = None,
    cert: str | Path | None = None,
    cert_key: str | Path | None = None,
    tls: bool | None = None,
    insecure: bool | None = None,
    replicas: int = 1,
    outputs: Columns | None = None,
    takes: Takes | None = None,
    **options: Any,
) -> None:
    """Serves a model until SIGTERM or SIGINT; then drains and returns.

    What is not given here is taken from the environment, else the default holds.

    Args:
        model: a function, a class or object with `score` (and `setup`, `close` where needed), or a `Model`.
        endpoint: endpoint that it belongs to; None takes `RENDEZVOUS_ENDPOINT`, and there must be one.
        name: the model's name; None takes `RENDEZVOUS_MODEL`, else the function's or class's.
        version: the model's version; None takes `RENDEZVOUS_VERSION`, else `1`.
        nats: address of NATS; None takes `RENDEZVOUS_NATS`, else `nats://127.0.0.1:4222`.
        grpc_port: port of the `Score` service, 0 a free one; None takes `RENDEZVOUS_GRPC_PORT`, else 0.
        key: shown to NATS, as text, or the `Path` of a file that holds it; None takes `RENDEZVOUS_KEY`, else
            `RENDEZVOUS_KEY_FILE`.
        ca: file of the authority that NATS's certificate is checked against; None takes `RENDEZVOUS_CA`.
        cert: file of the own certificate chain, for mutual TLS; None takes `RENDEZVOUS_CERT`. It is read again
            with each new connection.
        cert_key: file of its private key; None takes `RENDEZVOUS_CERT_KEY`.
        tls: whether to use TLS with the system's authorities; None takes `RENDEZVOUS_TLS`.
        insecure: whether the key may be sent without TLS to other than loopback; None takes `RENDEZVOUS_INSECURE`.
        replicas: processes. With more than one this process starts them and restarts those that die.
        outputs: names, or names with types, of the output columns, where the model does not declare them.
        takes: shape of the input, before what the model declares.
        options: further fields of `ServeOptions`; from the environment `grpc_host` (`RENDEZVOUS_GRPC_HOST`),
            `ack_wait_s` (`RENDEZVOUS_ACK_WAIT`), `scoring_limit_s` (`RENDEZVOUS_SCORING_LIMIT`), `since`
            (`RENDEZVOUS_SINCE`) and `enricher` (`RENDEZVOUS_ENRICHER`).

    Raises:
        InvalidRequestError: no endpoint, a malformed name, variable or option, or something that is no model; a
            malformed key, or files of TLS that do not do.
        SystemExit: serving failed (status 1).
    """
    made = as_model(model, outputs=outputs, takes=takes)
    named = {"endpoint": endpoint, "name": name, "version": version, "nats": nats, "grpc_port": grpc_port}
    credentials = Credentials.read(key=key, ca=ca, cert=cert, cert_key=cert_key, tls=tls, insecure=insecure)
    given = {field: value for field, value in named.items() if value is not None}
    fields = {"name": made.name, **options_from_environment(), **given, **options}
    if "endpoint" not in fields:
        raise InvalidRequestError("no endpoint: name it, as in serve(model, endpoint=...), or set RENDEZVOUS_ENDPOINT")
    serve_options = ServeOptions(replicas=replicas, **{"credentials": credentials, **fields})
    status = serve_with(made, serve_options)
    if status:
        raise SystemExit(status)


def serve_with(model: object, options: ServeOptions) -> int:
    """Serves with ready options; returns the exit status. See `serve`."""
    heed_sigterm_early()
    if not logging.getLogger().handlers:
        configure_logs()
    index = os.environ.get(REPLICA_VARIABLE)
    if options.replicas > 1 and index is None:
        return Supervisor(options.replicas).run()
    parent_fd = os.environ.get(PARENT_FD_VARIABLE) if index is not None else None
    if index is not None and options.grpc_port:
        options = replace(options, grpc_port=options.grpc_port + int(index))
    running = run_replica(
        as_model(model),
        options,
        on_ready=_announce,
        parent_fd=int(parent_fd) if parent_fd else None,
    )
    return _run(running)


def _run(running: Any) -> int:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return int(asyncio.run(running))
    return int(uvloop.run(running))


def _announce(replica: Replica) -> None:
    options = replica.options
    grpc = f"grpc {replica.grpc_address}" if replica.grpc_address else "no grpc"
    print(
        f"ready: model {options.name}:{options.version} of endpoint {options.endpoint}, replica {replica.name}, {grpc}",
        flush=True,
    )
