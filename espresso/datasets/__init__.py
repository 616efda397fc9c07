"""The benchmarks, one file each: its citation on top, then a loader of questions and what only this benchmark can score."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from espresso.datasets.base import Loaded, Source
from espresso.errors import DataError
from espresso.schema import Answer, Question

NAMES = ("world", "videoespresso", "nextqa", "egoschema", "mvbench", "videomme")


class Bench(Protocol):
    """What a benchmark can do: `BENCH` of its file, or the file itself."""

    SPLITS: tuple[str, ...]

    def load(
        self, split: str, limit: int | None, source: Source | None, on_clip: Callable[[int, int], None] | None = None
    ) -> Loaded:
        """Load the first `limit` questions of a split, or all; where clips are made first, `on_clip` hears (done, all).

        source: the user's copy, for a benchmark that comes in files. Raises DataError where there is no question to ask.
        """
        ...

    def caption(self, visual: str, time: float) -> str | None:
        """What is truly seen in a visual at a time in seconds; None where that is not known."""
        ...

    def facts(self, question: Question, answer: Answer) -> list[bool]:
        """Whether each fact that the answer's evidence tells is true; empty where it tells none or the truth is not known."""
        ...


def bench(name: str) -> Bench:
    """Find a benchmark by its name. Raises DataError with a suggestion where there is none."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise DataError(f"no benchmark is called {name!r} (there are: {', '.join(NAMES)}).{hint}")
    module: Any = import_module(f"espresso.datasets.{name}")
    return getattr(module, "BENCH", module)
