"""The `espresso` command, one file a command group.

A group's file is imported when it is called (or listed in the help), holds a `typer.Typer` named `app`, and imports its work
inside its commands. Errors that are the user's to cure become one sentence and exit code 2 here, and only here.
"""

import warnings
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from espresso.errors import EspressoError

GROUPS = ("demo", "ask", "eval", "judge", "finetune", "serve", "world")


class Groups(TyperGroup):
    """The command groups by their files' names, and the one place where an error becomes an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the groups in the order of the help."""
        return list(GROUPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one group's file, or None where there is no such group."""
        if cmd_name not in GROUPS:
            return None
        command = typer.main.get_command(import_module(f"espresso.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for; what libraries warn of is not for its users, who read notes instead."""
        try:
            with warnings.catch_warnings(action="ignore"):
                return super().invoke(ctx)
        except EspressoError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error


app = typer.Typer(cls=Groups, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def espresso() -> None:
    """Ask questions of images and videos: core frames, evidence and an answer come out."""
