"""`rendezvous health`."""

from typing import Annotated

import typer
from rendezvous_health import ask_health, check_address, default_address, parse_timeout_s

from rendezvous_router.cli._shared import JsonOption, error_console, print_json


def health(
    address: Annotated[
        str | None,
        typer.Argument(help="HOST:PORT of a router, model, archive or bridge; none: 127.0.0.1:$RENDEZVOUS_GRPC_PORT."),
    ] = None,
    service: Annotated[str, typer.Option(help="Ask about one service; none: the process as a whole.")] = "",
    timeout: Annotated[str, typer.Option(help="Longest wait for the answer.")] = "1s",
    json: JsonOption = False,
) -> None:
    """Asks a process how it is. Exit status: 0 SERVING, 1 not, 2 wrong usage.

    The same without the command line's start-up time, for health checks of containers: `rendezvous-health`.
    """
    try:
        asked = check_address(address) if address else default_address()
        timeout_s = parse_timeout_s(timeout)
    except ValueError as error:
        error_console.print(f"error: {error}", markup=False, soft_wrap=True, highlight=False)
        raise typer.Exit(2) from error
    why_not = ask_health(asked, service=service, timeout_s=timeout_s)
    if json:
        print_json({"address": asked, "service": service, "serving": not why_not, "reason": why_not})
    elif why_not:
        error_console.print(why_not, markup=False, soft_wrap=True, highlight=False)
    else:
        typer.echo(f"{asked} is SERVING")
    raise typer.Exit(1 if why_not else 0)
