"""A loaded model of the transformers library: generate replies and score choices in batches.

All calls block; `transformers_model` runs them in a worker thread. Supported vision families:
Qwen2-VL, Qwen2.5-VL, Qwen3-VL, InternVL, LLaVA-OneVision and SmolVLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Cache,
    GenerationConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from espresso.models.chat import Completion, Conversation, GenerateConfig, length_fault, parse_reply
from espresso.models.decoding import JsonConstraint, TokenSampler
from espresso.models.device import model_dtype
from espresso.models.hub import no_progress_bars
from espresso.models.processor import ChatProcessor
from espresso.replies import without_thoughts


class Engine:
    """One loaded model with its processor and its adapters.

    Args:
        source: folder of the model.
        adapters: name -> folder of a LoRA adapter.
        image_options: keyword arguments of the image processor, see `ChatProcessor`.

    Raises:
        OSError, ValueError: a file is missing or does not match the model.
    """

    vision: bool
    """Whether the model takes pictures."""

    context_length: int
    """Limit for prompt and reply together, in tokens."""

    eos_ids: list[int]
    """Tokens that end a reply."""

    def __init__(self, source: str, adapters: Mapping[str, str], image_options: Mapping[str, Any] | None = None):
        config = AutoConfig.from_pretrained(source)
        self.vision = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        auto = AutoModelForImageTextToText if self.vision else AutoModelForCausalLM
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.processor = ChatProcessor(source, vision=self.vision, image_options=image_options)
        with no_progress_bars():
            model: Any = auto.from_pretrained(source, dtype=model_dtype(source))
        self.model = self._base = model.to(self.device).eval()
        self.eos_ids = _eos_ids(self.model.generation_config.eos_token_id, self.processor.tokenizer.eos_token_id)
        # Published generation configs set repetition penalty or top-k; requests set their options.
        self.model.generation_config = GenerationConfig(
            eos_token_id=self.eos_ids, pad_token_id=self.processor.tokenizer.pad_token_id
        )
        text_config = config.get_text_config()
        self.context_length = text_config.max_position_embeddings
        self.vocab_size: int = text_config.vocab_size
        self._has_adapters = False
        for name, folder in adapters.items():
            self._add_adapter(name, folder)

    def _add_adapter(self, name: str, source: str) -> None:
        from peft import PeftModel  # noqa: PLC0415 - takes a second, which a model without adapters does not need

        try:
            if self._has_adapters:
                self.model.load_adapter(source, adapter_name=name)
            else:
                self.model = PeftModel.from_pretrained(self.model, source, adapter_name=name).eval()
        except RuntimeError as error:  # PyTorch lists every mismatching weight; the first line is enough
            raise ValueError(f"the adapter {source} was made for another model: {str(error).splitlines()[0]}") from error
        self._has_adapters = True

    @cached_property
    def _json_constraint(self) -> JsonConstraint:
        return JsonConstraint(self.processor.tokenizer, self.vocab_size, self.eos_ids)

    def generate(self, prompts: Sequence[str], conversations: Sequence[Conversation], config: GenerateConfig) -> list[Completion]:
        """Generate a reply to each conversation of a batch.

        Args:
            prompts: the conversations as rendered by `ChatProcessor.render`.
            conversations: supply the pictures.
            config: everything but `choices` is used; see `score`.
        """
        inputs = self.processor.prepare(prompts, conversations)
        sampler = TokenSampler(len(prompts), self.eos_ids, config, self._json_constraint if config.schema else None)
        with torch.inference_mode(), self._use_adapter(config.adapter):
            tokens = self.model.generate(**self._on_device(inputs), logits_processor=[sampler], max_new_tokens=config.max_tokens)
        sampler.update(tokens)
        replies = tokens[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.tokenizer.batch_decode(replies, skip_special_tokens=True)
        return [_written(text, row, sampler, config) for row, text in enumerate(texts)]

    def score(
        self,
        prompts: Sequence[str],
        conversations: Sequence[Conversation],
        choices: Sequence[str],
        adapter: str | None = None,
    ) -> list[Completion]:
        """Choose the most probable of several replies to each conversation.

        If every choice is one token, the probability of that token decides. Otherwise each choice
        is scored with the end of its turn, so that "red" does not win over "red ball" as its
        prefix. Prompts and pictures are prefilled once for all choices.
        """
        continuations = [self.processor.encode(self.processor.reply_prefix + choice) for choice in choices]
        if any(len(tokens) > 1 for tokens in continuations):
            continuations = [[*tokens, self.eos_ids[0]] for tokens in continuations]
        longer = len(continuations[0]) > 1
        inputs = self._on_device(self.processor.prepare(prompts, conversations))
        with torch.inference_mode(), self._use_adapter(adapter):
            prefill = self.model(**inputs, logits_to_keep=1, use_cache=longer)
            scores = prefill.logits[:, -1].float().log_softmax(-1)[:, [tokens[0] for tokens in continuations]]
            if longer:
                scores = scores + self._score_rest(inputs, prefill.past_key_values, continuations)
        return [_chosen(choices, row, len(continuations[int(np.argmax(row))])) for row in scores.log_softmax(-1).cpu().tolist()]

    def _score_rest(
        self, inputs: Mapping[str, torch.Tensor], cache: Cache, continuations: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Return log-probabilities of the choices after their first token, (prompts, choices).

        Args:
            inputs: the prompts, as they were prefilled.
            cache: keys and values of the prompts.
            continuations: tokens of each choice.
        """
        ids, mask = self.processor.pad_replies([tokens[:-1] for tokens in continuations])
        targets, target_mask = self.processor.pad_replies([tokens[1:] for tokens in continuations])
        cache.batch_repeat_interleave(len(continuations))
        prompts = inputs["attention_mask"].repeat_interleave(len(continuations), 0)
        rows, longest = len(inputs["attention_mask"]), ids.shape[1]
        logits = self.model(
            input_ids=ids.repeat(rows, 1).to(self.device),
            attention_mask=torch.cat([prompts, mask.repeat(rows, 1).to(prompts)], 1),
            past_key_values=cache,
            **self._position_ids(inputs, len(continuations), longest),
        ).logits
        logprobs = logits.float().log_softmax(-1).gather(-1, targets.repeat(rows, 1).to(self.device)[..., None])[..., 0]
        return (logprobs * target_mask.repeat(rows, 1).to(logprobs)).sum(-1).unflatten(0, (rows, len(continuations)))

    def _position_ids(self, inputs: Mapping[str, torch.Tensor], choices: int, longest: int) -> dict[str, torch.Tensor]:
        """Return positions of the choices' tokens for models with multimodal RoPE (Qwen-VL).

        Other models derive positions from the attention mask, and so do these without a picture.
        """
        deltas = getattr(self._base.base_model, "rope_deltas", None)
        if deltas is None:
            return {}
        mask = inputs["attention_mask"]
        if "image_grid_thw" in inputs:
            first = mask.sum(-1, keepdim=True) + deltas.to(mask)
        else:
            first = torch.full((len(mask), 1), mask.shape[1], device=self.device)
        positions = (first + torch.arange(longest, device=self.device)).repeat_interleave(choices, 0)
        return {"position_ids": positions.expand(3, -1, -1)}

    def _on_device(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        dtype = self.model.dtype
        return {
            name: value.to(self.device, dtype) if value.is_floating_point() else value.to(self.device)
            for name, value in inputs.items()
        }

    def _use_adapter(self, adapter: str | None) -> AbstractContextManager[Any]:
        """Switch to an adapter, or to the base model."""
        if not self._has_adapters:
            return nullcontext()
        if adapter is None:
            return self.model.disable_adapter()
        self.model.set_adapter(adapter)
        return nullcontext()


def _eos_ids(*ids: int | list[int] | None) -> list[int]:
    """Join the tokens that end a turn, without duplicates, in order."""
    flat = [token for each in ids if each is not None for token in (each if isinstance(each, list) else [each])]
    return list(dict.fromkeys(flat))


def _written(written: str, row: int, sampler: TokenSampler, config: GenerateConfig) -> Completion:
    """Return a generated reply without its thoughts, whose probability is not that of the reply."""
    reply = without_thoughts(written)
    parsed = parse_reply(config.schema, reply.text) if config.schema else None
    fault = None
    if not sampler.ended[row]:
        fault = length_fault(sampler.tokens[row], thinking=reply.unfinished or not reply.text)
    elif reply.unfinished or not reply.text:
        fault = "the reply is thoughts without an answer" if reply.thoughts else "the reply is empty"
    return Completion(
        text=reply.text,
        parsed=parsed,
        confidence=None if reply.thoughts else sampler.confidence(row),
        tokens_out=sampler.tokens[row],
        fault=None if parsed else fault,  # JSON that is complete was not cut off
    )


def _chosen(choices: Sequence[str], logprobs: Sequence[float], tokens_out: int) -> Completion:
    best = int(np.argmax(logprobs))
    return Completion(
        text=choices[best],
        logprobs=dict(zip(choices, logprobs, strict=True)),
        confidence=float(np.exp(logprobs[best])),
        tokens_out=tokens_out,
    )
