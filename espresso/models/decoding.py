"""Choosing the next token: what a JSON schema allows, the temperature, and how sure the model was.

JSON comes from `llguidance` (one wheel without dependencies, also behind vLLM's structured outputs): at each step it says which
tokens may follow, so that even a model of random weights writes valid JSON.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence

import llguidance
import llguidance.hf
import llguidance.numpy
import numpy as np
import torch
from pydantic import BaseModel
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from espresso.errors import ModelError

_CLOSING_SHARE = 4  # the last quarter of `max_tokens` is for closing what is open


class JsonWriter:
    """Says which tokens may come next in JSON of a schema. Build one a model: reading the vocabulary takes up to a second."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocab_size: int, ends: Sequence[int]):
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=list(ends))
        self._quote, bracket, brace = (tokenizer.encode(closer, add_special_tokens=False)[0] for closer in '"]}')
        self._closers = [*ends, brace, bracket]

    def start(self, schema: type[BaseModel]) -> llguidance.LLMatcher:
        """Begin one reply: compact JSON, as `model_dump_json` writes it. Raises ModelError for a schema it cannot follow."""
        grammar = llguidance.LLMatcher.grammar_from_json_schema(
            json.dumps(schema.model_json_schema()), overrides={"whitespace_flexible": False}
        )
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise ModelError(f"{schema.__name__}: this schema cannot constrain a reply ({matcher.get_error()}). Simplify it.")
        return matcher

    def text(self, token: int) -> str:
        """Return what a token writes."""
        return self._tokenizer.decode_str([token])

    def closers(self, written: str) -> list[int]:
        """List the tokens that would end what is open, best first."""
        in_string = re.sub(r"\\.", "", written).count('"') % 2
        return [self._quote] if in_string else self._closers


class Chooser(LogitsProcessor):
    """Decides each next token of a batch, for a greedy `generate`, and remembers how probable it was.

    Sampling adds Gumbel noise to the scaled logits, whose largest is then a draw from their softmax. Each row has its own noise,
    so a seed gives the same reply in any batch. Where `writer` and `schema` are given the reply is JSON; in the last quarter of
    `max_tokens` it is closed at the first chance.
    """

    def __init__(
        self,
        rows: int,
        ends: Sequence[int],
        *,
        max_tokens: int,
        temperature: float,
        seed: int | None,
        writer: JsonWriter | None = None,
        schema: type[BaseModel] | None = None,
    ):
        self._ends = frozenset(ends)
        self._temperature = temperature
        seeds = [secrets.randbits(63) if seed is None else seed for _ in range(rows)] if temperature else []
        self._noise = [torch.Generator().manual_seed(each) for each in seeds]
        self._writer = writer
        self._matchers = [writer.start(schema) for _ in range(rows)] if writer and schema else []
        self._written = [""] * rows
        self._closing = max_tokens - max_tokens // _CLOSING_SHARE
        self._logprobs = torch.empty(0)
        self._ended = [False] * rows
        self.tokens = [0] * rows
        self.logprob = [0.0] * rows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Take (rows, length) tokens so far and (rows, vocabulary) logits; return logits whose largest is the choice."""
        self.hear(input_ids)
        scores = scores.float()
        if self._matchers:
            scores = scores.masked_fill(~self._allowed(scores.shape[1]).to(scores.device), -torch.inf)
        self._logprobs = scores.log_softmax(-1)
        if self._noise:
            uniform = torch.stack([torch.rand(scores.shape[1], generator=noise) for noise in self._noise])
            gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
            return self._logprobs / self._temperature + gumbel.to(scores.device)
        return scores

    def hear(self, input_ids: torch.Tensor) -> None:
        """Note the last token of each row, and what it was worth. Call once more with the finished sequences."""
        if not len(self._logprobs):
            return
        last = input_ids[:, -1]
        gained = self._logprobs.gather(1, last[:, None])[:, 0].tolist()
        for row, token in enumerate(last.tolist()):
            if self._ended[row]:
                continue
            self.tokens[row] += 1
            self.logprob[row] += gained[row]
            self._ended[row] = token in self._ends
            if self._writer and self._matchers and not self._ended[row]:
                self._matchers[row].consume_token(token)
                self._written[row] += self._writer.text(token)

    def confidence(self, row: int) -> float:
        """Geometric mean of the probabilities of a row's tokens, 0..1."""
        return float(np.exp(self.logprob[row] / max(self.tokens[row], 1)))

    def _allowed(self, vocab_size: int) -> torch.Tensor:
        """(rows, vocabulary) bool: the tokens that may come next. An ended row may say anything: it is not heard."""
        assert self._writer
        masks = llguidance.numpy.allocate_token_bitmask(len(self._matchers), vocab_size)
        for row, matcher in enumerate(self._matchers):
            if not self._ended[row]:
                llguidance.numpy.fill_next_token_bitmask(matcher, masks, row)
        allowed = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")[:, :vocab_size].astype(bool)
        for row in range(len(self._matchers)):
            if not self._ended[row] and self.tokens[row] >= self._closing:
                closers = self._writer.closers(self._written[row])
                closer = next((token for token in closers if allowed[row, token]), None)
                if closer is not None:
                    allowed[row] = False
                    allowed[row, closer] = True
        return torch.from_numpy(allowed)
