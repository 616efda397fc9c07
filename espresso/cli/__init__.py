"""The `espresso` command. Each command group has a file of its own.

A group's file is imported when the group is called or listed in the help. It defines a
`typer.Typer` named `app` and imports its dependencies inside the commands. This module alone turns
an `EspressoError` into an error message and exit code 2.
"""

import warnings
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from espresso.errors import EspressoError

GROUPS = ("demo", "ask", "eval", "judge", "finetune", "serve", "world")


class Groups(TyperGroup):
    """Loads command groups by file name and turns errors into exit codes."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the groups in help order."""
        return list(GROUPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the file of a group; return None if there is no such group."""
        if cmd_name not in GROUPS:
            return None
        command = typer.main.get_command(import_module(f"espresso.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Library warnings are suppressed: the commands print their own notes."""
        try:
            with warnings.catch_warnings(action="ignore"):
                return super().invoke(ctx)
        except EspressoError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error


app = typer.Typer(cls=Groups, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def espresso() -> None:
    """Answer questions about images and videos, with core frames and evidence."""
