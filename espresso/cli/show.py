"""Render answers and progress in a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar, cast

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from espresso.schema import Answer, Caption, letter

if TYPE_CHECKING:
    from agents.answer.graph import NodeStarted


class LongWork(Protocol):
    """Progress of anything long."""

    @property
    def doing(self) -> str:
        """What is being done, such as "answering"."""
        ...

    @property
    def done(self) -> int:
        """Number of finished items."""
        ...

    @property
    def total(self) -> int:
        """Number of all items."""
        ...


@dataclass(frozen=True)
class Count:
    """Progress that is a number of finished items."""

    doing: str

    done: int

    total: int


Shown = TypeVar("Shown", bound=LongWork)

BAR_WIDTH = 20
SPEED_PERIOD_S = 120
"""Results come in batches; the speed is estimated over several of them."""


class _Stderr:
    """Standard error; what cannot be written to it is lost, and the command continues."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: names of files can look like markup."""
    file = cast(IO[str], _Stderr()) if stderr and sys.stderr else None
    return Console(file=file, stderr=stderr, markup=False, highlight=False, emoji=False)


def print_json(document: str) -> None:
    """Print a JSON document; in escapes if the console's encoding lacks one of its characters."""
    try:
        document.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        document = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], document)
    typer.echo(document)


@contextmanager
def waiting(text: str) -> Iterator[Callable[[NodeStarted], None]]:
    """Show a spinner on standard error, if that is a terminal; the callback updates its text."""
    with console(stderr=True).status(Text(text)) as status:
        yield lambda node: status.update(Text(f"{text}: {node.text}"))


@contextmanager
def progress(details: Callable[[Shown], str]) -> Iterator[Callable[[Shown], None]]:
    """Show the progress of a long run on standard error: a bar, details, speed and remaining time.

    Standard output is redirected there meanwhile: it is for the result, and Ray prints lost workers
    to it.

    Args:
        details: returns the text to show next to the bar.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=console(stderr=True), speed_estimate_period=SPEED_PERIOD_S)
    with redirect_stdout(sys.stderr), bars:
        bar_of: dict[str, Any] = {}

        def update(run: Shown) -> None:
            if run.doing not in bar_of:
                bar_of[run.doing] = bars.add_task(run.doing, completed=run.done, total=run.total, details="")
            bar = bar_of[run.doing]
            bars.update(bar, completed=run.done, total=run.total)
            speed = bars.tasks[bar].speed
            bars.update(bar, details=", ".join(filter(None, (details(run), f"{60 * speed:.0f} per minute" if speed else ""))))

        yield update


def notes(answers: Sequence[Answer]) -> None:
    """Print what did not go as planned to standard error, each note once."""
    stderr = console(stderr=True)
    for note in dict.fromkeys(step.note for answer in answers for step in answer.trace if step.note):
        stderr.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def answered(answer: Answer) -> RenderableType:
    """Render one answer: question, warning, options with probabilities, evidence, core frames."""
    parts: list[RenderableType] = [Text(answer.question.text, style="bold")]
    confidence = "" if answer.confidence is None else f"  (confidence {answer.confidence:.0%})"
    reply = Text.assemble((answer.text, "bold green"), (confidence, "dim"))
    parts.append(_options(answer) if answer.question.options else reply)
    if answer.warning:
        parts.append(Text(f"warning: {answer.warning}", style="bold red"))
    if answer.evidence.text:
        parts += [Text("evidence", style="dim"), Padding(Text(answer.evidence.text), (0, 0, 0, 2))]
    if answer.core_frames:
        parts += [Text("core frames", style="dim"), _core_frames(answer)]
    if answer.evidence.key_items:
        parts += [Text("key items, with boxes in pixels", style="dim"), _key_items(answer)]
    seconds, tokens = sum(answer.usage.seconds.values()), answer.usage.tokens_in + answer.usage.tokens_out
    cost = f"{len(answer.frames)} frames sampled, {seconds:.2f} s, {tokens:,} tokens, profile {answer.profile}"
    parts.append(Text(cost, style="dim"))
    return Group(parts[0], Padding(Group(*parts[1:]), (0, 0, 1, 2)))


def captions(shown: Sequence[Caption]) -> RenderableType:
    """Render captions by time; equal neighbours share a line."""
    table = _grid()
    last = None
    for caption in shown:
        if caption.text != last:
            table.add_row(_seconds(caption.frame.time), Text(caption.text))
        last = caption.text
    return Padding(table, (0, 0, 1, 2))


def _options(answer: Answer) -> RenderableType:
    table = _grid()
    block = "█" if Console().encoding.startswith("utf") else "#"
    for position, option in enumerate(answer.question.options or ()):
        name = letter(position)
        share = answer.options_probability.get(name)
        bar = "" if share is None else block * round(share * BAR_WIDTH)
        style = "bold green" if name == answer.choice else ""
        table.add_row(
            Text(name, style),
            Text(option, style),
            Text(bar.ljust(BAR_WIDTH), "green"),
            Text(f"{share:.0%}" if share is not None else "chosen" if name == answer.choice else "", style),
        )
    return table


def _core_frames(answer: Answer) -> RenderableType:
    captions = {caption.frame: caption.text for caption in answer.captions}
    table = _grid()
    for core in answer.core_frames:
        source = answer.visuals[core.frame.visual].source if len(answer.visuals) > 1 else ""
        table.add_row(_seconds(core.time), Text(captions.get(core.frame, core.why)), Text(source, "dim"))
    return Padding(table, (0, 0, 0, 2))


def _key_items(answer: Answer) -> RenderableType:
    table = _grid()
    for item in answer.evidence.key_items:
        source = answer.visuals[item.frame.visual].source if len(answer.visuals) > 1 else ""
        box = ", ".join(f"{value:.0f}" for value in item.box) if item.box else "not found"
        table.add_row(_seconds(item.frame.time), Text(item.label), Text(box, "" if item.box else "dim"), Text(source, "dim"))
    return Padding(table, (0, 0, 0, 2))


def _grid() -> Table:
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0))


def _seconds(time: float) -> Text:
    return Text(f"{time:6.2f} s", style="cyan")
