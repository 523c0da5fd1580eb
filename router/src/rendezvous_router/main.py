"""The command `rendezvous-router`: one router, or several workers on one port."""

import logging
import sys
from typing import Annotated

import typer

from rendezvous_router.options import RouterOptions
from rendezvous_router.worker import run_worker
from rendezvous_router.workers import PortTakenError, run_workers

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)
_DEFAULTS = RouterOptions()


@app.command()
def run(
    nats: Annotated[str, typer.Option(envvar="RENDEZVOUS_NATS", help="Address of nats-server.")] = _DEFAULTS.nats_url,
    host: Annotated[str, typer.Option(envvar="RENDEZVOUS_HOST", help="Address to listen on.")] = _DEFAULTS.host,
    grpc_port: Annotated[
        int, typer.Option(envvar="RENDEZVOUS_GRPC_PORT", help="Port of the gRPC front door; 0: a free one.")
    ] = _DEFAULTS.grpc_port,
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
    log_level: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_LOG_LEVEL", help="debug, info, warning, error.")
    ] = "info",
    worker_of: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Runs the router until SIGTERM, which drains it: accepted requests are answered, new ones refused."""
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    try:
        options = RouterOptions(
            nats_url=nats,
            host=host,
            grpc_port=grpc_port,
            workers=workers,
            max_in_flight=max_in_flight,
            drain_s=drain_s,
        )
        if worker_of:
            run_worker(options, reuse_port=True)
        elif workers > 1:
            sys.exit(run_workers(options))
        else:
            run_worker(options)
    except (ValueError, PortTakenError, RuntimeError) as error:
        typer.echo(f"rendezvous-router: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
