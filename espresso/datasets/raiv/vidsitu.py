"""VidSitu: clips of movies with five events of two seconds, each with a verb and its arguments.

Sadhu et al., "Visual Semantic Role Labeling for Video Understanding", CVPR 2021. The test splits
have no public annotations, so the videos of `valid` are divided into val and test, 1:2. Arguments
are phrases ("a man in a suit"); their head noun is used (`words.head_noun`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from espresso.datasets.fields import is_missing, text
from espresso.datasets.raiv.situations import (
    LoadedSituations,
    Situation,
    Split,
    VisualReference,
    agreed,
    find_file,
    read_document,
)
from espresso.datasets.raiv.words import head_noun, participle
from espresso.datasets.rows import BadRow, read_rows, reason
from espresso.datasets.videos import VideoFolder
from espresso.errors import DataError

EVENT_S = 2.0
"""Duration of an event in seconds; a clip has five of them."""

EVENTS = ("Ev1", "Ev2", "Ev3", "Ev4", "Ev5")

ROLES = {
    "Arg0": "agent", "Arg1": "patient", "Arg2": "indirect object", "Arg3": "starting point", "Arg4": "end point",
    "Arg5": "", "AScn": "place", "ALoc": "location", "ADir": "", "AGol": "", "AMnr": "", "APrp": "",
}  # fmt: skip
"""Name of an argument -> role; "" for arguments that do not name a thing, such as the manner."""

_MODIFIERS = {"direction": "ADir", "purpose": "APrp", "manner": "AMnr", "location": "ALoc", "goal": "AGol"}
_CLIP = re.compile(r"v_(.+)_seg_\d+_\d+")


def read(annotations: Path, media: VideoFolder | None = None) -> LoadedSituations:
    """Read the situations of all annotated events.

    Several annotations of a clip are combined: the most frequent verb of an event, and the nouns
    that more than half of the annotators with this verb give.

    Args:
        annotations: folder that contains `vsann_*_lb.json` and `vseg_split_*_lb.json` of train and
            valid, at any depth.
        media: folder of the clips, `<vid_seg_int>.mp4`; None does not look for them.

    Raises:
        DataError: a file is missing or is not one of VidSitu.
    """
    situations, bad, missing = list[Situation](), list[BadRow](), dict[str, None]()
    notes = list[str]()
    for source in ("train", "valid"):
        listed = read_document(find_file(annotations, f"vseg_split_{source}_lb.json"))
        if not isinstance(listed, list):
            raise DataError(f"{annotations}: vseg_split_{source}_lb.json is not a list of clips. Give the file as downloaded.")
        events = _events(find_file(annotations, f"vsann_{source}_lb.json"), frozenset(listed), bad)
        clips = dict.fromkeys(clip for clip, _ in events)
        if left := len({*listed} - {*clips}):
            notes.append(f"{left:,} clips of vseg_split_{source}_lb.json have no annotation.")
        paths = {clip: _find(clip, media) for clip in clips}
        missing |= dict.fromkeys(f"{clip}.mp4" for clip, path in paths.items() if path is None)
        for (clip, number), labels in events.items():
            if path := paths[clip]:
                situations.append(_situation(clip, number, labels, path, _split(source, clip)))
    return LoadedSituations(situations, tuple(bad), tuple(missing), notes=tuple(notes))


_Label = tuple[str, dict[str, str]]
"""Participle of the verb, and role -> noun."""


def _events(path: Path, listed: frozenset[str], bad: list[BadRow]) -> dict[tuple[str, int], list[_Label]]:
    """Return the labels of each (clip, number of the event from 1)."""
    events = defaultdict[tuple[str, int], list[_Label]](list)
    for where, row in read_rows(path, bad):
        for number, name in enumerate(EVENTS, 1):
            try:
                event = row[name]
                clip = text(event, "vid_seg_int")
                if not _CLIP.fullmatch(clip):
                    raise ValueError(f"the field 'vid_seg_int' is {clip!r}, not v_<video>_seg_<start>_<end>")
                if clip not in listed:
                    raise ValueError(f"the field 'vid_seg_int' is {clip!r}, which the file of the split does not list")
                label = _verb(event), dict(_roles(event))
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                bad.append(BadRow(f"{where}, {name}", reason(error)))
            else:
                events[clip, number].append(label)
    return events


def _verb(event: Mapping[str, Any]) -> str:
    """Return the participle of the verb of a PropBank id: "pick_up.04" is "picking up"."""
    written = text(event, "VerbID")
    lemma = written.partition(".")[0].replace("_", " ").replace("-", " ").strip().lower()
    if not re.fullmatch("[a-z]+( [a-z]+)*", lemma):
        raise ValueError(f"the field 'VerbID' is {written!r}, not a verb and a number such as 'talk.01'")
    return participle(lemma)


def _roles(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, phrase in event["Args"].items():
        role = ROLES.get(_argument(name))
        if role is None:
            raise ValueError(f"the field 'Args' has the unknown argument {name!r}")
        if role and not is_missing(phrase) and (noun := head_noun(phrase)):
            yield role, noun


def _argument(name: str) -> str:
    """Return the short name of an argument: "AScn" for "Scene of the Event"."""
    if name == "Scene of the Event":
        return "AScn"
    if name.startswith("ArgM"):
        return next((short for word, short in _MODIFIERS.items() if word in name), name)
    return name.split(" ", 1)[0]


def _situation(clip: str, number: int, labels: list[_Label], path: str, split: Split) -> Situation:
    verb = Counter(verb for verb, _ in labels).most_common(1)[0][0]
    roles, objects, unsure = agreed([roles for other, roles in labels if other == verb])
    others = {noun for other, roles in labels if other != verb for noun in roles.values()}
    visual = VisualReference(path=path, kind="video", span=(EVENT_S * (number - 1), EVENT_S * number))
    return Situation(f"{clip}-Ev{number}", split, visual, verb, roles, objects, unsure | others - {*objects})


def _find(clip: str, media: VideoFolder | None) -> str | None:
    """Return the path of a clip in the folder of media, or None if it is not there."""
    if media is None:
        return f"{clip}.mp4"
    found = media.find(f"{clip}.mp4")
    return found.relative_to(media.path).as_posix() if found else None


def _split(source: str, clip: str) -> Split:
    """Return the split of a clip: all clips of a video are in the same one."""
    match = _CLIP.fullmatch(clip)
    video = match[1] if match else clip
    if source == "train":
        return "train"
    return "val" if int(sha256(video.encode()).hexdigest()[:8], 16) % 3 == 0 else "test"
