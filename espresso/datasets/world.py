"""The procedural world: fourteen tasks of VideoEspresso over clips of which every fact is known.

Han et al., "VideoEspresso: A Large-Scale Chain-of-Thought Dataset for Fine-Grained Video Reasoning via Core Frame Selection",
2024, for the tasks; `espresso.world` for the clips, which are rendered into the user's cache folder when they are first asked
for. Close-ended, four options; chance, and all that words alone can do, is 25 %.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from espresso import world
from espresso.cache import default_folder
from espresso.datasets.base import Loaded, Source
from espresso.errors import DataError
from espresso.schema import Answer, Question

SPLITS: tuple[str, ...] = world.SPLITS
ALL = 1400
"""Questions of a split that is not limited: one hundred a task."""
ROUNDED_S = 0.05
"""Evidence tells times in tenths of a second."""
_FACT = re.compile(r"(\d+(?:\.\d+)?)s: ([^.]+)\.")


def load(
    split: str, limit: int | None, source: Source | None = None, on_clip: Callable[[int, int], None] | None = None
) -> Loaded:
    """See `espresso.datasets.Bench.load`. Raises DataError where a source is given: the world is made here."""
    if source is not None:
        raise DataError(f"{source.data}: the world is made here, from no file. Leave --data and --videos out.")
    return Loaded(questions(split, limit, on_clip))


def questions(split: str, limit: int | None, on_clip: Callable[[int, int], None] | None = None) -> list[Question]:
    """Load the first `limit` questions of a split, 1,400 for None, made where they are not yet; `on_clip` hears (done, all)."""
    count = limit or ALL
    folder = default_folder() / "world" / _version() / split
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A script without `if __name__ == "__main__"` runs again in the workers that render: they must not wait for its lock.
        # `__mp_main__` is a module there, and elsewhere another name of `__main__`.
        again = getattr(sys.modules.get("__mp_main__"), "__name__", "") == "__mp_main__"
        with FileLock(folder.with_suffix(".lock"), timeout=0 if again else -1):
            held = world.load(folder) if (folder / "questions.jsonl").is_file() else []
            if len(held) < count:
                held = world.make(cast(world.Split, split), count, folder, on_clip=on_clip)
    except Timeout:
        raise DataError(f'{folder}: is being made. Call this under `if __name__ == "__main__":` in a script, or later.') from None
    except OSError as error:
        raise DataError(
            f"{folder}: clips cannot be made here ({error.strerror}). Set ESPRESSO_CACHE to a folder that can be written."
        ) from error
    return held[:count]


def facts(question: Question, answer: Answer) -> list[bool]:
    """Whether each fact of evidence such as "2.5s: red square hits blue circle." could be seen in the clip at that time."""
    acts = _acts(question.visuals[0])
    return [
        any(act["fact"] == fact and act["start"] - ROUNDED_S <= float(time) <= act["end"] + ROUNDED_S for act in acts)
        for time, fact in _FACT.findall(answer.evidence.text)
    ]


def caption(visual: str, time: float) -> str:
    """What is truly seen in a clip at a time in seconds, in the words that the captioner learnt."""
    return next((act["fact"] for act in _acts(visual) if act["start"] <= time <= act["end"]), world.NOTHING)


@lru_cache(maxsize=64)
def _acts(visual: str) -> list[dict[str, Any]]:
    """Read what truly happens in a clip from the file beside it."""
    acts: list[dict[str, Any]] = json.loads(Path(visual).with_suffix(".json").read_text())["acts"]
    return acts


@cache
def _version() -> str:
    """Eight hex digits that change when the world's program does, so that no clip of an older world is asked about."""
    sources = sorted(Path(world.__file__).parent.glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
