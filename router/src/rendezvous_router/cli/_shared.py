"""What all commands share: addresses, output for people and for machines, errors and exit codes."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from nats.errors import Error as NatsError
from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.nats_connection import Connection, connect
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn
from rich.table import Table

from rendezvous_router._state import find_state, find_state_folder
from rendezvous_router.nats_server import NatsServerError
from rendezvous_router.passes import TENANTS_FOLDER
from rendezvous_router.project import ProjectError
from rendezvous_router.running import StartError
from rendezvous_router.spec_store import LostUpdateError
from rendezvous_router.supervisor import SupervisorError
from rendezvous_router.tables import TableError
from rendezvous_router.tenants.tenancy import Tenancy
from rendezvous_router.tls import TlsError

DEFAULT_NATS = "nats://127.0.0.1:4222"
DEFAULT_GRPC = "127.0.0.1:8001"

_CONNECT_TIMEOUT_S = 5.0
_EXPECTED = (
    ConnectionError,
    LostUpdateError,
    NatsServerError,
    ProjectError,
    RendezvousError,
    StartError,
    SupervisorError,
    TableError,
    TlsError,
)

NatsOption = Annotated[
    str | None,
    typer.Option(
        "--nats",
        envvar="RENDEZVOUS_NATS",
        help=f"Address of nats-server. Default: that of the project running here, else {DEFAULT_NATS}.",
        show_default=False,
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="RENDEZVOUS_ADDRESS",
        help=f"Address of the router, HOST:PORT. Default: that of the project running here, else {DEFAULT_GRPC}.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]

_FILE_WIDTH = 160
_is_terminal = sys.stdout.isatty()

console = Console(width=None if _is_terminal else _FILE_WIDTH)
error_console = Console(stderr=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a command; errors that are its user's to solve become one message and exit status 1."""
    # A connection's troubles become the command's one error message.
    for name in ("rendezvous_sdk", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        asyncio.run(work)
    except _EXPECTED as error:
        fail(str(error))
    except (NatsError, TimeoutError) as error:
        fail(f"nats-server did not do what was asked: {error or type(error).__name__}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(message: str) -> NoReturn:
    """Prints an error on standard error and ends with status 1."""
    error_console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(1)


def note(message: str) -> None:
    """Prints a line for people on standard error."""
    error_console.print(escape(message), soft_wrap=True, highlight=False)


def print_json(document: object) -> None:
    """Prints a document on standard output as JSON."""
    typer.echo(json.dumps(document, indent=2, default=str, ensure_ascii=False))


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Returns a progress bar on standard error, shown on a terminal only and gone when it is done."""
    return Progress(*columns, console=error_console, transient=True, disable=not error_console.is_terminal)


def new_table(*columns: str, title: str | None = None) -> Table:
    """Returns an empty table for people."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def cell(value: object) -> str:
    """Returns a value as a table shows it."""
    if value is None:
        return "-"
    return escape(f"{value:.6g}" if isinstance(value, float) else str(value))


def nats_address(option: str | None) -> str:
    """Returns the address of nats-server: option or environment, running project, default."""
    state = None if option else find_state(Path.cwd())
    return option or (state.nats if state else DEFAULT_NATS)


def grpc_address(option: str | None) -> str:
    """Returns the address of the router: option or environment, running project, default."""
    state = None if option else find_state(Path.cwd())
    return option or (state.grpc if state else DEFAULT_GRPC)


def authority(option: str | None) -> Path | None:
    """Returns the authority of the running project's router; None: it has none, or another router is meant."""
    state = None if option else find_state(Path.cwd())
    return Path(state.certs) / "ca.pem" if state is not None and state.certs else None


def nats_credentials(option: str | None) -> Credentials:
    """Returns what to show nats-server: what the environment says; else, in a running project, the operator's pass.

    Raises:
        InvalidRequestError: the environment's key is malformed.
    """
    shown = Credentials.read()
    state = None if option else find_state(Path.cwd())
    if state is None:
        return shown
    if state.certs and not shown.uses_tls:
        certs = Path(state.certs)
        shown = replace(shown, ca=certs / "ca.pem", cert=certs / "client.pem", cert_key=certs / "client-key.pem")
    folder = find_state_folder(Path.cwd()) / TENANTS_FOLDER
    tenant = os.environ.get("RENDEZVOUS_TENANT", state.tenant)
    if shown.key is None and (tenancy := Tenancy.of(folder, state.tenant)) is not None:
        shown = replace(shown, key=tenancy.key("router", tenant))
    return shown


@asynccontextmanager
async def connected(option: str | None) -> AsyncIterator[Connection]:
    """A connection to nats-server for the length of a command.

    Raises:
        ConnectionError: no server answers.
    """
    client = await connect(
        nats_address(option),
        name=f"rendezvous-cli-{os.getpid()}",
        timeout_s=_CONNECT_TIMEOUT_S,
        credentials=nats_credentials(option),
    )
    try:
        yield client
    finally:
        await client.close()
