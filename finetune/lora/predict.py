"""Evidence in the first stage's own words, for a second stage that learns from what it will meet.

At inference the answer is given from predicted evidence, mistakes included; a second stage that has met only true evidence
trusts it. What is predicted is kept beside the first stage's adapter: the same command goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from espresso.models.engine import Engine
from finetune.config import LoraConfig
from finetune.lora.collate import Example, Row
from finetune.provenance import digest

MAX_TOKENS = 256
TOKENS_AT_ONCE = 32 * 6144
"""Prompts that are answered together, in tokens were each as long as it may be: 32 of the paper's."""


def predict(config: LoraConfig, base: str, first: Path, examples: Sequence[Example]) -> dict[str, str]:
    """Example id -> the evidence that the adapter in `first` writes for it, greedily. Raises MediaError."""
    if not examples:
        return {}
    file = first / f"predicted-{digest(first)}.jsonl"
    known = _known(file)
    missing = [example for example in examples if example.id not in known]
    if not missing:
        return {example.id: known[example.id] for example in examples}
    engine = Engine(base, {"evidence": str(first)})
    at_once = max(1, TOKENS_AT_ONCE // config.max_length)
    batches = [missing[start : start + at_once] for start in range(0, len(missing), at_once)]
    with file.open("a") as kept:
        for batch in track(batches, "predicting evidence", console=Console(stderr=True)):
            asked = [Row(example).messages(config.prompts, config.frame_size) for example in batch]
            replies = engine.generate(
                [engine.reader.render(messages) for messages in asked],
                asked,
                schema=None,
                adapter="evidence",
                max_tokens=MAX_TOKENS,
                temperature=0.0,
                seed=None,
            )
            for example, reply in zip(batch, replies, strict=True):
                known[example.id] = reply.text
                kept.write(json.dumps([example.id, reply.text]) + "\n")
            kept.flush()
    return {example.id: known[example.id] for example in examples}


def _known(file: Path) -> dict[str, str]:
    """What was predicted before. A last line that was torn off is removed, and predicted again."""
    text = file.read_text() if file.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole)
    return dict(json.loads(line) for line in whole.splitlines())
