"""A model of the transformers library in this process: generates and scores batches. It blocks: see `local`.

The conformance tests hold Qwen2-VL, Qwen2.5-VL, Qwen3-VL, InternVL, LLaVA-OneVision and SmolVLM to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ValidationError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Cache,
    GenerationConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.utils import logging as transformers_logging

from espresso.models.chat import Completion, Conversation
from espresso.models.decoding import Chooser, JsonWriter
from espresso.models.device import best_dtype
from espresso.models.processor import Reader


class Engine:
    """One loaded model with its reader and its adapters.

    source: a folder. adapters: name -> folder. Raises OSError or ValueError where something cannot be loaded.
    """

    def __init__(self, source: str, adapters: Mapping[str, str]):
        config = AutoConfig.from_pretrained(source)
        self.sees = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        auto = AutoModelForImageTextToText if self.sees else AutoModelForCausalLM
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.reader = Reader(source, sees=self.sees)
        with _quiet():
            model: Any = auto.from_pretrained(source, dtype=best_dtype())
        self.model = self._bare = model.to(self.device).eval()
        self.ends = _ends(self.model.generation_config.eos_token_id, self.reader.tokenizer.eos_token_id)
        # A published generation config holds sampling habits (repetition penalty, top-k): ours are given with each request.
        self.model.generation_config = GenerationConfig(eos_token_id=self.ends, pad_token_id=self.reader.tokenizer.pad_token_id)
        text_config = config.get_text_config()
        self.context_length: int = text_config.max_position_embeddings
        self.vocab_size: int = text_config.vocab_size
        self._adapted = False
        for name, folder in adapters.items():
            self._add_adapter(name, folder)

    def _add_adapter(self, name: str, source: str) -> None:
        from peft import PeftModel  # noqa: PLC0415 - takes a second, which a bare model need not wait

        try:
            if self._adapted:
                self.model.load_adapter(source, adapter_name=name)
            else:
                self.model = PeftModel.from_pretrained(self.model, source, adapter_name=name).eval()
        except RuntimeError as error:  # PyTorch's, over two lines or two hundred
            raise ValueError(f"the adapter {source} was made for another model: {str(error).splitlines()[0]}") from error
        self._adapted = True

    @cached_property
    def _writer(self) -> JsonWriter:
        return JsonWriter(self.reader.tokenizer, self.vocab_size, self.ends)

    def generate(
        self,
        prompts: Sequence[str],
        conversations: Sequence[Conversation],
        *,
        schema: type[BaseModel] | None,
        adapter: str | None,
        max_tokens: int,
        temperature: float,
        seed: int | None,
    ) -> list[Completion]:
        """Reply to a batch."""
        inputs = self.reader.prepare(prompts, conversations)
        chooser = Chooser(
            len(prompts),
            self.ends,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            writer=self._writer if schema else None,
            schema=schema,
        )
        with torch.inference_mode(), self._wearing(adapter):
            tokens = self.model.generate(**self._on_device(inputs), logits_processor=[chooser], max_new_tokens=max_tokens)
        chooser.hear(tokens)
        replies = tokens[:, inputs["input_ids"].shape[1] :]
        texts = [text.strip() for text in self.reader.tokenizer.batch_decode(replies, skip_special_tokens=True)]
        return [
            Completion(
                text=text,
                parsed=_parse(schema, text) if schema else None,
                confidence=chooser.confidence(row),
                tokens_out=chooser.tokens[row],
            )
            for row, text in enumerate(texts)
        ]

    def score(
        self, prompts: Sequence[str], conversations: Sequence[Conversation], *, choices: Sequence[str], adapter: str | None
    ) -> list[Completion]:
        """Choose for each prompt among strings by log-probability.

        Where every choice is one token, that token's probability after the prompt decides. Otherwise each choice is scored with
        the end of its turn, so that "red" does not win over "red ball" by being its beginning; prompt and pictures are read
        once for all choices.
        """
        continuations = [self.reader.encode(self.reader.lead + choice) for choice in choices]
        if any(len(tokens) > 1 for tokens in continuations):
            continuations = [[*tokens, self.ends[0]] for tokens in continuations]
        several = len(continuations[0]) > 1
        prepared = self._on_device(self.reader.prepare(prompts, conversations))
        with torch.inference_mode(), self._wearing(adapter):
            read = self.model(**prepared, logits_to_keep=1, use_cache=several)
            scores = read.logits[:, -1].float().log_softmax(-1)[:, [tokens[0] for tokens in continuations]]
            if several:
                scores = scores + self._rest(prepared, read.past_key_values, continuations)
        return [_chosen(choices, row, len(continuations[int(np.argmax(row))])) for row in scores.log_softmax(-1).cpu().tolist()]

    def _rest(self, prepared: Mapping[str, torch.Tensor], read: Cache, continuations: Sequence[Sequence[int]]) -> torch.Tensor:
        """Log-probabilities, (prompts, choices), of the choices' tokens after their first. read: the cache of the prompts."""
        said, mask = self.reader.padded([tokens[:-1] for tokens in continuations])
        wanted, counted = self.reader.padded([tokens[1:] for tokens in continuations])
        read.batch_repeat_interleave(len(continuations))
        prompts = prepared["attention_mask"].repeat_interleave(len(continuations), 0)
        rows, longest = len(prepared["attention_mask"]), said.shape[1]
        logits = self.model(
            input_ids=said.repeat(rows, 1).to(self.device),
            attention_mask=torch.cat([prompts, mask.repeat(rows, 1).to(prompts)], 1),
            past_key_values=read,
            **self._positions(prepared, len(continuations), longest),
        ).logits
        logprobs = logits.float().log_softmax(-1).gather(-1, wanted.repeat(rows, 1).to(self.device)[..., None])[..., 0]
        return (logprobs * counted.repeat(rows, 1).to(logprobs)).sum(-1).unflatten(0, (rows, len(continuations)))

    def _positions(self, prepared: Mapping[str, torch.Tensor], choices: int, longest: int) -> dict[str, torch.Tensor]:
        """Where the choices' tokens stand, for the models that count a picture's tokens by rows and columns (Qwen-VL).

        Others count on by themselves, and so do these where there is no picture.
        """
        deltas = getattr(self._bare.base_model, "rope_deltas", None)
        if deltas is None:
            return {}
        prompts = prepared["attention_mask"]
        if "image_grid_thw" in prepared:
            first = prompts.sum(-1, keepdim=True) + deltas.to(prompts)
        else:
            first = torch.full((len(prompts), 1), prompts.shape[1], device=self.device)
        places = (first + torch.arange(longest, device=self.device)).repeat_interleave(choices, 0)
        return {"position_ids": places.expand(3, -1, -1)}

    def _on_device(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        dtype = self.model.dtype
        return {
            name: value.to(self.device, dtype) if value.is_floating_point() else value.to(self.device)
            for name, value in inputs.items()
        }

    def _wearing(self, adapter: str | None) -> AbstractContextManager[Any]:
        """Switch to an adapter, or to the bare base."""
        if not self._adapted:
            return nullcontext()
        if adapter is None:
            return self.model.disable_adapter()
        self.model.set_adapter(adapter)
        return nullcontext()


def _ends(*ids: int | list[int] | None) -> list[int]:
    """Join the tokens that end a turn, the model's own first, each once."""
    flat = [token for each in ids if each is not None for token in (each if isinstance(each, list) else [each])]
    return list(dict.fromkeys(flat))


def _parse(schema: type[BaseModel], text: str) -> BaseModel | None:
    try:
        return schema.model_validate_json(text)
    except ValidationError:
        return None


def _chosen(choices: Sequence[str], logprobs: Sequence[float], tokens_out: int) -> Completion:
    best = int(np.argmax(logprobs))
    return Completion(
        text=choices[best],
        logprobs=dict(zip(choices, logprobs, strict=True)),
        confidence=float(np.exp(logprobs[best])),
        tokens_out=tokens_out,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars off the screen while weights load."""
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()
