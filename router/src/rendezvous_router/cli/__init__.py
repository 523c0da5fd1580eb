"""The command line `rendezvous`."""

from typing import Annotated

import typer

from rendezvous_router.cli._lazy import LazyCommands
from rendezvous_router.version import VERSION

__all__ = ["app"]

app = typer.Typer(
    name="rendezvous",
    cls=LazyCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rendezvous {VERSION}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """One endpoint, several models, one answer on time."""
