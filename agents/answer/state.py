"""What the answer graph carries from node to node: records only, so that it can be written down as JSON at any node."""

from __future__ import annotations

from operator import add
from typing import Annotated, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from espresso.schema import Caption, CoreFrame, Frame, Question, Step, Verdict, Visual

Strategy = Literal["selector", "uniform", "all", "blind", "given"]
"""How core frames are found: by the selector from captions, evenly spread, every sampled frame, none at all, or by the caller."""


class AnswerState(BaseModel):
    """One question on its way through the graph.

    limit: the most core frames the selector may choose, or how many frames `uniform` takes; None is the profile's number (16 for
    `uniform`). frames: what the models may choose from. enough: whether the evidence carries an answer. rounds: how often core
    frames were selected. text, choice, confidence, options_probability: the answer, as in `espresso.Answer`. reference: what the
    judge measures it by; no other node gets to see it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Question
    reference: str | None = None
    strategy: Strategy = "selector"
    limit: int | None = Field(default=None, gt=0)
    visuals: tuple[Visual, ...] = ()
    frames: tuple[Frame, ...] = ()
    captions: tuple[Caption, ...] = ()
    core_frames: tuple[CoreFrame, ...] = ()
    evidence: str = ""
    enough: bool = True
    rounds: int = 0
    text: str = ""
    choice: str | None = None
    confidence: float | None = None
    options_probability: dict[str, float] = {}
    verdict: Verdict | None = None
    trace: Annotated[tuple[Step, ...], add] = ()


class AnswerUpdate(TypedDict, total=False):
    """What a node changes in the state; `trace` holds the one step it took, which the graph times."""

    question: Question
    visuals: tuple[Visual, ...]
    frames: tuple[Frame, ...]
    captions: tuple[Caption, ...]
    core_frames: tuple[CoreFrame, ...]
    evidence: str
    enough: bool
    rounds: int
    text: str
    choice: str | None
    confidence: float | None
    options_probability: dict[str, float]
    verdict: Verdict | None
    trace: tuple[Step, ...]
