"""Load the situations that a kind of pairs needs, and write a file of pairs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from espresso.datasets.raiv import edited, imsitu, vidsitu, world, world_edits
from espresso.datasets.raiv.pairs import RaivPair
from espresso.datasets.raiv.situations import SPLITS, LoadedSituations, MediaKind, Situation, Split, VisualReference
from espresso.datasets.raiv.statements import Kind
from espresso.datasets.videos import VideoFolder
from espresso.errors import DataError

_WORLD = re.compile(r"world:(?:train|val|test)/(\d+)")

Source = Literal["world", "imsitu", "vidsitu", "imsitu+vidsitu"]

_SOURCES: dict[Kind, Source] = {"im-im": "imsitu", "im-vid": "imsitu+vidsitu", "vid-vid": "vidsitu"}
"""The source of each kind of pairs, apart from the world."""


MEDIA_KINDS: dict[Kind, tuple[MediaKind, ...]] = {"im-im": ("image",), "im-vid": ("image", "video"), "vid-vid": ("video",)}
"""What the visuals of each kind of pairs are."""


def load(source: Source, kind: Kind, annotations: Path | None, media: Path | None = None) -> LoadedSituations:
    """Load the situations of annotation files for a kind of pairs.

    Args:
        source: images come from ImSitu, videos from VidSitu.
        kind: what the visuals of a pair are.
        annotations: folder that contains the files of the source, at any depth.
        media: folder that contains the images and clips, at any depth; None does not look for them.

    Raises:
        DataError: the source does not have the visuals, or a file or folder is missing or invalid.
    """
    if _SOURCES[kind] != source:
        raise DataError(f"pairs of the kind {kind} are not built from {source}. Use --source {_SOURCES[kind]} or world.")
    if annotations is None:
        raise DataError(f"{source} is read from your files. Give --annotations FOLDER.")
    folder = VideoFolder(media) if media else None
    parts = [reader.read(annotations, folder) for name, reader in (("imsitu", imsitu), ("vidsitu", vidsitu)) if name in source]
    return _joined(parts)


def load_world(kind: Kind, count: int, on_story: Callable[[int, int], None] | None = None) -> LoadedSituations:
    """Load the situations of the world for a number of pairs.

    Args:
        kind: what the visuals of a pair are.
        count: number of pairs.
        on_story: called with (stories done, all stories).
    """
    return world.read(MEDIA_KINDS[kind], world.stories_for(count), on_story)


def load_world_edits(count: int, *splits: Split) -> edited.LoadedEdits:
    """Load edited images of the world for a number of pairs.

    Args:
        count: number of pairs in all splits; an image has two edits, an edit two pairs.
        *splits: splits to load; none is all of them.
    """
    stories = world.stories_for(count // 2)
    return world_edits.read({split: stories[split] for split in splits or SPLITS})


def load_annotated(
    pairs: Sequence[RaivPair],
    annotations: Path | None,
    media: Path | None = None,
    on_story: Callable[[int, int], None] | None = None,
) -> dict[VisualReference, Situation]:
    """Load the situations of the visuals of built pairs.

    Args:
        pairs: the pairs, not of edited images.
        annotations: folder of the annotation files; not needed for the world.
        media: folder of images and clips, as when the pairs were built.
        on_story: called with (stories done, all stories) for pairs of the world.

    Raises:
        DataError: a file is missing or invalid, or does not have a visual.
    """
    visuals = dict.fromkeys(visual for pair in pairs for visual in pair.visuals)
    stories, kinds = dict[Split, int](), set[MediaKind]()
    for visual in visuals:
        split, _, index = visual.path.removeprefix("world:").partition("/")
        if visual.path.startswith("world:") and split in SPLITS and index.isdecimal():
            stories[split] = max(stories.get(split, 0), int(index) + 1)
        else:
            kinds.add(visual.kind)
    parts = [world.read(("image", "video"), stories, on_story)] if stories else []
    parts += [load("imsitu", "im-im", annotations, media)] if "image" in kinds else []
    parts += [load("vidsitu", "vid-vid", annotations, media)] if "video" in kinds else []
    found = {each.visual: each for each in _joined(parts).situations}
    if absent := next((visual for visual in visuals if visual not in found), None):
        raise DataError(f"{absent.path}: not in the annotations. Give --annotations and --media as when the pairs were built.")
    return {visual: found[visual] for visual in visuals}


def load_edits(pairs: Sequence[RaivPair], annotations: Path | None) -> dict[tuple[VisualReference, VisualReference], edited.Edit]:
    """Load the edits of pairs of edited images, by the images before and after.

    Raises:
        DataError: the folder is missing or invalid, or does not have an image.
    """
    stories = dict[Split, int]()
    for pair in pairs:
        if match := _WORLD.match(pair.visuals[0].path):
            stories[pair.split] = max(stories.get(pair.split, 0), int(match[1]) + 1)
    if annotations is None and not stories:
        raise DataError("edited images are read from your files. Give --annotations FOLDER.")
    loaded = [world_edits.read(stories)] if stories else []
    loaded += [edited.read(annotations)] if annotations else []
    edits = {(edit.before, edit.after): edit for part in loaded for edit in part.edits}
    if absent := next((pair for pair in pairs if pair.visuals not in edits), None):
        raise DataError(
            f"{absent.visuals[0].path}: not an image of {annotations or 'the world'}. Give the folder that the pairs are of."
        )
    return edits


def refuse_existing(path: Path) -> None:
    """Raise DataError if a file exists that would be overwritten, or its folder does not."""
    if path.exists():
        raise DataError(f"{path}: exists. Use another --out, or delete it.")
    if not path.parent.is_dir():
        raise DataError(f"{path.parent}: no such folder. Create it, or use another --out.")


def write(path: Path, pairs: Iterable[RaivPair], *, replace: bool = False) -> None:
    """Write pairs to a file of JSON lines, one at a time.

    The file appears when it is complete.

    Args:
        path: the file.
        pairs: the pairs.
        replace: whether an existing file is replaced.

    Raises:
        DataError: the file exists, its folder does not, or it cannot be written.
    """
    if not replace:
        refuse_existing(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(f"{pair.model_dump_json()}\n" for pair in pairs)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}). Free some space or give another --out.") from error
    finally:
        partial.unlink(missing_ok=True)


def _joined(parts: Iterable[LoadedSituations]) -> LoadedSituations:
    """Return the situations of several sources as one."""
    joined = LoadedSituations([])
    for part in parts:
        joined = LoadedSituations(
            joined.situations + part.situations,
            joined.bad + part.bad,
            joined.missing + part.missing,
            {**joined.abstracts, **part.abstracts},
            joined.notes + part.notes,
        )
    return joined
