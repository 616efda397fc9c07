"""Compare the adapters of a server with the trained ones, by their greedy replies.

Greedy decoding picks the most likely token at every position, so equal replies mean equal top-1
tokens throughout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from espresso.datasets import Example
from espresso.errors import DataError, ModelError
from espresso.models import ChatModel, TransformersModel
from espresso.models.hub import fetch
from espresso.models.openai_client import OpenAIModel
from espresso.profiles.weights import identity
from espresso.schema import Record
from finetune.lora.collate import StageName, TrainingRow
from finetune.lora.config import FinetuneConfig
from finetune.lora.examples import load

STAGES: dict[StageName, Callable[[Example], str | None]] = {
    "evidence": lambda _: None,
    "answer": lambda example: example.evidence,
}
"""The evidence in the prompts of each stage; see `TrainingRow.prompt_evidence`."""

MAX_TOKENS = 128
"""Maximum tokens of a reply."""
CONFIDENCE_TOLERANCE = 1e-4
"""Confidences closer than this are equal, because servers round log-probabilities."""


class ServedAgreement(Record):
    """Agreement between a served adapter and the trained one."""

    stage: StageName
    n: int
    """Number of prompts."""
    same: float
    """Share of prompts with the same greedy reply from both."""
    changed: float
    """Share of prompts for which the served adapter changes the text or the confidence of the
    served base model's reply."""


def verify_served(config: FinetuneConfig, url: str, model: str, limit: int) -> list[ServedAgreement]:
    """Compare both trained adapters with those of a server.

    Args:
        config: the configuration of the training; the prompts are its held-out questions.
        url: base URL of the server. It must offer the adapters under their identities (see
            `espresso.profiles.weights`).
        model: name under which the server offers the base model.
        limit: maximum number of questions.

    Raises:
        DataError: the configuration has no held-out questions.
        ModelError: the server cannot be reached, or an adapter has no effect.
    """
    examples = [example for source in config.held_out for example in load(source, config.seed, limit).examples][:limit]
    if not examples:
        raise DataError("the config has no held_out data to compare on. Add some.")
    folders: dict[str, Path] = {stage: (config.output / stage).resolve() for stage in STAGES}
    local = TransformersModel(Path(fetch(config.model)).resolve(), adapters=folders)
    server = OpenAIModel(
        model,
        base_url=url,
        adapters={stage: identity(folder) for stage, folder in folders.items()},
        context_length=config.max_length,
        picture_tokens=config.max_length,
        start_command=_start_command(config, model, list(folders.values())),
    )

    async def compare_stages() -> list[ServedAgreement]:
        try:
            return [
                await compare_replies(
                    config, stage, [TrainingRow(example, prompt_evidence(example)) for example in examples], local, server
                )
                for stage, prompt_evidence in STAGES.items()
            ]
        finally:
            local.close()
            await server.disconnect()

    return asyncio.run(compare_stages())


def _start_command(config: FinetuneConfig, model: str, folders: Sequence[Path]) -> str:
    """Return the command that starts vLLM with the adapters, for the error message."""
    adapters = " ".join(f"{identity(folder)}={folder}" for folder in folders)
    return (
        f"vllm serve {config.model} --served-model-name {model} --enable-lora --max-lora-rank {config.lora.rank} "
        f"--lora-modules {adapters}"
    )


async def compare_replies(
    config: FinetuneConfig, stage: StageName, rows: Sequence[TrainingRow], local: ChatModel, server: ChatModel
) -> ServedAgreement:
    """Compare the replies of one adapter in this process and on a server.

    Raises:
        ModelError: the served adapter changes no reply of the served base model.
    """
    conversations = [row.messages(config.prompts, config.frame_size) for row in rows]
    expected = await local.chat_many(conversations, adapter=stage, max_tokens=MAX_TOKENS)
    served = await server.chat_many(conversations, adapter=stage, max_tokens=MAX_TOKENS)
    base = await server.chat_many(conversations, max_tokens=MAX_TOKENS)
    changed = [
        one.text != other.text or abs((one.confidence or 0) - (other.confidence or 0)) > CONFIDENCE_TOLERANCE
        for one, other in zip(served, base, strict=True)
    ]
    if not any(changed):
        raise ModelError(f"{server.name}: the served adapter {stage!r} has no effect. Serve the adapter of this training.")
    same = [one.text.strip() == other.text.strip() for one, other in zip(expected, served, strict=True)]
    return ServedAgreement(stage=stage, n=len(rows), same=sum(same) / len(rows), changed=sum(changed) / len(rows))
