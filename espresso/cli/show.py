"""How answers look in a terminal, and what moves while one waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from espresso.schema import Answer, Caption, letter

if TYPE_CHECKING:
    from agents.answer.graph import Progress
    from eval.run import Progress as RunProgress

BAR_WIDTH = 20
SPEED_OVER_S = 120
"""Results come in bursts, a batch at a time; the time left is reckoned over several."""


@contextmanager
def waiting(text: str) -> Iterator[Callable[[Progress], None]]:
    """Spin on standard error, if that is a terminal, beside what is being done; the callback keeps it up to date."""
    with Console(stderr=True).status(Text(text)) as status:
        yield lambda progress: status.update(Text(f"{text}: {progress.text}"))


@contextmanager
def progress(said: Callable[[RunProgress], str]) -> Iterator[Callable[[RunProgress], None]]:
    """Show how far a long run is on standard error: a bar, what there is to be `said` of it, how many a minute, the time left.

    What libraries print meanwhile goes there too: Ray tells of lost workers on standard output, which is for the result.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=Console(stderr=True), speed_estimate_period=SPEED_OVER_S)
    with redirect_stdout(sys.stderr), bars:
        shown: dict[str, Any] = {}

        def update(far: RunProgress) -> None:
            if far.doing not in shown:
                shown[far.doing] = bars.add_task(far.doing, completed=far.done, total=far.total, said="")
            bar = shown[far.doing]
            bars.update(bar, completed=far.done, total=far.total)
            speed = bars.tasks[bar].speed
            bars.update(bar, said=", ".join(filter(None, (said(far), f"{60 * speed:.0f} a minute" if speed else ""))))

        yield update


def notes(answers: Sequence[Answer]) -> None:
    """Print what did not go as planned to standard error, each note once."""
    console = Console(stderr=True, soft_wrap=True)
    for note in dict.fromkeys(step.note for answer in answers for step in answer.trace if step.note):
        console.print(Text(f"note: {note}", style="yellow"))


def answered(answer: Answer) -> RenderableType:
    """Lay out one answer: the question, the options with their probabilities, the evidence and the core frames."""
    parts: list[RenderableType] = [Text(answer.question.text, style="bold")]
    reply = Text.assemble(
        (answer.text, "bold green"), ("" if answer.confidence is None else f"  ({answer.confidence:.0%} sure)", "dim")
    )
    parts.append(_options(answer) if answer.question.options else reply)
    if answer.evidence.text:
        parts += [Text("evidence", style="dim"), Padding(Text(answer.evidence.text), (0, 0, 0, 2))]
    if answer.core_frames:
        parts += [Text("core frames", style="dim"), _core_frames(answer)]
    seconds, tokens = sum(answer.usage.seconds.values()), answer.usage.tokens_in + answer.usage.tokens_out
    parts.append(
        Text(f"{len(answer.frames)} frames looked at, {seconds:.2f} s, {tokens:,} tokens, profile {answer.profile}", style="dim")
    )
    return Group(parts[0], Padding(Group(*parts[1:]), (0, 0, 1, 2)))


def seen(captions: Sequence[Caption]) -> RenderableType:
    """Lay out what the captioner saw, by time; neighbours that say the same are one line."""
    table = _grid()
    last = None
    for caption in captions:
        if caption.text != last:
            table.add_row(_seconds(caption.frame.time), Text(caption.text))
        last = caption.text
    return Padding(table, (0, 0, 1, 2))


def _options(answer: Answer) -> RenderableType:
    table = _grid()
    for position, option in enumerate(answer.question.options or ()):
        name = letter(position)
        share = answer.options_probability.get(name)
        bar = "" if share is None else "█" * round(share * BAR_WIDTH)
        style = "bold green" if name == answer.choice else ""
        table.add_row(
            Text(name, style),
            Text(option, style),
            Text(bar.ljust(BAR_WIDTH), "green"),
            Text("" if share is None else f"{share:.0%}", style),
        )
    return table


def _core_frames(answer: Answer) -> RenderableType:
    captions = {caption.frame: caption.text for caption in answer.captions}
    table = _grid()
    for core in answer.core_frames:
        source = answer.visuals[core.frame.visual].source if len(answer.visuals) > 1 else ""
        table.add_row(_seconds(core.time), Text(captions.get(core.frame, core.why)), Text(source, "dim"))
    return Padding(table, (0, 0, 0, 2))


def _grid() -> Table:
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0))


def _seconds(time: float) -> Text:
    return Text(f"{time:6.2f} s", style="cyan")
