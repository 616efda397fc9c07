"""Ask questions of images and videos: core frames, evidence and an answer come out.

    import espresso

    answer = espresso.ask("clip.mp4", "Why does the blue square move?", options=["the red circle hits it", "nobody knows"])
    answer.text, answer.evidence.text, [frame.time for frame in answer.core_frames]

Importing this package costs nothing: each public name is loaded from its home when it is first used.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.ask import aask, ask
    from agents.batch import aask_many, ask_many
    from espresso.errors import DataError, EspressoError, MediaError, ModelError, ProfileError, QuestionError
    from espresso.schema import (
        Answer,
        Caption,
        CoreFrame,
        Evidence,
        Frame,
        KeyItem,
        Question,
        Step,
        Task,
        Usage,
        Verdict,
        Visual,
    )

_HOMES = {
    "agents.ask": ("aask", "ask"),
    "agents.batch": ("aask_many", "ask_many"),
    "espresso.errors": ("DataError", "EspressoError", "MediaError", "ModelError", "ProfileError", "QuestionError"),
    "espresso.schema": (
        "Answer", "Caption", "CoreFrame", "Evidence", "Frame", "KeyItem",
        "Question", "Step", "Task", "Usage", "Verdict", "Visual",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "Caption",
    "CoreFrame",
    "DataError",
    "EspressoError",
    "Evidence",
    "Frame",
    "KeyItem",
    "MediaError",
    "ModelError",
    "ProfileError",
    "Question",
    "QuestionError",
    "Step",
    "Task",
    "Usage",
    "Verdict",
    "Visual",
    "aask",
    "aask_many",
    "ask",
    "ask_many",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'espresso' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def _refuse_a_foreign_agents_package() -> None:
    """Raise ImportError if `agents` is another distribution's package, which would shadow ours."""
    spec = find_spec("agents")
    origin = spec.origin if spec else None
    if origin is None or "videoespresso" not in Path(origin).read_text(encoding="utf-8").partition("\n")[0]:
        raise ImportError(
            f"the package `agents` at {origin or 'no known place'} is not videoespresso's own (openai-agents installs one "
            "of that name). Give videoespresso an environment of its own."
        )


_refuse_a_foreign_agents_package()
