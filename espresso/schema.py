"""The records that every part of Espresso exchanges; their JSON is the file format everywhere.

Times are seconds from the start of the visual, in presentation order. A part of a video
(`clip.mp4#t=4,6`) is a visual of its own: its times start, and its frames count, from the start of
the part. Boxes are xyxy pixels of the original, upright frame. Records are frozen;
`model_dump_json` and `model_validate_json` round-trip them. `Truth` is for scoring and for making
training data: no code that answers a question reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticSerializationError, to_json

Box = tuple[float, float, float, float]
"""xyxy in pixels of the original frame."""


class Record(BaseModel):
    """A frozen record that refuses unknown fields, so a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_dump_json(self, **options: Any) -> str:
        r"""Return the record as JSON, see pydantic.

        Text that is not valid Unicode, such as the name of a file that is not UTF-8, is written
        with escapes ("caf\udce9.mp4"): JSON cannot hold it, and the record must not be lost.
        """
        try:
            return super().model_dump_json(**options)
        except PydanticSerializationError:
            indent = options.pop("indent", None)
            values = _valid_text(self.model_dump(mode="json", **options))
            return to_json(values, indent=indent, inf_nan_mode="null").decode()


def _valid_text(value: Any) -> Any:
    """Return a JSON value with escapes in its texts for what is not valid Unicode."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_valid_text(key): _valid_text(inner) for key, inner in value.items()}
    return [_valid_text(inner) for inner in value] if isinstance(value, list) else value


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
        """The task's group in Table 9."""
        return _GROUPS[self]

    @property
    def abbreviation(self) -> str:
        """The task's column head in Table 1."""
        return _ABBREVIATIONS[self]

    @classmethod
    def parse(cls, name: str) -> Task:
        """Return the task of a name: the paper's name, its abbreviation or the leaderboard's name.

        Case, underscores and a final full stop are ignored.

        Raises:
            ValueError: no task has this name; the message lists the tasks.
        """
        task = _BY_NAME.get(" ".join(name.lower().rstrip(".").replace("_", " ").split()))
        if task is None:
            raise ValueError(f"unknown task {name!r}; the tasks are {', '.join(cls)}")
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
TABLE_1 = tuple(_ABBREVIATIONS)
"""The tasks in the order of the paper's Table 1."""
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
    """An image or a video. An image is a video of one frame at 0 s."""

    source: str
    """Path or URL, with the segment of a part of a video ("clip.mp4#t=4,6").

    A description ("array 120x224x224x3") if the pixels were given in memory.
    """

    digest: str
    """SHA-256 of the bytes (or pixels): the same clip under two names has one digest.

    For a part of a video, also of its segment.
    """

    kind: Literal["image", "video"]

    width: int = Field(gt=0)
    """Pixels, after the rotation stored in the file is applied."""

    height: int = Field(gt=0)
    """Pixels, after the rotation stored in the file is applied."""

    duration: float = Field(ge=0)
    """Seconds; 0 for an image."""

    fps: float = Field(ge=0)
    """Average frames per second; 0 for an image."""

    frame_count: int = Field(gt=0)


class Frame(Record):
    """One frame of a visual. It holds no pixels: `espresso.media` decodes them on demand."""

    visual: int = 0
    """Position of the visual in the question's list."""

    index: int = Field(ge=0)
    """Native frame index, in presentation order."""

    time: float = Field(ge=0)
    """Seconds from the start of the visual."""


class Caption(Record):
    """The captioner's description of one frame."""

    frame: Frame
    text: str


class CoreFrame(Record):
    """A frame that the question needs."""

    frame: Frame

    why: str
    """Why it was chosen: the caption that the selector read, or the name of the strategy."""

    @property
    def time(self) -> float:
        """Seconds from the start of the visual."""
        return self.frame.time


class KeyItem(Record):
    """An object that the evidence mentions, grounded in one frame."""

    label: str
    frame: Frame

    box: Box | None = None
    """xyxy in pixels of the original frame."""

    score: float | None = None
    """Confidence of the detector, 0 to 1."""


class Evidence(Record):
    """What the frames show that bears on the question (VideoEspresso, section 4, stage 1)."""

    text: str
    core_frames: tuple[CoreFrame, ...] = ()
    key_items: tuple[KeyItem, ...] = ()


class Span(Record):
    """A stretch of a visual in which the question needs at least one frame; ends included."""

    start: float = Field(ge=0)
    """Seconds."""

    end: float
    """Seconds."""

    visual: int = 0
    """Position of the visual in the question's list."""

    def holds(self, frame: Frame) -> bool:
        """Return whether the frame lies inside the span."""
        return frame.visual == self.visual and self.start <= frame.time <= self.end


class Truth(Record):
    """The ground truth behind a question: only for scoring and for making training data."""

    spans: tuple[Span, ...]
    """The core frames as stretches of time, one needed frame each, in time order."""

    facts: tuple[str, ...]
    """The true sentences behind the evidence, one for each span."""

    evidence: str
    """The reference evidence text."""

    key_items: tuple[KeyItem, ...] = ()
    """The objects that the evidence mentions, grounded."""

    answer: str | None = None
    """The reference answer in free text, for the judge, if `Question.answer` is an option."""

    @model_serializer(mode="wrap")
    def _without_absent_answer(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out an absent `answer`, so that hashes of questions are those of older records."""
        values: dict[str, Any] = serialize(self)
        return values if self.answer else {name: value for name, value in values.items() if name != "answer"}


class Question(Record):
    """A question about one or more visuals."""

    id: str

    visuals: tuple[str, ...]
    """Paths or URLs, in the order in which the question refers to them.

    `clip.mp4#t=4,6` is the part of a video from 4 s to 6 s.
    """

    text: str

    options: tuple[str, ...] | None = None
    """Two or more different texts without letters; None for an open question."""

    task: Task | str | None = Field(default=None, union_mode="left_to_right")
    """One of the fourteen tasks, or the category that another benchmark gives."""

    answer: str | None = None
    """The reference answer; one of the options if there are options."""

    truth: Truth | None = None
    """The ground truth, for scoring only."""

    group: str | None = None
    """Name of the group whose questions count as consistent if all of them are answered correctly.

    For scoring only (`eval.metrics`); None if the question is in no group.
    """

    categories: tuple[str, ...] = ()
    """Further categories by which accuracy is reported, next to `task`; for scoring only."""

    weight: float | None = Field(default=None, gt=0)
    """Weight of the question in the weighted accuracy; for scoring only. None if there is none."""

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

    @model_serializer(mode="wrap")
    def _without_absent_groups(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out an absent `group`, `categories` and `weight`.

        Hashes of questions are then those of older records.
        """
        values: dict[str, Any] = serialize(self)
        return {name: value for name, value in values.items() if name not in ("group", "categories", "weight") or value}

    def without_truth(self) -> Question:
        """Return the question as a model may see it: without reference answer and ground truth."""
        return self.model_copy(update={"answer": None, "truth": None})


RoleName = Literal["captioner", "selector", "reasoner", "judge", "writer", "detector", "classifier"]
"""The models of a profile that nodes ask."""
_ROLE_OF_NODE: dict[str, RoleName] = {
    "caption": "captioner",
    "select": "selector",
    "evidence": "reasoner",
    "answer": "reasoner",
    "judge": "judge",
}


class Step(Record):
    """What one node of the graph did: the model it asked, the tokens and time it took."""

    node: str
    """Name of the node."""

    role: RoleName | None = None
    """The role of the model that the node asked; None for a node that asks no model."""

    seconds: float = 0.0
    """Wall time."""

    model: str | None = None
    """Name of the model."""

    prompt: str | None = None
    """Hash of the prompt template."""

    tokens_in: int = 0
    """Prompt tokens, visual tokens included."""

    tokens_out: int = 0
    tokens_visual: int = 0

    frames: int = 0
    """Frames that the model was shown (or could choose from)."""

    cached: int = 0
    """Replies that came from the cache and cost nothing now."""

    saved_in: int = 0
    """Prompt tokens that the cached replies cost when they were made."""

    saved_out: int = 0
    saved_visual: int = 0

    requests: tuple[str, ...] = ()
    """The server's ids of the requests, as in its log."""

    note: str | None = None
    """What did not go as planned."""

    @model_validator(mode="before")
    @classmethod
    def _role_of_older_records(cls, values: Any) -> Any:
        """Fill in the role of a step that was recorded before steps had one."""
        if isinstance(values, dict) and "role" not in values:
            return values | {"role": _ROLE_OF_NODE.get(values.get("node", ""))}
        return values


class Usage(Record):
    """What an answer cost in total."""

    tokens_in: int = 0
    """Prompt tokens, visual tokens included."""

    tokens_out: int = 0
    tokens_visual: int = 0

    tflops: dict[str, float] = {}
    """Role -> 10^12 operations, for roles whose model config is known."""

    tflops_saved: dict[str, float] = {}
    """Role -> 10^12 operations that cached replies cost when they were made."""

    seconds: dict[str, float] = {}
    """Node -> wall time in seconds."""


class Verdict(Record):
    """A judge's scores of one answer, 1 to 10 each (VideoEspresso, Figure 10 and Table 2).

    Each score is a median over several replies, so it may lie between two integers.
    """

    logic: float = Field(ge=1, le=10)
    factuality: float = Field(ge=1, le=10)
    accuracy: float = Field(ge=1, le=10)
    conciseness: float = Field(ge=1, le=10)
    overall: float = Field(ge=1, le=10)

    reasons: dict[str, str] = {}
    """Criterion -> the judge's reason."""


class Answer(Record):
    """An answer with everything it rests on."""

    question: Question

    text: str
    """The answer in words: the text of the chosen option if there are options."""

    choice: str | None = None
    """Letter of the chosen option; None for an open question."""

    confidence: float | None = Field(ge=0, le=1)
    """Probability of the choice among the options, or the mean token probability of a free answer.

    None if the model does not report probabilities.
    """

    options_probability: dict[str, float] = {}
    """Option letter -> its probability among the options; empty for a free answer."""

    warning: str | None = None
    """Why the answer is not reliable: the models do not know such visuals. Usually None.

    An answer with a warning has no confidence and no probabilities.
    """

    evidence: Evidence
    visuals: tuple[Visual, ...] = ()

    frames: tuple[Frame, ...] = ()
    """Every frame that the models could choose from, after near-duplicates were dropped."""

    captions: tuple[Caption, ...] = ()
    """Captions of the frames, if the strategy made any."""

    core_frames: tuple[CoreFrame, ...] = ()
    strategy: str
    profile: str

    verdict: Verdict | None = None
    """The judge's scores; None if no reference was given, or the answer could not be scored."""

    trace: tuple[Step, ...] = ()
    """The steps of the graph, in order."""

    usage: Usage = Usage()

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it, see `espresso.report.notebook`."""
        from espresso import report  # noqa: PLC0415 - it imports this module

        return report.notebook(self)


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def visual_names(kinds: Sequence[Literal["image", "video"]]) -> tuple[str, ...]:
    """Return what prompts call the visuals of a question: "the image" and "the second video".

    Args:
        kinds: whether each visual is an image or a video, in the question's order.
    """
    names = list[str]()
    for position, kind in enumerate(kinds):
        number = kinds[: position + 1].count(kind)
        ordinal = _ORDINALS[number - 1] if number <= len(_ORDINALS) else f"{number}th"
        names.append(f"the {ordinal} {kind}" if kinds.count(kind) > 1 else f"the {kind}")
    return tuple(names)


def letter(index: int) -> str:
    """Return the letter of option `index` (0 is A)."""
    return chr(ord("A") + index)
