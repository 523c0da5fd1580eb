"""The command `rendezvous-router`: one router, or several workers on one port."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk.logs import configure_logs
from rendezvous_sdk.signals import heed_sigterm_early

from rendezvous_router.options import RouterOptions
from rendezvous_router.tls import check_exposure
from rendezvous_router.worker import run_worker
from rendezvous_router.workers import run_workers

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)
_DEFAULTS = RouterOptions()


@app.command()
def run(
    nats: Annotated[str, typer.Option(envvar="RENDEZVOUS_NATS", help="Address of nats-server.")] = _DEFAULTS.nats_url,
    host: Annotated[str, typer.Option(envvar="RENDEZVOUS_HOST", help="Address to listen on.")] = _DEFAULTS.host,
    grpc_port: Annotated[
        int, typer.Option(envvar="RENDEZVOUS_GRPC_PORT", help="Port of the gRPC front door; 0: a free one.")
    ] = _DEFAULTS.grpc_port,
    rest_port: Annotated[
        int | None,
        typer.Option(
            envvar="RENDEZVOUS_REST_PORT",
            help="Port of the REST front door; 0: a free one. Default: 8000, or a free one.",
        ),
    ] = _DEFAULTS.rest_port,
    rest_connections: Annotated[
        int,
        typer.Option(envvar="RENDEZVOUS_REST_CONNECTIONS", help="Open REST connections at most, per worker."),
    ] = _DEFAULTS.rest_connections,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            envvar="RENDEZVOUS_METRICS_PORT",
            help="Port of /metrics, /healthz and /readyz; 0: a free one. Default: 8002, or a free one.",
        ),
    ] = _DEFAULTS.metrics_port,
    metrics_host: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_METRICS_HOST", help="Address of that page: no TLS, no keys.")
    ] = _DEFAULTS.metrics_host,
    cert: Annotated[
        Path | None,
        typer.Option(
            envvar="RENDEZVOUS_SERVER_CERT",
            help="Certificate chain of gRPC and REST, PEM; read again when it changes. None: no TLS.",
        ),
    ] = None,
    cert_key: Annotated[
        Path | None, typer.Option(envvar="RENDEZVOUS_SERVER_CERT_KEY", help="Its private key, PEM.")
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(envvar="RENDEZVOUS_CLIENT_CA", help="Ask clients for certificates that this authority signed."),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", envvar="RENDEZVOUS_INSECURE", help="Serve others than this machine without keys and TLS."
        ),
    ] = False,
    tenants: Annotated[
        Path | None,
        typer.Option(
            envvar="RENDEZVOUS_TENANTS",
            help="Folder of the register of tenants (`rendezvous tenant`); None: one tenant, and no keys.",
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            envvar="RENDEZVOUS_JOURNAL",
            help="Folder that keeps decisions until JetStream has them. None: a killed router loses its latest.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(envvar="RENDEZVOUS_WORKERS", help="Processes that share the port.")
    ] = _DEFAULTS.workers,
    max_in_flight: Annotated[
        int,
        typer.Option(envvar="RENDEZVOUS_MAX_IN_FLIGHT", help="Requests accepted and not yet answered, per worker."),
    ] = _DEFAULTS.max_in_flight,
    drain_s: Annotated[
        float, typer.Option(envvar="RENDEZVOUS_DRAIN_S", help="Longest wait for answers on SIGTERM, seconds.")
    ] = _DEFAULTS.drain_s,
    repeat_window: Annotated[
        float,
        typer.Option(
            envvar="RENDEZVOUS_REPEAT_WINDOW",
            help="How long an answer is kept for a retry with the same request id, seconds.",
        ),
    ] = _DEFAULTS.repeat_window_s,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning, error; default: RENDEZVOUS_LOG_LEVEL, else info.")
    ] = None,
    worker_of: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Runs the router until SIGTERM, which drains it: accepted requests are answered, new ones refused."""
    heed_sigterm_early()
    try:
        configure_logs(log_level)
        options = RouterOptions(
            nats_url=nats,
            host=host,
            grpc_port=grpc_port,
            rest_port=rest_port,
            rest_connections=rest_connections,
            metrics_port=metrics_port,
            metrics_host=metrics_host,
            cert=cert,
            cert_key=cert_key,
            client_ca=client_ca,
            insecure=insecure,
            tenants=tenants,
            journal=journal,
            workers=worker_of or workers,
            max_in_flight=max_in_flight,
            drain_s=drain_s,
            repeat_window_s=repeat_window,
        )
        files = options.tls_files
        check_exposure(host, has_keys=tenants is not None, has_tls=files is not None, insecure=insecure)
        if files is not None:
            files.read()  # says what is wrong once, before any worker is started
        if worker_of:
            run_worker(options, reuse_port=True)
        elif workers > 1:
            sys.exit(run_workers(options))
        else:
            run_worker(options)
    except (ValueError, RendezvousError, RuntimeError) as error:
        typer.echo(f"rendezvous-router: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
