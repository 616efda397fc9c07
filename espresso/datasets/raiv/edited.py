"""Pairs of an image and its edited version, from the public layout of InstructPix2Pix (IP2P).

Brooks, Holynski, Efros, "InstructPix2Pix: Learning to Follow Image Editing Instructions", CVPR
2023. The folder contains `seeds.json`, a list of `[name, [seed, ...]]`; and for each name
`prompt.json` with the captions and the edit, and the images `<seed>_0.jpg` (before) and
`<seed>_1.jpg` (after).

A true statement names the edit; a false one names an edit of another pair, of the same image if it
has several. Each edit is true of one pair and false of another one, so its text gives no hint. Two
edits with different texts can mean the same, which makes some false statements true. Language
models write the statements of the paper from the captions; here they are templates.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

from espresso.datasets.fields import text
from espresso.datasets.raiv.pairs import Built, RaivPair, seven_one_two
from espresso.datasets.raiv.situations import SPLITS, Split, VisualReference, read_document
from espresso.datasets.rows import BadRow, RawRow, reason
from espresso.errors import DataError

ALIASES = {"input": "caption", "output": "edited_caption"}
"""Field of `prompt.json` -> another name of it."""


@dataclass(frozen=True)
class Edit:
    """An image before and after an edit."""

    id: str

    split: Split
    """Follows from the name of the prompt, so that all images of a prompt are in the same split."""

    before: VisualReference
    """The image before the edit; its path is in the folder of the dataset."""

    after: VisualReference
    """The image after the edit."""

    caption: str
    """Caption of the image before the edit."""

    edit: str
    """The instruction: "make it a desert"."""

    edited_caption: str
    """Caption of the image after the edit."""


@dataclass(frozen=True)
class LoadedEdits:
    """The edits of a folder, and what could not be used."""

    edits: list[Edit]

    bad: tuple[BadRow, ...] = ()
    """Prompts that could not be read."""

    missing: tuple[str, ...] = ()
    """Images that were not found. Their edits are left out."""


def read(folder: Path) -> LoadedEdits:
    """Read the edits of a folder in the layout of InstructPix2Pix.

    Raises:
        DataError: `seeds.json` is missing or invalid.
    """
    path = folder / "seeds.json"
    rows = read_document(path)
    if not isinstance(rows, list):
        raise DataError(f"{path}: not a list of names and seeds. Give the folder as it was downloaded.")
    edits, bad, missing = list[Edit](), list[BadRow](), list[str]()
    for number, row in enumerate(rows, 1):
        try:
            name, seeds = row
            caption, edit, edited = _prompt(read_document(folder / str(name) / "prompt.json"))
        except (DataError, KeyError, ValueError, TypeError, AttributeError) as error:
            bad.append(BadRow(f"seeds.json, row {number}", reason(error)))
            continue
        for seed in seeds:
            images = f"{name}/{seed}_0.jpg", f"{name}/{seed}_1.jpg"
            absent = [image for image in images if not (folder / image).is_file()]
            missing += absent
            if not absent:
                before, after = (VisualReference(path=image, kind="image") for image in images)
                edits.append(Edit(f"{name}-{seed}", _split(str(name)), before, after, caption, edit, edited))
    return LoadedEdits(edits, tuple(bad), tuple(missing))


def build(edits: list[Edit], count: int, seed: int) -> Built:
    """Build pairs with true and false statements, 7:1:2 in train, val and test.

    In val and test each edit is used once true and once false, in train as often as there are
    images.

    Args:
        edits: the images.
        count: number of pairs.
        seed: the same seed, edits and count give the same pairs.

    Raises:
        DataError: a split has fewer than two images with different edits.
    """
    pairs = {split: list(_pairs([edit for edit in edits if edit.split == split], split, seed)) for split in SPLITS}
    sizes = seven_one_two(count, {split: len(made) for split, made in pairs.items()})
    if not all(sizes.values()):
        raise DataError(f"no pair can be built from {len(edits)} edited images: each split needs two different edits.")
    total = sum(sizes.values())
    notes = (f"{total:,} of {count:,} pairs: there are too few different edits.",) if total < count - len(SPLITS) else ()
    return Built((pair for split in SPLITS for pair in pairs[split][: sizes[split]]), total, {}, 0, notes)


def build_split(edits: list[Edit], split: Split, count: int, seed: int) -> Iterator[RaivPair]:
    """Yield up to `count` pairs of one split, see `build`."""
    yield from islice(_pairs([edit for edit in edits if edit.split == split], split, seed), count)


def _pairs(edits: list[Edit], split: Split, seed: int) -> Iterator[RaivPair]:
    """Yield a true pair and a false pair of each edit in turn.

    The edits are shuffled; each is false of another edit of its image, or else of the next one.
    """
    rng = random.Random(f"{seed} edits {split}")
    left = rng.sample(edits, len(edits))
    by_image = defaultdict[VisualReference, list[Edit]](list)
    for edit in left:
        by_image[edit.before].append(edit)
    if split != "train":
        left = list({edit.edit.lower(): edit for edit in left}.values())
    number = 0
    for place, edit in enumerate(left):
        others = chain(by_image[edit.before], (left[(place + step) % len(left)] for step in range(1, len(left))))
        other = next((each for each in others if each.edit.lower() != edit.edit.lower()), None)
        if other is None:
            return
        wording = rng.randrange(2)
        for label, shown in ((True, edit), (False, other)):
            yield RaivPair(
                id=f"edit-{split}-{number:06d}",
                split=split,
                kind="im-im",
                visuals=(shown.before, shown.after),
                statement=_statement(edit.edit, wording),
                label=label,
                template="edit",
            )
            number += 1


def _statement(edit: str, wording: int) -> str:
    edit = edit.strip().rstrip(".")
    if wording:
        return f"The change from the first image to the second image is: {edit}."
    return f'The second image is the first one after the edit "{edit}".'


def _prompt(prompt: RawRow) -> tuple[str, str, str]:
    """Return caption, edit and edited caption. Raises KeyError or ValueError if one is missing."""
    caption, edited = (text(prompt, name if name in prompt else ALIASES[name]) for name in ("input", "output"))
    return caption, text(prompt, "edit"), edited


def _split(name: str) -> Split:
    tenth = int(sha256(name.encode()).hexdigest()[:8], 16) % 10
    return "train" if tenth < 7 else "val" if tenth == 7 else "test"
