"""The `espresso` command. Each command group has a file of its own.

A group's file is imported when the group is called or listed in the help. It defines a
`typer.Typer` named `app` and imports its dependencies inside the commands. This module alone turns
an `EspressoError` into an error message and exit code 2.

Printing does not fail after the work is done: a character that the console's encoding lacks is
printed as an escape, and a reader that closes the pipe ends the command quietly.
"""

import errno
import gc
import io
import os
import sys
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from espresso.errors import EspressoError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why a file that output is redirected to cannot be written."""

GROUPS = ("demo", "ask", "annotate", "eval", "judge", "finetune", "serve", "app", "world", "raiv", "smart101")

_FILES = {"app": "web"}
"""Group -> its file, if it has another name: a module `app` would hide `espresso.cli.app`."""


class Groups(TyperGroup):
    """Loads command groups by file name and turns errors into exit codes."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the groups in help order."""
        return list(GROUPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the file of a group; return None if there is no such group."""
        if cmd_name not in GROUPS:
            return None
        command = typer.main.get_command(import_module(f"espresso.cli.{_FILES.get(cmd_name, cmd_name)}").app)
        command.name = cmd_name
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line, see `typer`.

        What the console cannot show is printed as escapes. A user without a home folder, as in
        containers, gets a temporary one, because Ray and other libraries fail without.
        """
        try:
            Path.home()
        except RuntimeError:
            home = Path(tempfile.gettempdir()) / f"espresso-{os.getuid()}"
            home.mkdir(mode=0o700, exist_ok=True)
            os.environ["HOME"] = str(home)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Library warnings are suppressed: the commands print their own notes."""
        try:
            with warnings.catch_warnings(action="ignore"):
                return super().invoke(ctx)
        except EspressoError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
        except OSError as error:
            if error.errno == errno.EPIPE or not (error.filename or error.errno in _FULL):
                raise
            if not error.filename:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python reports it again at exit
            what = f"{error.filename}: cannot be read or written" if error.filename else "the result cannot be printed"
            typer.echo(f"{what} ({error.strerror}). Check the path, its permissions and the free disk space.", err=True)
            raise typer.Exit(2) from error
        finally:
            gc.freeze()  # at exit, the garbage collector would search the imported libraries for a second


app = typer.Typer(cls=Groups, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def espresso() -> None:
    """Answer questions about images and videos, with core frames and evidence."""
