"""The settings of the tiny models' training, read from YAML; each field with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class TinyConfig(BaseModel):
    """How one tiny model is built and trained.

    role: `vlm` (captioner and base of the reasoner in one Qwen2-VL), `captioner` (one that captions and nothing else, to be had
    for less), `selector` or `judge` (Qwen2 text models). batches: how many to learn from; processes of one run share them, each
    step takes one a process. start: folder of a finished model to go on from, with another seed for other batches; None starts
    from random weights. tower: folder of a model whose vision tower is taken over and stays as it is, as LLaVA's does.
    reports_after: share of the batches that come before reports from pictures. prompt_weight: how much the prompt's own words
    count in the loss beside the reply: a reply holds a handful of telling tokens, that a name in the question comes again in a
    caption is learnt from the prompt far sooner. noise: share of a caption's words shown wrongly, see
    `finetune.tiny.data.misled`. comparing: share of the judge's batches that come first and only compare, see
    `finetune.tiny.judgements.JudgeBatches`. frame_size: at which the profile hands it frames; its image processor makes
    image_size of them. Sizes are those of the architecture's own config; the defaults keep each model under 12 MB as float32
    safetensors.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["vlm", "captioner", "selector", "judge"]
    output: Path
    checkpoints: Path
    start: Path | None = None
    tower: Path | None = None
    batches: int
    reports_after: float = 0.25
    learning_rate: float
    warmup: float = 0.03
    prompt_weight: float = 0.3
    noise: float = 0.0
    seed: int = 0
    threads: int = 2
    save_every: int = 200

    vocabulary: int = 1000
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 2
    feed_forward: int = 384
    context: int = 1024
    frame_size: int = 112
    image_size: int = 112
    vision_width: int = 128
    vision_depth: int = 4
    vision_heads: int = 4

    caption_batch: int = 64
    report_batch: int = 24
    text_batch: int = 48
    selector_batch: int = 24
    judge_batch: int = 32
    comparing: float = 0.4
