"""Configuration of the fusion classifier's training: one YAML file for all of its stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from espresso.datasets.raiv.statements import KINDS, Kind
from espresso.datasets.smart101.splits import Kind as PuzzleSplit
from espresso.fusion.config import Align, Fusion, Merge, Pool, PuzzleHead
from finetune.config import Settings

Mining = Literal["conditioned", "random"]
"""How task-specific pre-training chooses the second visual of a pair: one that shares an object
with the first, or any (Table 6)."""


Side = Literal["first", "second"]
"""A visual of a pair."""


class NamedEncoders(Settings):
    """Encoders by their names on the Hugging Face hub, or folders, with their weights."""

    vision: str
    """CLIP, SigLIP, ViT or another vision model, such as "openai/clip-vit-base-patch16"."""
    text: str
    """BERT, RoBERTa, DeBERTa or another text encoder, such as "FacebookAI/roberta-base"."""


class NamedBackbone(Settings):
    """A model that reads text and picture together, by its name on the hub or its folder."""

    backbone: str
    """ViLT or BridgeTower, such as "dandelin/vilt-b32-mlm"."""


class MiniatureEncoders(Settings):
    """A ViT or a ResNet and a BERT, with random weights and the words of a source."""

    image_size: int = Field(default=112, gt=0)
    """Side of a frame in pixels."""
    vision: Literal["vit", "resnet"] = "vit"
    """The vision encoder. A ResNet learns to read small things from fewer pictures."""
    patch: int = Field(default=16, gt=0)
    """Side of a patch in pixels; of a ResNet, the pixels from one token to the next: 4, 8, 16 or
    32."""
    vision_layers: int = Field(default=4, gt=0)
    """Layers of a ViT; blocks of a ResNet's last stage. Its other stages have one."""
    text_layers: int = Field(default=2, gt=0)
    words: Literal["world", "smart101"] = "world"
    """Where the words of the text encoder are from: the procedural world, or generated puzzles."""

    @model_validator(mode="after")
    def _has_stages(self) -> Self:
        if self.vision == "resnet" and self.patch not in (4, 8, 16, 32):
            raise ValueError("a ResNet has 4, 8, 16 or 32 pixels from one token to the next")
        return self


class Architecture(Settings):
    """The cross-attention layers; the defaults are METER's."""

    hidden: int = Field(default=768, gt=0)
    """Width. Miniature encoders have it too."""
    heads: int = Field(default=12, gt=0)
    feed_forward: int = Field(default=3072, gt=0)
    layers: int = Field(default=6, gt=0)
    """Cross-attention layers of each stream."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    initializer_range: float = Field(default=0.02, gt=0)
    """Standard deviation of new weights, those of miniature encoders too. Narrow layers learn
    faster with larger ones: 0.02 at a width of 768 is as 0.05 at 128."""
    fusion: Fusion = "late"
    """Where the two visuals meet."""
    frames: int = Field(default=4, gt=0)
    """Frames of a video."""


class WorldSituations(Settings):
    """Acts of the procedural world's train split, with their annotations as roles."""

    format: Literal["world"]
    stories: int = Field(gt=0)
    """Number of stories; a story has five to six acts."""
    first: int = Field(default=0, ge=0)
    """Index of the first story, so that two stages can use different stories."""


class CaptionedMedia(Settings):
    """Images and videos with captions; a dependency parser finds the roles in the captions."""

    format: Literal["captions"]
    path: Path
    """JSONL file; see `finetune.fusion.captions.Captioned`."""
    media: Path
    """The folder that contains the images and videos, at any depth."""
    parser: str = "en_core_web_sm"
    """Name of the spaCy pipeline."""


class PuzzlePictures(Settings):
    """Pictures of the train rows of generated puzzles, and what they show."""

    format: Literal["smart101"]
    rows: int = Field(gt=0)
    """Pictures of each root puzzle."""
    held_out: bool = False
    """Leave out the puzzles of val and test in the puzzle split."""


class PairFile(Settings):
    """Pairs that `espresso raiv build` wrote."""

    format: Literal["pairs"]
    path: Path
    """The JSONL file."""
    media: Path | None = None
    """The folder that contains the images and videos, at any depth. None is for the world."""


class WorldPairs(Settings):
    """Pairs of the procedural world, built when a training starts."""

    format: Literal["world"]
    kind: Kind
    """What the visuals of a pair are."""
    count: int = Field(gt=0)
    """Number of training pairs."""


class WorldEdits(Settings):
    """Pairs of edited images of the procedural world, built when a training starts."""

    format: Literal["world-edits"]
    count: int = Field(gt=0)
    """Number of training pairs."""


Situations = Annotated[WorldSituations | CaptionedMedia, Field(discriminator="format")]
Pictures = Annotated[WorldSituations | CaptionedMedia | PuzzlePictures, Field(discriminator="format")]
Pairs = Annotated[PairFile | WorldPairs | WorldEdits, Field(discriminator="format")]


class StageConfig(Settings):
    """What every stage has."""

    epochs: float = Field(gt=0)
    """Passes over the data."""
    batch: int = Field(gt=0)
    """Rows per optimizer step over all processes."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps with a rising learning rate; then it falls linearly to zero."""
    start: Path | None = None
    """Folder of a trained model to start from. None is the result of the stage before."""


class PretrainConfig(StageConfig):
    """Pre-training, see `pretraining` (captioned images) and `puzzle_pretraining` (puzzles)."""

    data: tuple[Pictures, ...] = Field(min_length=1)
    masked: float = Field(default=0.3, gt=0, lt=1)
    """Share of the verbs and nouns that are masked, at least one in each caption. Not used
    for puzzles."""

    @model_validator(mode="after")
    def _has_one_kind(self) -> Self:
        if len({each.format == "smart101" for each in self.data}) > 1 or (self.data[0].format == "smart101" and self.data[1:]):
            raise ValueError("pictures of puzzles are pre-trained on alone; leave one item in data")
        return self


class TspConfig(StageConfig):
    """Task-specific pre-training on pairs that are mined from captioned visuals (section 3.2)."""

    data: tuple[Situations, ...] = Field(min_length=1)
    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
    """What the visuals of the mined pairs are; "im-im" alone is pre-training on images only."""
    mining: Mining = "conditioned"
    visuals: PositiveInt = 64
    """Visuals per batch, from which its pairs are mined. Each is encoded once for all its pairs."""
    reasons: float = Field(default=0.3, ge=0, lt=1)
    """Share of the statements with reasons whose rows are a right and a wrong reason."""


class PairsConfig(StageConfig):
    """Fine-tuning on pairs: the classification task or the reasoning task."""

    data: tuple[Pairs, ...] = Field(min_length=1)
    reasons: bool = False
    """Train on reasons of false statements instead of on statements."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the pairs to train on."""
    hidden: tuple[Side, ...] = ()
    """Visuals that are replaced by a black picture, to measure what the rest gives away."""


class PuzzlesConfig(StageConfig):
    """The classifier of puzzles (SMART-101), see `espresso.fusion.puzzles`."""

    split: PuzzleSplit = "is"
    """Split of whose train part it is trained: instances, puzzles, answers or few-shot."""
    data: Path | None = None
    """Folder of the puzzles as published. None generates them."""
    rows: PositiveInt | None = None
    """Rows of each root puzzle, from the first; None is all."""
    head: PuzzleHead = "shared"
    """What is predicted: "per-puzzle" and "seq2seq" predict values. A head per puzzle answers
    questions about puzzles that it was trained on only, so it does not fit the puzzle split."""
    align: Align = "none"
    """Cross-attention layers before the fusion; the number is that of the architecture.
    Pre-training on puzzles trains those of "image-to-text"; the others are new."""
    merge: Merge = "attention"
    """The fusion of picture and question."""
    pool: Pool = "attention"
    hidden: Literal["picture", "question"] | None = None
    """What is replaced by a black picture or an empty question, to measure the other modality."""
    freeze: bool = True
    """Keep the towers as they are. Each picture and text is encoded once then."""

    @model_validator(mode="after")
    def _knows_its_puzzles(self) -> Self:
        if self.split == "ps" and self.head == "per-puzzle":
            raise ValueError("the puzzle split tests puzzles without a head; use the head shared or seq2seq")
        return self


class FusionTraining(Settings):
    """All stages of a classifier; each starts from the stage before, if the file has one."""

    encoders: NamedEncoders | NamedBackbone | MiniatureEncoders
    architecture: Architecture = Architecture()
    output: Path
    """Folder of the results; each stage writes to its own folder in it."""
    pretrain: PretrainConfig | None = None
    tsp: TspConfig | None = None
    pairs: PairsConfig | None = None
    puzzles: PuzzlesConfig | None = None
    frame_size: int = Field(default=224, gt=0)
    """Longest side of the frames that are decoded, in pixels."""
    weight_decay: float = Field(default=0.01, ge=0)
    save_every: int = Field(default=200, gt=0)
    """Steps between checkpoints."""
    workers: int = Field(default=1, ge=0)
    """Data loader processes; 0 loads in the training process."""
    threads: int = Field(default=1, gt=0)
    """Threads of the training process on a CPU."""
    bf16: bool = False
    """Whether to train in mixed precision if the machine multiplies bfloat16 natively. A CPU with
    AVX512-BF16 then takes two thirds of the time."""
    seed: int = 0
    """Seed of new weights, and of what is drawn from the data."""


class RaivStudy(FusionTraining):
    """A study of the classifier: what its trainings have in common, see `finetune.fusion.study`."""

    encoders: NamedEncoders | MiniatureEncoders
    pretrain: PretrainConfig
    tsp: TspConfig
    """With images and videos; the other trainings differ from it in `kinds` and `mining`."""
    fine_tuning: StageConfig
    """Fine-tuning on the pairs of a dataset."""
    count: PositiveInt
    """Training pairs of each dataset of situations."""
    edits: PositiveInt
    """Training pairs of edited images."""
    shares: tuple[float, ...] = (0.01, 0.1, 0.5, 1.0)
    """Shares of the edited images to train on (Table 5)."""
    writer: str | None = None
    """Profile whose writer writes the statements of the "G" datasets; None leaves them out."""
    pipelines: tuple[str, ...] = ()
    """Profiles whose LVLM pipeline answers the same questions."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the fine-tunings: of new weights, of the pairs that are drawn and of their order."""


class Smart101Study(FusionTraining):
    """A study of the classifier of puzzles, see `finetune.fusion.puzzle_study`."""

    encoders: NamedEncoders | MiniatureEncoders
    pretrain: PretrainConfig
    """Pre-training of the towers."""
    puzzles: PuzzlesConfig
    """The training of each classifier; they differ in split, head, align, merge and hidden."""
    weaker: float = Field(default=0.25, gt=0, lt=1)
    """Share of the pre-training that the weaker towers get."""
    test_rows: PositiveInt = 60
    """Test questions of each root puzzle."""
    pipelines: tuple[str, ...] = ()
    """Profiles whose LVLM pipeline answers the same questions."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the classifiers: of new weights and of the order of the rows."""
