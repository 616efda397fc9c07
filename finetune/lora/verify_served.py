"""Is what a server serves what was trained? The same prompts to the adapters in this process and to the server's, reply by reply.

Greedy replies are the most likely tokens, one after another, so equal replies mean equal top-1 tokens all the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from espresso.errors import DataError, ModelError
from espresso.models import ChatModel, LocalModel
from espresso.models.hub import fetch
from espresso.models.openai_client import ServerModel
from espresso.profiles.weights import identity
from espresso.schema import Record
from finetune.config import LoraConfig
from finetune.lora.collate import Example, Row, StageName
from finetune.lora.examples import load

STAGES: dict[StageName, Callable[[Example], str | None]] = {
    "evidence": lambda _: None,
    "answer": lambda example: example.evidence,
}
"""What a stage's prompt holds of an example's evidence."""

MAX_TOKENS = 128
SAME = 1e-4
"""Confidences nearer than this are the same: a server rounds its log-probabilities."""


class Agreement(Record):
    """How far two servings of an adapter agree.

    n: rows asked. same: share whose greedy replies are the same here and there. changed: share for which the served adapter's
    reply differs from the served base's, in words or confidence.
    """

    stage: StageName
    n: int
    same: float
    changed: float


def served(config: LoraConfig, url: str, model: str, limit: int) -> list[Agreement]:
    """Compare both stages as trained, in this process, with those that a server offers under their identities beside `model`.

    limit: how many held-out questions. Raises DataError where there are none, ModelError where the server is down or an adapter
    has no effect.
    """
    examples = [example for source in config.held_out for example in load(source, config.seed, limit).examples][:limit]
    if not examples:
        raise DataError("the config names no held_out questions to compare with. Add some.")
    here = LocalModel(
        Path(fetch(config.model)).resolve(), adapters={stage: (config.output / stage).resolve() for stage in STAGES}
    )
    there = ServerModel(
        model,
        base_url=url,
        adapters={stage: identity((config.output / stage).resolve()) for stage in STAGES},
        context_length=config.max_length,
        picture_tokens=config.max_length,
        start_with=_command(config, model),
    )

    async def compare() -> list[Agreement]:
        try:
            return [
                await agreement(config, stage, [Row(example, said(example)) for example in examples], here, there)
                for stage, said in STAGES.items()
            ]
        finally:
            await here.aclose()
            await there.aclose()

    return asyncio.run(compare())


def _command(config: LoraConfig, model: str) -> str:
    """How vLLM is started with both adapters."""
    folders = [(config.output / stage).resolve() for stage in STAGES]
    adapters = " ".join(f"{identity(folder)}={folder}" for folder in folders)
    return (
        f"vllm serve {config.model} --served-model-name {model} --enable-lora --max-lora-rank {config.lora.rank} "
        f"--lora-modules {adapters}"
    )


async def agreement(config: LoraConfig, stage: StageName, rows: Sequence[Row], here: ChatModel, there: ChatModel) -> Agreement:
    """Compare the adapter named `stage` in two models. Raises ModelError where the served one has no effect at all."""
    asked = [row.messages(config.prompts, config.frame_size) for row in rows]
    ours = await here.chat_many(asked, adapter=stage, max_tokens=MAX_TOKENS)
    theirs = await there.chat_many(asked, adapter=stage, max_tokens=MAX_TOKENS)
    bare = await there.chat_many(asked, max_tokens=MAX_TOKENS)
    changed = [
        one.text != other.text or abs((one.confidence or 0) - (other.confidence or 0)) > SAME
        for one, other in zip(theirs, bare, strict=True)
    ]
    if not any(changed):
        raise ModelError(f"{there.name}: the served adapter {stage!r} changes nothing. Give the server this training's own.")
    same = [one.text.strip() == other.text.strip() for one, other in zip(ours, theirs, strict=True)]
    return Agreement(stage=stage, n=len(rows), same=sum(same) / len(rows), changed=sum(changed) / len(rows))
