"""What a two-stage LoRA is trained on, and how, read from YAML: in `configs/`, a file a model and hardware, its command on top.

The two stages share a file: `espresso finetune evidence CONFIG`, then `espresso finetune answer CONFIG`.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from espresso.errors import DataError
from espresso.schema import Task

Config = TypeVar("Config", bound=BaseModel)


class Settings(BaseModel):
    """A part of a config file; refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Records(Settings):
    """Question records with truth, a line each, as `espresso world make` and the annotation pipeline write them."""

    format: Literal["records"]
    path: Path


class VideoEspresso(Settings):
    """The authors' train file, multi-image or video version. root: the folder that its paths start from.

    rate: frames a second by which the numbers of its frame names count, where the video itself is not there to tell (the authors
    sampled some sources at 1, others are native indices: their issues 11 and 21).
    """

    format: Literal["videoespresso"]
    path: Path
    root: Path
    rate: float | None = Field(default=None, gt=0)


class World(Settings):
    """Questions of the procedural world, their core frames drawn when a batch needs them: no clip is filmed.

    count: how many questions. first: number of the first story, so that two trainings need not share any. spare: chance of each
    of up to three frames that a question does not need, missing: chance of a needed frame to be left out, as selectors do.
    uniform: so many evenly spread frames instead of the core frames. tasks: only theirs, where one needs more of them.
    """

    format: Literal["world"]
    split: Literal["train", "val"] = "train"
    count: int = Field(gt=0)
    first: int = Field(default=0, ge=0)
    spare: float = Field(default=0.25, ge=0, le=1)
    missing: float = Field(default=0.04, ge=0, lt=1)
    uniform: int | None = Field(default=None, gt=0)
    tasks: tuple[Task, ...] = tuple(Task)


Source = Annotated[Records | VideoEspresso | World, Field(discriminator="format")]


class Lora(Settings):
    """The adapter. rank, alpha, dropout: as in PEFT. vision: train projector and vision tower too; vLLM ignores those parts."""

    rank: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    vision: bool = False


class Stage(Settings):
    """One stage. learning_rate: its peak. epochs: passes over the data."""

    learning_rate: float = Field(gt=0)
    epochs: float = Field(default=1.0, gt=0)


Evidence = Literal["truth", "predicted", "mix", "none", "joint"]


class AnswerStage(Stage):
    """The second stage.

    evidence: what its prompts hold: the reference, the first stage's own words, or half of each. Two more make it a single stage
    with an adapter of its own, to compare with: `none` learns to answer straight from the frames; `joint` learns evidence and,
    from the reference, answer at once, and serves as both. first: folder of the first stage's adapter, else `evidence` in
    `output`.
    """

    evidence: Evidence = "truth"
    first: Path | None = None

    @property
    def goes_on(self) -> bool:
        """Whether a first stage comes before it."""
        return self.evidence not in ("none", "joint")


class LoraConfig(Settings):
    """Both stages of one reasoner (VideoEspresso, section 4 and Table 8).

    model: hub name or folder of the base. output: gets a folder a stage, `evidence` and `answer`. prompts, frame_size: as in the
    profile that will use the adapters. data, held_out: what is learnt from and what is measured on, before and after.
    batch: questions a step over all processes; device_batch: at a time on one device. max_length: tokens of prompt and reply.
    warmup: share of the steps. save_every: steps between checkpoints.
    """

    model: str
    output: Path
    prompts: Literal["tiny", "general"] = "general"
    frame_size: int = Field(gt=0)
    data: tuple[Source, ...] = Field(min_length=1)
    held_out: tuple[Source, ...] = ()
    lora: Lora = Lora()
    evidence: Stage
    answer: AnswerStage
    batch: int = Field(default=16, gt=0)
    device_batch: int = Field(default=1, gt=0)
    max_length: int = Field(default=6144, gt=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_checkpointing: bool = False
    save_every: int = Field(default=200, gt=0)
    workers: int = Field(default=2, ge=0)
    seed: int = 0


def read(path: Path, kind: type[Config], **overrides: object) -> Config:
    """A config file, with command-line overrides. Raises DataError with a suggestion for a misspelt key.

    overrides: key -> value, "answer.evidence" for a key within a part; None overrides nothing.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path}: no such config file. The shipped ones are in finetune/configs.") from None
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable YAML file ({' '.join(str(error).split())}).") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: not a config file (no `key: value` in it). Compare it with those in finetune/configs.")
    for key, value in overrides.items():
        if value is not None:
            *parts, name = key.split(".")
            reduce(lambda part, inner: part.setdefault(inner, {}), parts, values)[name] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")  # a misspelt key explains a missing one
        key = ".".join(map(str, first["loc"]))
        close = get_close_matches(str(first["loc"][-1]), _keys(kind), n=1)
        hint = f" Did you mean {close[0]!r}?" if first["type"] == "extra_forbidden" and close else ""
        raise DataError(f"{path}: {key}: {first['msg'].lower()}.{hint}") from None


def _keys(kind: type[BaseModel]) -> set[str]:
    """The keys of a config and of the parts in it."""
    schema = kind.model_json_schema()
    return {key for part in (schema, *schema.get("$defs", {}).values()) for key in part.get("properties", {})}
