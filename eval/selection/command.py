"""`espresso eval run nextgqa-captions --data DIR` and `world-captions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from agents.session import Session
from espresso import profiles
from espresso.datasets.nextqa import nextgqa
from espresso.datasets.rows import BadRow
from espresso.errors import DataError
from espresso.profiles import LocalRanker, Profile
from eval.selection import report
from eval.selection.captioned import world_questions
from eval.selection.measure import Way, measure

REAL = "nextgqa-captions"
WORLD = "world-captions"


@dataclass(frozen=True)
class Report:
    """What the command prints."""

    tables: str
    """Markdown."""

    bad: tuple[BadRow, ...]
    """Rows that could not be read."""


def measure_selection(
    dataset: str,
    *,
    profile: str | None = None,
    limit: int | None = None,
    ways: Sequence[str] | None = None,
    seed: int = 0,
    out: Path | None = None,
    data: Path | None = None,
    on_progress: Callable[[str, int, int], None] = lambda doing, done, total: None,
) -> tuple[Path, Report]:
    """Measure, and write table, JSON and plot.

    Args:
        dataset: "nextgqa-captions" or "world-captions".
        profile: name or file of the profile. None is `laptop` for real captions, which loads its
            ranker alone, and `tiny` for the world.
        limit: number of questions, the first ones; None is all.
        ways: what to compare. None is all that ask no language model, and for the world `llm` too.
        seed: seed of random frames.
        out: folder of log and results. None is runs/<dataset>-<profile>-<limit>.
        data: the folder of NExT-GQA.
        on_progress: called with what is done, the number of finished items and of all.

    Returns:
        The folder, and what to print.

    Raises:
        DataError: the data is missing or unreadable, or an argument is invalid.
        ProfileError: the profile is invalid, or lacks a ranker that is needed.
        ModelError: a model cannot be loaded or does not answer.
    """
    if unknown := [way for way in ways or () if way not in get_args(Way)]:
        raise DataError(f"unknown --way {unknown[0]!r}. Choose among {', '.join(get_args(Way))}.")
    if (dataset == REAL) != (data is not None):
        cure = "Give --data DIR" if data is None else "Leave out --data"
        raise DataError(f"{dataset} is {'read from your files' if dataset == REAL else 'generated'}. {cure}.")
    loaded = profiles.load(profile or ("laptop" if dataset == REAL else "tiny"))
    chosen = cast(Sequence[Way], ways or _default(loaded, dataset))
    folder = out or Path("runs") / "-".join([dataset, Path(loaded.name).stem, *([str(limit)] if limit else [])])
    with Session(loaded) as session:
        if dataset == REAL:
            assert data
            found = nextgqa.load(data, limit)
            questions, bad = found.questions, found.bad
        else:
            questions, bad = session.run(world_questions(session, limit, on_progress)), ()
        rows = session.run(measure(questions, session, chosen, folder, dataset=dataset, seed=seed, on_progress=on_progress))
    report.write(rows, folder)
    return folder, Report(report.markdown(rows), bad)


def _default(profile: Profile, dataset: str) -> list[Way]:
    """Return the ways that a profile can be compared with at no great cost."""
    ways: list[Way] = ["random", "bm25"]
    if profile.ranker:
        ways += ["embedding"]
    if isinstance(profile.ranker, LocalRanker) and profile.ranker.head:
        ways += ["trained", "trained without options"]
    return [*ways, "llm"] if dataset == WORLD else ways
