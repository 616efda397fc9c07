"""Load the situations that a kind of pairs needs, and write a file of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from espresso.datasets.raiv import imsitu, vidsitu, world
from espresso.datasets.raiv.pairs import RaivPair
from espresso.datasets.raiv.situations import LoadedSituations, MediaKind
from espresso.datasets.raiv.statements import Kind
from espresso.datasets.videos import VideoFolder
from espresso.errors import DataError

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


def refuse_existing(path: Path) -> None:
    """Raise DataError if a file exists that would be overwritten, or its folder does not."""
    if path.exists():
        raise DataError(f"{path}: exists. Use another --out, or delete it.")
    if not path.parent.is_dir():
        raise DataError(f"{path.parent}: no such folder. Create it, or use another --out.")


def write(path: Path, pairs: Iterable[RaivPair]) -> None:
    """Write pairs to a new file of JSON lines, one at a time.

    The file appears when it is complete.

    Raises:
        DataError: the file exists, its folder does not, or it cannot be written.
    """
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
