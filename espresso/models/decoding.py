"""Choose the next token: apply a JSON schema and the temperature, record the probability.

JSON is constrained by `llguidance`, the library behind vLLM's structured outputs: at each step it
masks the tokens that may not follow, so even a model with random weights writes valid JSON.
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
from espresso.models.chat import GenerateConfig
from espresso.models.openai_format import response_format

_CLOSING_SHARE = 4
"""The last 1/4 of `max_tokens` is reserved for closing open strings, arrays and objects."""


class JsonConstraint:
    """Decides which tokens may come next in JSON of a schema.

    Build one per model: reading the vocabulary takes up to a second.

    Args:
        tokenizer: the model's tokenizer.
        vocab_size: width of the model's logits. It can exceed the tokenizer's vocabulary, and fall
            short of it (InternVL3, by one token).
        eos_ids: tokens that end a reply.
    """

    tokens: int
    """Number of tokens that it decides about: at least the width of the logits."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocab_size: int, eos_ids: Sequence[int]):
        self.tokens = max(vocab_size, len(tokenizer))
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=self.tokens, eos_token=list(eos_ids))
        self._quote, bracket, brace = (tokenizer.encode(closer, add_special_tokens=False)[0] for closer in '"]}')
        self._closers = [*eos_ids, brace, bracket]

    def start(self, schema: type[BaseModel]) -> llguidance.LLMatcher:
        """Return the state of a new reply: compact JSON, as `model_dump_json` writes it.

        Objects are closed and all of their fields are required, as in requests to servers.

        Raises:
            ModelError: llguidance does not support the schema.
        """
        closed = response_format(schema.__name__, schema.model_json_schema())["json_schema"]["schema"]
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(closed), overrides={"whitespace_flexible": False})
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise ModelError(f"{schema.__name__}: this schema cannot constrain a reply ({matcher.get_error()}). Simplify it.")
        return matcher

    def text(self, token: int) -> str:
        """Return the text of a token."""
        return self._tokenizer.decode_str([token])

    def closers(self, written: str) -> list[int]:
        """Return the tokens that can close the open string, array or object, best first."""
        in_string = re.sub(r"\\.", "", written).count('"') % 2
        return [self._quote] if in_string else self._closers


class TokenSampler(LogitsProcessor):
    """Choose each next token of a batch under a greedy `generate`, and record its log-probability.

    Sampling adds Gumbel noise to the scaled logits: the largest is then a sample from their
    softmax. Each row has its own noise, so a seed gives the same reply in any batch.

    If the config has a schema, the reply is JSON; in the last quarter of `max_tokens` it is closed
    as soon as the schema permits.

    Args:
        rows: size of the batch.
        eos_ids: tokens that end a reply.
        config: `max_tokens`, `temperature`, `seed` and `schema` are used.
        constraint: the JSON constraint of the model, needed for a schema.
    """

    tokens: list[int]
    """Length of each reply so far, in tokens."""

    logprob: list[float]
    """Log-probability of each reply so far."""

    ended: list[bool]
    """Whether each reply has come to its end."""

    def __init__(
        self, rows: int, eos_ids: Sequence[int], config: GenerateConfig, constraint: JsonConstraint | None = None
    ) -> None:
        self._eos_ids = frozenset(eos_ids)
        self._temperature = config.temperature
        seeds = [secrets.randbits(63) if config.seed is None else config.seed for _ in range(rows)] if self._temperature else []
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._constraint = constraint
        self._matchers = [constraint.start(config.schema) for _ in range(rows)] if constraint and config.schema else []
        self._written = [""] * rows
        self._closing = config.max_tokens - config.max_tokens // _CLOSING_SHARE
        self._logprobs = torch.empty(0)
        self.ended = [False] * rows
        self.tokens = [0] * rows
        self.logprob = [0.0] * rows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return logits with their maximum at the token to choose.

        Args:
            input_ids: prompts and replies so far, shape (rows, length).
            scores: logits of the next token, shape (rows, vocabulary).
        """
        self.update(input_ids)
        scores = scores.float()
        if self._matchers:
            scores = scores.masked_fill(~self._allowed(scores.shape[1]).to(scores.device), -torch.inf)
        self._logprobs = scores.log_softmax(-1)
        if self._generators:
            uniform = torch.stack([torch.rand(scores.shape[1], generator=generator) for generator in self._generators])
            gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
            return self._logprobs / self._temperature + gumbel.to(scores.device)
        return scores

    def update(self, input_ids: torch.Tensor) -> None:
        """Record the last token of each row. Call it once more with the finished sequences."""
        if not len(self._logprobs):
            return
        last = input_ids[:, -1]
        logprobs = self._logprobs.gather(1, last[:, None])[:, 0].tolist()
        for row, token in enumerate(last.tolist()):
            if self.ended[row]:
                continue
            self.tokens[row] += 1
            self.logprob[row] += logprobs[row]
            self.ended[row] = token in self._eos_ids
            if self._constraint and self._matchers and not self.ended[row]:
                self._matchers[row].consume_token(token)
                self._written[row] += self._constraint.text(token)

    def confidence(self, row: int) -> float:
        """Return the geometric mean of the probabilities of a row's tokens, 0 to 1."""
        return float(np.exp(self.logprob[row] / max(self.tokens[row], 1)))

    def _allowed(self, vocab_size: int) -> torch.Tensor:
        """Return a bool mask of the permitted tokens, shape (rows, vocabulary)."""
        assert self._constraint
        masks = llguidance.numpy.allocate_token_bitmask(len(self._matchers), self._constraint.tokens)
        for row, matcher in enumerate(self._matchers):
            if not self.ended[row]:
                llguidance.numpy.fill_next_token_bitmask(matcher, masks, row)
        allowed = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")[:, :vocab_size].astype(bool)
        for row in range(len(self._matchers)):
            if not self.ended[row] and self.tokens[row] >= self._closing:
                closers = self._constraint.closers(self._written[row])
                closer = next((token for token in closers if allowed[row, token]), None)
                if closer is not None:
                    allowed[row] = False
                    allowed[row, closer] = True
        return torch.from_numpy(allowed)
