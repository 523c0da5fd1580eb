"""Commands that are imported when they are asked for: `rendezvous score` shall not wait for what only reports need."""

import importlib
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "up": "up:up",
    "apply": "specs:apply",
    "get": "specs:get",
    "describe": "specs:describe",
    "delete": "specs:delete",
    "history": "history:history",
    "rollback": "history:rollback",
    "score": "score:score",
    "explain": "explain:explain",
    "models": "models:models",
    "health": "health:health",
    "feedback": "feedback:app",
    "archive": "archive:app",
    "sql": "sql:sql",
    "compare": "compare:compare",
    "backtest": "backtest:backtest",
    "replay": "replay:replay",
    "mirror": "mirror:mirror",
    "test": "model_test:model_test",
    "conformance": "conformance:conformance",
    "bridge": "bridge:bridge",
    "tenant": "tenant:app",
    "key": "key:app",
    "certs": "certs:certs",
}
"""Each command's module in this package, and its function or its own commands there; in the order of the help."""


class LazyCommands(TyperGroup):
    """The commands of `COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 # as Typer calls it
        """Returns their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 # as Typer calls it
        """Returns a command; None: there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(f"rendezvous_router.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # as Typer calls it
        """Returns the command that is asked for.

        Raises:
            UsageError: there is none of that name; says which are near.
        """
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)
