"""Ask questions of images and videos: core frames, evidence and an answer come out.

    import espresso

    options = ["the red circle hits it", "it moves by itself"]
    answer = espresso.ask("clip.mp4", "Why does the blue square move?", options=options)
    answer.text, answer.evidence.text, [frame.time for frame in answer.core_frames]

Importing this package is cheap: each public name is imported from its module when it is first used.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.ask import aask, answer, ask
    from agents.batch import aask_many, ask_many
    from agents.session import Session
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

_MODULES = {
    "agents.ask": ("aask", "answer", "ask"),
    "agents.batch": ("aask_many", "ask_many"),
    "agents.session": ("Session",),
    "espresso.errors": ("DataError", "EspressoError", "MediaError", "ModelError", "ProfileError", "QuestionError"),
    "espresso.schema": (
        "Answer", "Caption", "CoreFrame", "Evidence", "Frame", "KeyItem",
        "Question", "Step", "Task", "Usage", "Verdict", "Visual",
    ),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

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
    "Session",
    "Step",
    "Task",
    "Usage",
    "Verdict",
    "Visual",
    "aask",
    "aask_many",
    "answer",
    "ask",
    "ask_many",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'espresso' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def _check_agents_package() -> None:
    """Raise ImportError if `agents` is another distribution's package, which would shadow ours."""
    spec = find_spec("agents")
    origin = spec.origin if spec else None
    if origin is None or "videoespresso" not in Path(origin).read_text(encoding="utf-8").partition("\n")[0]:
        raise ImportError(
            f"the package `agents` at {origin or 'an unknown path'} is not part of videoespresso (openai-agents installs a "
            "package of that name). Install videoespresso in its own environment."
        )


_check_agents_package()
