"""ImSitu and SWiG: images with a verb and the nouns of its roles, by three annotators.

Yatskar, Zettlemoyer, Farhadi, "Situation Recognition: Visual Semantic Role Labeling for Image
Understanding", CVPR 2016; Pratt et al., "Grounded Situation Recognition", ECCV 2020 (SWiG, which
adds boxes). `train.json`, `dev.json` and `test.json` lie beside `imsitu_space.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espresso.datasets.fields import text
from espresso.datasets.raiv.situations import (
    LoadedSituations,
    Situation,
    Split,
    VisualReference,
    agreed,
    find_file,
    read_document,
)
from espresso.datasets.rows import BadRow, reason
from espresso.datasets.videos import VideoFolder
from espresso.errors import DataError

SPACE = "imsitu_space.json"
FILES: dict[str, Split] = {"train.json": "train", "dev.json": "val", "test.json": "test"}


def read(annotations: Path, media: VideoFolder | None = None) -> LoadedSituations:
    """Read the situations of all images.

    An annotation with an unknown verb, role or synset is bad. A role without a noun, because the
    synset is empty or no two annotators agree, has no value.

    Args:
        annotations: folder that contains the four files, at any depth.
        media: folder of the images; None does not look for them.

    Raises:
        DataError: a file is missing or is not one of ImSitu.
    """
    path = find_file(annotations, SPACE)
    space = _Space(path, read_document(path))
    situations, bad, missing = list[Situation](), list[BadRow](), dict[str, None]()
    without_box = 0
    for name, split in FILES.items():
        file = path.with_name(name)
        rows = read_document(file)
        if not isinstance(rows, dict):
            raise DataError(f"{file}: not an object of annotations by image. Give the dataset's file as it was downloaded.")
        for image, row in rows.items():
            try:
                verb, frames = space.frames(row)
                without_box += _without_box(row)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                bad.append(BadRow(f"{name}, {image}", reason(error)))
                continue
            found = media.find(image) if media else Path(image)
            if found is None:
                missing[image] = None
                continue
            roles, objects, unsure = agreed(frames)
            stored = found.relative_to(media.path).as_posix() if media else image
            visual = VisualReference(path=stored, kind="image")
            situations.append(Situation(image, split, visual, verb, roles, objects, unsure))
    notes = (f"{without_box:,} roles of ImSitu have no box.",) if without_box else ()
    return LoadedSituations(situations, tuple(bad), tuple(missing), space.abstracts, notes)


class _Space:
    """The verbs with their roles, and the nouns."""

    def __init__(self, path: Path, document: Any) -> None:
        try:
            self.roles = {verb: frozenset(entry["roles"]) for verb, entry in document["verbs"].items()}
            self.abstracts = {verb: entry["abstract"] for verb, entry in document["verbs"].items() if entry.get("abstract")}
            self.nouns = {synset: str(entry["gloss"][0]) for synset, entry in document["nouns"].items()}
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not the verbs and nouns of ImSitu ({reason(error)}). Give the dataset's file.") from None

    def frames(self, row: Mapping[str, Any]) -> tuple[str, list[dict[str, str]]]:
        """Return verb and frames of an annotation, with nouns for synsets.

        Raises:
            KeyError: a field is missing.
            ValueError: the verb, a role or a synset is unknown, or there is no frame.
        """
        verb = text(row, "verb")
        if verb not in self.roles:
            raise ValueError(f"the field 'verb' is {verb!r}, which {SPACE} does not have")
        frames = row["frames"]
        if not isinstance(frames, list) or not frames:
            raise ValueError("the field 'frames' is empty or not a list")
        return verb, [{role: self._noun(verb, role, synset) for role, synset in frame.items()} for frame in frames]

    def _noun(self, verb: str, role: str, synset: str | None) -> str:
        if role not in self.roles[verb]:
            raise ValueError(f"the field 'frames' has the role {role!r}, which {verb!r} does not have")
        if not synset:
            return ""
        if synset not in self.nouns:
            raise ValueError(f"the field 'frames' has the synset {synset!r}, which {SPACE} does not have")
        return self.nouns[synset]


def _without_box(row: Mapping[str, Any]) -> int:
    """Return the number of roles without a box. Raises ValueError if a box is not four numbers."""
    boxes = row.get("bb") or {}
    for role, box in boxes.items():
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
            raise ValueError(f"the box of {role!r} in the field 'bb' is not four numbers")
    return sum(min(box) < 0 for box in boxes.values())
