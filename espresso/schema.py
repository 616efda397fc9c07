"""The records that everything passes around, and the file format everywhere: their JSON.

Times are seconds from the start of the visual, in presentation order. Boxes are xyxy pixels of the original, upright frame.
Records are frozen; `model_dump_json` and `model_validate_json` round-trip them. `Truth` is for scoring and for making training
data: nothing that answers a question may read it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Box = tuple[float, float, float, float]
"""xyxy in pixels of the original frame."""


class Record(BaseModel):
    """A frozen record that refuses unknown fields, so that a misspelt one is found at the door."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(StrEnum):
    """The fourteen tasks of VideoEspresso (Tables 7 and 9); the value is the paper's name."""

    CAUSAL = "Causal Inference"
    CONTEXTUAL = "Contextual Interpretation"
    EVENT = "Event Process"
    INTERACTION = "Interaction Dynamics"
    BEHAVIOR = "Behavior Profiling"
    EMOTION = "Emotional Recognition"
    INFLUENCE = "Influence Tracing"
    ROLE = "Role Identification"
    NARRATIVE = "Narrative Structuring"
    THEME = "Thematic Insight"
    SITUATION = "Situational Awareness"
    COOKING = "Cooking Steps"
    INGREDIENT = "Ingredient Details"
    TRAFFIC = "Traffic Analysis"

    @property
    def group(self) -> str:
        """The group of Table 9 that the task belongs to."""
        return _GROUPS[self]

    @property
    def abbreviation(self) -> str:
        """The column head of Table 1."""
        return _ABBREVIATIONS[self]

    @classmethod
    def parse(cls, name: str) -> Task:
        """The task a name stands for: the paper's name, its abbreviation or the leaderboard's name, in any case.

        Raises ValueError naming the known tasks.
        """
        task = _BY_NAME.get(" ".join(name.lower().rstrip(".").replace("_", " ").split()))
        if task is None:
            raise ValueError(f"no task is called {name!r}; the tasks are {', '.join(cls)}")
        return task


_GROUPS = {
    **dict.fromkeys((Task.CAUSAL, Task.CONTEXTUAL, Task.EVENT), "Logical Reasoning"),
    **dict.fromkeys((Task.INTERACTION, Task.BEHAVIOR, Task.EMOTION, Task.INFLUENCE), "Social Understanding"),
    **dict.fromkeys((Task.ROLE, Task.NARRATIVE, Task.THEME, Task.SITUATION), "Discourse Comprehension"),
    **dict.fromkeys((Task.COOKING, Task.INGREDIENT, Task.TRAFFIC), "Reality Application"),
}
_ABBREVIATIONS = {
    Task.NARRATIVE: "Narra.", Task.EVENT: "Event", Task.INGREDIENT: "Ingre.", Task.CAUSAL: "Causal", Task.THEME: "Theme",
    Task.CONTEXTUAL: "Conte.", Task.INFLUENCE: "Influ.", Task.ROLE: "Role", Task.INTERACTION: "Inter.", Task.BEHAVIOR: "Behav.",
    Task.EMOTION: "Emoti.", Task.COOKING: "Cook.", Task.TRAFFIC: "Traff.", Task.SITUATION: "Situa.",
}  # fmt: skip
_LEADERBOARD = {
    "Narrative Analysis": Task.NARRATIVE, "Event Dynamic": Task.EVENT, "Preparation Steps": Task.INGREDIENT,
    "Causal Analysis": Task.CAUSAL, "Theme Analysis": Task.THEME, "Contextual Analysis": Task.CONTEXTUAL,
    "Influence Analysis": Task.INFLUENCE, "Role Analysis": Task.ROLE, "Interaction Analysis": Task.INTERACTION,
    "Behavior Analysis": Task.BEHAVIOR, "Emotion Analysis": Task.EMOTION, "Cooking Process": Task.COOKING,
    "Traffic Analysis": Task.TRAFFIC, "Situation Analysis": Task.SITUATION,
}  # fmt: skip
_BY_NAME = (
    {task.value.lower(): task for task in Task}
    | {short.lower().rstrip("."): task for task, short in _ABBREVIATIONS.items()}
    | {name.lower(): task for name, task in _LEADERBOARD.items()}
)


class Visual(Record):
    """An image or a video. An image is a video of one frame at 0 s.

    source: the path or URL it came from, or a description ("array 120x224x224x3") for pixels given in memory.
    digest: SHA-256 of the bytes (or pixels), so that the same clip under two names is known once.
    width, height: pixels, after the file's rotation is applied. duration: seconds, 0 for an image. fps: average, 0 for an image.
    """

    source: str
    digest: str
    kind: Literal["image", "video"]
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    duration: float = Field(ge=0)
    fps: float = Field(ge=0)
    frame_count: int = Field(gt=0)


class Frame(Record):
    """One moment of a visual. Pixels are not part of the record: `espresso.media` decodes them on demand.

    visual: position of the visual in the question's list. index: native frame index, in presentation order. time: seconds.
    """

    visual: int = 0
    index: int = Field(ge=0)
    time: float = Field(ge=0)


class Caption(Record):
    """What the captioner sees in one frame."""

    frame: Frame
    text: str


class CoreFrame(Record):
    """A frame the question needs, and why it was chosen (the selector's caption, or the strategy's name)."""

    frame: Frame
    why: str

    @property
    def time(self) -> float:
        """Seconds from the start of the visual."""
        return self.frame.time


class KeyItem(Record):
    """A thing the evidence speaks of, grounded in one frame: box in xyxy pixels of the original frame, score in 0..1 or None."""

    label: str
    frame: Frame
    box: Box | None = None
    score: float | None = None


class Evidence(Record):
    """What the frames show that bears on the question (VideoEspresso, stage 1)."""

    text: str
    core_frames: tuple[CoreFrame, ...] = ()
    key_items: tuple[KeyItem, ...] = ()


class Span(Record):
    """A stretch of a visual in which the question needs (at least) one frame. Seconds, both ends included."""

    start: float = Field(ge=0)
    end: float
    visual: int = 0

    def holds(self, frame: Frame) -> bool:
        """Whether the frame lies inside."""
        return frame.visual == self.visual and self.start <= frame.time <= self.end


class Truth(Record):
    """What is known about a question beyond its answer: for scoring and for making training data only.

    spans: the core frames as stretches of time, one needed frame each, in time order. facts: the true sentences behind the
    evidence, one for each span. evidence: the reference evidence text. key_items: the things it speaks of, grounded.
    """

    spans: tuple[Span, ...]
    facts: tuple[str, ...]
    evidence: str
    key_items: tuple[KeyItem, ...] = ()


class Question(Record):
    """A question about one or more visuals.

    visuals: paths or URLs, in the order the question speaks of them. options: two or more texts without letters, or None for an
    open question. task: one of the fourteen, or what another benchmark calls its kinds. answer: the reference answer, equal to
    one of the options where there are options. truth: for scoring only.
    """

    id: str
    visuals: tuple[str, ...]
    text: str
    options: tuple[str, ...] | None = None
    task: Task | str | None = Field(default=None, union_mode="left_to_right")
    answer: str | None = None
    truth: Truth | None = None

    @field_validator("options")
    @classmethod
    def _two_or_more(cls, options: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if options is not None and (len(options) < 2 or len(set(options)) < len(options)):
            raise ValueError("options must be two or more different texts, or absent for an open question")
        return options

    @model_validator(mode="after")
    def _answer_is_an_option(self) -> Question:
        if self.options and self.answer is not None and self.answer not in self.options:
            raise ValueError(f"question {self.id}: the answer {self.answer!r} is not one of its options")
        return self

    def asked(self) -> Question:
        """The question as a model may see it: without answer and truth."""
        return self.model_copy(update={"answer": None, "truth": None})


class Step(Record):
    """What one node of the graph did: its time, its tokens, the prompt it used, and a note where something did not go as planned.

    seconds: wall time. tokens_in includes visual tokens. prompt: hash of the prompt template. cached: replies that cost nothing.
    requests: what a server calls them in its log.
    """

    node: str
    seconds: float = 0.0
    model: str | None = None
    prompt: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_visual: int = 0
    frames: int = 0
    cached: int = 0
    requests: tuple[str, ...] = ()
    note: str | None = None


class Usage(Record):
    """What an answer cost in sum: tokens, TFLOPs by role where known, seconds by node."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_visual: int = 0
    tflops: dict[str, float] = {}
    seconds: dict[str, float] = {}


class Verdict(Record):
    """A judge's scores of one answer, 1 to 10 each (VideoEspresso, Figure 10 and Table 2), with a reason for each.

    The median of several samples may lie between two numbers.
    """

    logic: float = Field(ge=1, le=10)
    factuality: float = Field(ge=1, le=10)
    accuracy: float = Field(ge=1, le=10)
    conciseness: float = Field(ge=1, le=10)
    overall: float = Field(ge=1, le=10)
    reasons: dict[str, str] = {}


class Answer(Record):
    """An answer with what stands behind it.

    text: the answer in words (the chosen option's text where there are options). choice: the chosen option's letter, or None.
    confidence: probability of the choice among the options, or the mean token probability of a free answer;
    None where the model tells none.
    options_probability: option letter -> its probability among the options; empty for a free answer.
    frames: every frame the models could choose from, after near-duplicates were dropped, with captions where made.
    verdict: what the profile's judge thinks of it beside a reference; None where none was given, or it could not be scored.
    """

    question: Question
    text: str
    choice: str | None = None
    confidence: float | None = Field(ge=0, le=1)
    options_probability: dict[str, float] = {}
    evidence: Evidence
    visuals: tuple[Visual, ...] = ()
    frames: tuple[Frame, ...] = ()
    captions: tuple[Caption, ...] = ()
    core_frames: tuple[CoreFrame, ...] = ()
    strategy: str
    profile: str
    verdict: Verdict | None = None
    trace: tuple[Step, ...] = ()
    usage: Usage = Usage()


def letter(index: int) -> str:
    """The letter of option `index` (0 is A)."""
    return chr(ord("A") + index)
