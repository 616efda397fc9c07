"""Configuration of the training of one embedded tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationInfo, field_validator

from finetune.config import Settings


class TinyConfig(Settings):
    """Architecture, data and training of one tiny model.

    The default sizes keep a model under 12 MB as float32 safetensors.
    """

    role: Literal["vlm", "captioner", "selector", "judge", "writer", "statements", "verifier"]
    """`vlm` is a Qwen2-VL, captioner and base model of the reasoner in one; `captioner` is a
    smaller Qwen2-VL that only captions; `selector`, `judge` and `writer` are Qwen2 text models, and
    so is `statements`, a writer of statements about pairs; `verifier` is a CLIP."""
    output: Path
    """Folder for the model."""
    checkpoints: Path
    """Folder for the checkpoints of the training."""
    start: Path | None = None
    """Folder of a model of the same architecture to start from; None starts from random weights.
    Use another seed to continue a training on other batches."""
    tower: Path | None = None
    """Folder of a model to copy the vision tower from; the copy is frozen, as in LLaVA. For `vlm`
    and `captioner`."""
    batches: int
    """Number of training batches. The processes of a run share them: each takes one batch per
    step."""
    reports_after: float = 0.25
    """Share of the batches that come before the first reports from frames."""
    learning_rate: float
    """Peak learning rate: constant after the warm-up, then a cosine decay to zero over the last
    quarter of the steps."""
    warmup: float = 0.03
    """Share of the steps with a rising learning rate."""
    prompt_weight: float = 0.3
    """Weight of the prompt's tokens in the loss, relative to the reply's. A reply has few
    informative tokens; that a name in the question occurs again in a caption is learned much sooner
    from the prompt."""
    noise: float = 0.0
    """Share of a caption's tokens that are replaced in the input; see
    `finetune.tiny.data.add_token_noise`."""
    seed: int = 0
    """Seed of the batches and of the random weights."""
    bf16: bool = False
    """Whether to compute in bfloat16, with weights in float32, if the machine multiplies it
    natively: twice as fast on a CPU with AVX512-BF16."""
    threads: int = 2
    """Threads per process."""
    save_every: int = 200
    """Steps between checkpoints."""

    vocabulary: int = 1000
    """Number of tokens."""
    hidden: int = 192
    """Hidden size of the language model."""
    layers: int = 4
    heads: int = 6
    kv_heads: int = 2
    """Number of key and value heads."""
    feed_forward: int = 384
    """Intermediate size of the language model."""
    context: int = 1024
    """Maximum length in tokens."""
    frame_size: int = 112
    """Side of a frame in pixels, as in the profile that uses the model."""
    image_size: int = 112
    """Side in pixels to which the image processor resizes a frame; a multiple of 28."""
    vision_width: int = 128
    """Hidden size of the vision tower."""
    vision_depth: int = 4
    """Layers of the vision tower."""
    vision_heads: int = 4
    """Attention heads of the vision tower."""

    caption_batch: int = 64
    """Rows of a batch of captions."""
    report_batch: int = 24
    """Rows of a batch of reports from frames."""
    text_batch: int = 48
    """Rows of a batch of reports from captions."""
    selector_batch: int = 24
    """Rows of a batch for the selector."""
    judge_batch: int = 32
    """Rows of a batch for the judge."""
    writer_batch: int = 32
    """Rows of a batch for the writer, and for that of statements."""
    verifier_batch: int = 96
    """Crops of a batch for the verifier."""
    comparing: float = 0.4
    """Share of the judge's batches that come first and contain only comparisons; see
    `finetune.tiny.judgements.JudgeBatches`."""

    @field_validator("tower")
    @classmethod
    def _has_tower(cls, tower: Path | None, info: ValidationInfo) -> Path | None:
        if tower and info.data.get("role") not in ("vlm", "captioner"):
            raise ValueError("Only the roles vlm and captioner copy a vision tower. Remove this line")
        return tower
