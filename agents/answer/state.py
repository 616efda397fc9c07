"""The state of the answer graph: records only, so it can be saved as JSON at any node."""

from __future__ import annotations

from operator import add
from typing import Annotated, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from espresso.options import Strategy
from espresso.schema import Caption, CoreFrame, Frame, KeyItem, Question, Step, Verdict, Visual


class AnswerState(BaseModel):
    """One question on its way through the graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Question

    reference: str | None = None
    """The correct answer, for the judge; no other node sees it."""

    strategy: Strategy = "selector"

    limit: int | None = Field(default=None, gt=0)
    """Most core frames that the selector may choose, or the number of frames of `uniform`.

    None is the profile's number, and 16 for `uniform`.
    """

    written: bool = False
    """Whether the options are listed and the reply is free text, instead of a choice among them."""

    allow_out_of_domain: bool = False
    """Whether to answer with a warning if the profile's models do not know such visuals.

    Otherwise such a question is refused.
    """

    boxes: bool = False
    """Whether to locate the key items of the evidence in the core frames."""

    warning: str | None = None
    """Why the answer is not reliable; None if nothing speaks against it."""

    visuals: tuple[Visual, ...] = ()

    frames: tuple[Frame, ...] = ()
    """The frames that the models may choose from."""

    captions: tuple[Caption, ...] = ()
    """Captions of the frames. If the caller gives them, no frame is sampled or captioned."""

    core_frames: tuple[CoreFrame, ...] = ()

    evidence: str = ""
    """The evidence. If the caller gives it, the reasoner answers from it and writes none."""

    enough: bool = True
    """Whether the evidence suffices for an answer."""

    key_items: tuple[KeyItem, ...] = ()
    """Things that the evidence names, by the core frame to look for them in.

    Those that were found have a box.
    """

    rounds: int = 0
    """How often core frames were selected."""

    text: str = ""
    choice: str | None = None
    confidence: float | None = None
    options_probability: dict[str, float] = {}
    verdict: Verdict | None = None
    trace: Annotated[tuple[Step, ...], add] = ()


class AnswerUpdate(TypedDict, total=False):
    """What a node changes in the state; `trace` holds the step of this node alone."""

    question: Question
    warning: str | None
    visuals: tuple[Visual, ...]
    frames: tuple[Frame, ...]
    captions: tuple[Caption, ...]
    core_frames: tuple[CoreFrame, ...]
    evidence: str
    enough: bool
    key_items: tuple[KeyItem, ...]
    rounds: int
    text: str
    choice: str | None
    confidence: float | None
    options_probability: dict[str, float]
    verdict: Verdict | None
    trace: tuple[Step, ...]
