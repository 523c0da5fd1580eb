"""What the commands about tenants and keys share: where the register is, and how errors are told."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rendezvous_proto.errors import RendezvousError

from rendezvous_router._state import find_state_folder
from rendezvous_router.cli._shared import fail
from rendezvous_router.passes import TENANTS_FOLDER
from rendezvous_router.tenants.register import RegisterFile

P = ParamSpec("P")

TenantsOption = Annotated[
    Path | None,
    typer.Option(
        "--tenants",
        envvar="RENDEZVOUS_TENANTS",
        help="Folder of the register. Default: .rendezvous/tenants of the project here or above.",
        show_default=False,
    ),
]


def register_file(option: Path | None) -> RegisterFile:
    """Returns the register: that of the option or environment, else of the project here or above, else a new one."""
    return RegisterFile(option if option is not None else find_state_folder(Path.cwd()) / TENANTS_FOLDER)


def heed_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Makes errors that are the user's to solve one message and exit status 1."""

    @functools.wraps(command)
    def heeding(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (RendezvousError, OSError) as error:
            fail(str(error))

    return heeding
