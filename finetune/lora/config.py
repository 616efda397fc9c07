"""Configuration of the two-stage LoRA training (VideoEspresso, section 4 and Table 8).

Both stages share one YAML file: run `espresso finetune evidence CONFIG`, then `espresso finetune
answer CONFIG`. The shipped files in `finetune/configs/lora` are for one base model and one kind
of hardware each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from espresso.datasets.raiv.statements import KINDS, Kind
from espresso.datasets.smart101.puzzles import PUZZLES
from espresso.options import EvidenceMode
from espresso.schema import Task
from finetune.config import Settings
from prompts import Style


class Records(Settings):
    """Question records with ground truth (JSONL), as `espresso world make` writes them."""

    format: Literal["records"]
    path: Path
    """The JSONL file."""
    videos: Path | None = None
    """The folder that its visuals are relative to. None is the file's folder."""
    uniform: int | None = Field(default=None, gt=0)
    """Number of evenly spaced frames to use instead of core frames; None uses core frames."""


class VideoEspresso(Settings):
    """The authors' train file, in its multi-image or its video version, or a test file."""

    format: Literal["videoespresso"]
    path: Path
    """The JSON file, as downloaded."""
    root: Path
    """The folder that paths in the file are relative to."""
    rate: float | None = Field(default=None, gt=0)
    """Frames per second at which the numbers in frame names count if the video is absent and core
    frames are image files; None refuses such rows. If the video is there, numbers are its frame
    indices. Notes say for each source what was assumed (see
    `espresso.datasets.videoespresso.frame_names`)."""
    uniform: int | None = Field(default=None, gt=0)
    """Number of evenly spaced frames of the video to use instead of core frames; None uses core
    frames."""


class MultipleChoice(Settings):
    """A multiple-choice dataset without evidence, for an answer stage with `evidence: none`.

    Of a file of RAIV pairs, those of the split train are used.
    """

    format: Literal["nextqa", "egoschema", "mvbench", "videomme", "nlvr2", "raiv", "raiv-reasons"]
    path: Path
    """The file of questions, as its authors publish it."""
    videos: Path
    """The folder that contains the videos, at any depth."""
    uniform: int = Field(gt=0)
    """Number of evenly spaced frames, as the strategy `uniform` shows."""


class World(Settings):
    """Questions of the procedural world, with frames that are rendered when a batch needs them."""

    format: Literal["world"]
    split: Literal["train", "val"] = "train"
    count: int = Field(gt=0)
    """Number of questions."""
    first: int = Field(default=0, ge=0)
    """Index of the first story, so that two trainings can use different stories."""
    spare: float = Field(default=0.25, ge=0, le=1)
    """Probability of each of up to three additional frames that the question does not need, as a
    selector may add."""
    missing: float = Field(default=0.04, ge=0, lt=1)
    """Probability that a needed frame is left out, as a selector may miss it."""
    uniform: int | None = Field(default=None, gt=0)
    """Number of evenly spaced frames to use instead of core frames; None uses core frames."""
    tasks: tuple[Task, ...] = tuple(Task)
    """Tasks to include; the default is all."""


class WorldPairs(Settings):
    """Statements about pairs of images and videos of the procedural world (RAIV)."""

    format: Literal["world-pairs"]
    split: Literal["train", "val"] = "train"
    count: int = Field(gt=0)
    """Number of questions."""
    first: int = Field(default=0, ge=0)
    """Index of the first story, so that two trainings can use different stories."""
    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
    """What the visuals of a pair are."""
    reasons: float = Field(default=0.5, ge=0, le=1)
    """Probability that the question for the reason follows a false statement."""


def _all_known(puzzles: tuple[int, ...]) -> tuple[int, ...]:
    if unknown := [str(puzzle) for puzzle in puzzles if puzzle not in PUZZLES]:
        raise ValueError(f"not generated: {', '.join(unknown)}. Generated are {', '.join(map(str, PUZZLES))}")
    return puzzles


RootPuzzles = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_all_known)]


class Puzzles(Settings):
    """Visual puzzles with five options (SMART-101), of the instance split."""

    format: Literal["smart101"]
    split: Literal["train", "val"] = "train"
    path: Path | None = None
    """The puzzles as published, for an answer stage with `evidence: none`. None generates puzzles
    with evidence."""
    count: int | None = Field(default=None, gt=0)
    """Number of questions, the root puzzles in turn. None is all."""
    puzzles: RootPuzzles = tuple(PUZZLES)
    """Root puzzles to generate; the default is all."""

    @model_validator(mode="after")
    def _generated(self) -> Self:
        if self.path and "puzzles" in self.model_fields_set:
            raise ValueError("'puzzles' chooses among generated puzzles. Remove it, or remove 'path'")
        return self


DataSource = Annotated[Records | VideoEspresso | World | WorldPairs | Puzzles | MultipleChoice, Field(discriminator="format")]


class AdapterConfig(Settings):
    """The LoRA adapter."""

    rank: int = Field(default=16, gt=0)
    """PEFT's `r`."""
    alpha: int = Field(default=32, gt=0)
    """PEFT's `lora_alpha`: the adapter's output is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """PEFT's `lora_dropout`."""
    vision: bool = False
    """Whether to adapt the vision tower and the projector too. vLLM ignores those parts of an
    adapter."""


class StageConfig(Settings):
    """One stage."""

    learning_rate: float = Field(gt=0)
    """Peak learning rate; the schedule is a linear warm-up and a cosine decay to zero."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the data."""


class AnswerStageConfig(StageConfig):
    """The second stage."""

    evidence: EvidenceMode = "truth"
    """Evidence in the prompts; see `espresso.options.EvidenceMode`."""
    without_frames: float = Field(default=0.0, ge=0, le=1)
    """Share of the prompts that show the evidence without its frames. A small model learns to
    reason over the evidence much sooner from these."""
    first: Path | None = None
    """Folder of the first stage's adapter. None is `evidence` in the configuration's `output`."""
    start: Path | None = None
    """Folder of an adapter to continue from, such as an earlier result of this stage. None is the
    first stage's. Predicted evidence is the first stage's in any case."""

    @property
    def has_first_stage(self) -> bool:
        """Whether the training continues from a first stage's adapter."""
        return self.evidence not in ("none", "joint")


class PlacesConfig(StageConfig):
    """A stage before the first one: the vision tower learns to read pictures of generated puzzles.

    See `finetune.lora.places`.
    """

    puzzles: RootPuzzles = tuple(PUZZLES)
    """Root puzzles of the pictures; the default is all."""
    rows: int = Field(gt=0)
    """Train pictures of each root puzzle; there are about 1,600."""
    held_out: int = Field(default=10, gt=0)
    """Val pictures of each root puzzle, with which the result is measured."""


class FinetuneConfig(Settings):
    """Both stages of a reasoner."""

    model: str
    """The base model: a name on the Hugging Face hub or a folder."""
    output: Path
    """Folder for the adapters; each stage writes to its own folder in it, `evidence` or
    `answer`."""
    prompts: Style = "general"
    """Prompt style, as in the profile that will use the adapters."""
    frame_size: int = Field(gt=0)
    """Longest side of a frame in pixels, as in the profile that will use the adapters."""
    data: tuple[DataSource, ...] = Field(min_length=1)
    """Training data."""
    held_out: tuple[DataSource, ...] = ()
    """Evaluation data: loss and token accuracy are measured on it before and after each stage."""
    lora: AdapterConfig = AdapterConfig()
    """The adapter, the same for both stages."""
    places: PlacesConfig | None = None
    """A stage before the first one, which then continues from its adapter. All later stages leave
    the vision tower as it is then."""
    evidence: StageConfig
    """The first stage: core frames and question -> evidence."""
    answer: AnswerStageConfig
    """The second stage: core frames, question and evidence -> answer."""
    ground: StageConfig | None = None
    """An adapter of its own on the base model: frame and labels -> boxes, for `espresso annotate`.
    Its data is that of the world."""
    batch: int = Field(default=16, gt=0)
    """Questions per optimizer step over all processes, as in Table 8."""
    device_batch: int = Field(default=1, gt=0)
    """Questions per forward pass on one device; gradients are accumulated up to `batch`."""
    max_length: int = Field(default=6144, gt=0)
    """Maximum tokens of prompt and reply, as in Table 8. Longer rows are left out before the first
    step, counted and listed; nothing is truncated. It may be raised to resume a training, which
    still leaves out the rows that it left out before."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps with a rising learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_checkpointing: bool = False
    """Whether to recompute activations in the backward pass: less memory, but slower."""
    bf16: bool = False
    """Whether to train in mixed precision if the machine multiplies bfloat16 natively. A base model
    in bfloat16 is always trained so."""
    save_every: int = Field(default=200, gt=0)
    """Steps between checkpoints."""
    workers: int = Field(default=2, ge=0)
    """Data loader processes; 0 loads in the training process."""
    seed: int = 0
    """Seed of the adapter's initial weights, the order of rows, and what is drawn from the data."""
