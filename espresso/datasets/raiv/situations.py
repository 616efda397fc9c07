"""Situations: what one image, or one event of a video, is annotated with.

All sources are read to this record. It keeps apart what the annotators agree on, and what only a
minority of them says: statements are about the former, and the latter makes them undecided.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from espresso.datasets.rows import BadRow
from espresso.errors import DataError
from espresso.schema import Record

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


MediaKind = Literal["image", "video"]


class VisualReference(Record):
    """An image, a video or a part of one."""

    path: str
    """Path in the folder of media; `world:test/12` is story 12 of the world's test split."""

    kind: MediaKind

    span: tuple[float, float] | None = None
    """Start and end of the part, in seconds of the file; None is the whole file.

    An image of the world is one frame of a story: start and end are its time.
    """


@dataclass(frozen=True, slots=True)
class Situation:
    """Who does what to whom in one visual (semantic roles, section 3.1)."""

    id: str
    """Unique in its source."""

    split: Split
    """Split of the pairs that may use it, which follows from the split of its source."""

    visual: VisualReference

    verb: str
    """The action as a present participle: "jumping". Empty if the visual shows none."""

    roles: Mapping[str, str]
    """Role -> noun without article. Roles without a value, or without agreement, are left out."""

    objects: tuple[str, ...]
    """Nouns of the things that are visible, sorted."""

    unsure: frozenset[str] = frozenset()
    """Nouns that a minority of the annotators gives, or that are partly hidden.

    They are neither present nor absent.
    """


@dataclass(frozen=True)
class LoadedSituations:
    """The situations of a source, and what could not be used."""

    situations: list[Situation]

    bad: tuple[BadRow, ...] = ()
    """Annotations that could not be read."""

    missing: tuple[str, ...] = ()
    """Visuals that were not found. Their situations are left out."""

    abstracts: Mapping[str, str] = field(default_factory=dict)
    """Verb -> its sentence with role names in capitals: "an AGENT clings to the CLUNGTO"."""

    notes: tuple[str, ...] = ()
    """Counts of what the annotations lack, one sentence each."""


def agreed(frames: Sequence[Mapping[str, str]]) -> tuple[dict[str, str], tuple[str, ...], frozenset[str]]:
    """Combine the frames of several annotators.

    Args:
        frames: role -> noun of each annotator; "" is no value.

    Returns:
        The roles whose noun more than half of the annotators give; the nouns that more than half of
        them give in any role, sorted; and the other nouns.
    """
    roles = {}
    for role in sorted({role for frame in frames for role in frame}):
        noun, count = Counter(frame.get(role, "") for frame in frames).most_common(1)[0]
        if noun and 2 * count > len(frames):
            roles[role] = noun
    named = Counter(noun for frame in frames for noun in {*frame.values()} if noun)
    objects = tuple(sorted(noun for noun, count in named.items() if 2 * count > len(frames)))
    return roles, objects, frozenset(named) - {*objects}


def read_document(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"not JSON: {error}"
        raise DataError(f"{path}: cannot be read ({why}). Give the dataset's file as it was downloaded.") from None


def find_file(folder: Path, name: str) -> Path:
    """Return the file of this name in a folder, at any depth.

    Raises:
        DataError: there is none, or more than one.
    """
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        what = f"{len(found)} files have the name {name}" if found else f"no file {name}"
        raise DataError(f"{folder}: {what}. Give the folder of annotations as it was downloaded.")
    return found[0]


def counted(what: str, items: Iterable[object]) -> tuple[str, ...]:
    """Return a note with the number of items, or no note if there is none."""
    count = sum(1 for _ in items)
    return (f"{what}: {count:,}.",) if count else ()
