"""The classifier of puzzles: one picture, one question, and five options.

After "Integrating Text and Image Pre-training for Multi-modal Algorithmic Reasoning"
(arXiv:2406.05318): siamese towers for picture and text, optional alignment, attention with the
picture as query and the text as key and value, pooling, and a head.

Differences from the paper: alignment is by the cross-attention layers of `FusionModel`, so a
pre-trained model gives their weights. The shared head does not read "question + option" for each
option, as multiple choice in transformers does: picture and question are fused once, and the
product of the result with the feature of an option is its score. This takes a fifth of the
computation. The feature of an option is from the mean of its words, both as the text encoder takes
them in and as it gives them out: options are numbers and letters for the most part, which a
miniature encoder hardly tells apart in its output (docs/LOG.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn import functional
from transformers.utils import ModelOutput

from espresso.datasets.smart101.values import Value
from espresso.fusion.config import PuzzleConfig
from espresso.fusion.model import FusionModel, FusionPreTrainedModel, cross_layer, time_embedding

IGNORE_INDEX = -100
NO_STEP = -1
"""The value of a step after the last one of a sequence."""
SYMBOLS = "0123456789-,"
"""Characters of a value that is generated; the comma separates the steps of a sequence."""
START, END = len(SYMBOLS), len(SYMBOLS) + 1
MOST_SYMBOLS = 32
"""Longest value that is generated."""


@dataclass
class PuzzleOutput(ModelOutput):
    """Output of a `PuzzleClassifier`."""

    loss: torch.Tensor | None = None

    logits: torch.Tensor | None = None
    """Of options (rows, 5), of values (rows, steps, values of all puzzles), or of the next symbols
    (rows, length, symbols)."""


class PuzzleClassifier(FusionPreTrainedModel):
    """A classifier of puzzles with one of three heads, see `PuzzleConfig`.

    Its towers are those of a `FusionModel`. They can be left out of a training: `forward` also
    accepts what `encode_pictures`, `encode_texts` and the function `encode_options` return.
    """

    config: PuzzleConfig
    config_class = PuzzleConfig
    _keys_to_ignore_on_load_unexpected = [r"(text|visual)_layers"]  # noqa: RUF012 - of a pre-trained model, see `align`

    def __init__(self, config: PuzzleConfig) -> None:
        super().__init__(config)
        size, heads = config.hidden_size, config.num_attention_heads
        self.fusion = FusionModel(config)
        if config.merge == "attention":
            self.attention = nn.MultiheadAttention(size, heads, config.dropout, batch_first=True)
            self.attention_norm = nn.LayerNorm(size)
        if config.pool == "attention":
            self.queries = nn.Embedding(1 if config.merge == "attention" else 2, size)
            self.pooling = nn.MultiheadAttention(size, heads, config.dropout, batch_first=True)
        width = 2 * size if config.merge == "concatenation" else size
        self.joint = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size), nn.GELU(), nn.Dropout(config.dropout))
        if config.head == "per-puzzle":
            self.slots = _slots(config)
            self.values = nn.Linear(size, self.slots[-1][-1][1])
        elif config.head == "shared":
            self.wanted = nn.Sequential(nn.Linear(size, size), nn.LayerNorm(size))
            width = self.fusion.text.get_input_embeddings().embedding_dim
            self.option_input = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))
            self.option_output = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, size))
            self.option = nn.Sequential(nn.GELU(), nn.Linear(size, size), nn.LayerNorm(size))
        else:
            self.symbols = nn.Embedding(len(SYMBOLS) + 2, size)
            self.decoder = cross_layer(config)
            self.next = nn.Linear(size, len(SYMBOLS) + 2)
        self.post_init()

    def encode_pictures(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Encode pictures: (pictures, 3, height, width) -> (pictures, tokens, hidden)."""
        frames = torch.arange(len(pixel_values), device=pixel_values.device)[:, None]
        return self.fusion.encode_visuals(pixel_values, frames)[0]

    def encode_texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode texts: (texts, length) -> (texts, length, hidden)."""
        return self.fusion.encode_text(input_ids, attention_mask)

    def forward(
        self,
        pictures: torch.Tensor,
        questions: torch.Tensor,
        question_mask: torch.Tensor,
        options: torch.Tensor | None = None,
        option_mask: torch.Tensor | None = None,
        option_words: torch.Tensor | None = None,
        choices: torch.Tensor | None = None,
        puzzles: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> PuzzleOutput:
        """Predict options, values or the symbols of values.

        Args:
            pictures: pixels (rows, 3, height, width), or tokens of `encode_pictures`.
            questions: token ids (rows, length), or tokens of `encode_texts`.
            question_mask: which tokens are no padding, (rows, length).
            options: for "shared", the distinct options: token ids (options, length), or features of
                `encode_options`.
            option_mask: of token ids, which are no padding, (options, length).
            option_words: of token ids, which are neither padding nor special, (options, length).
            choices: for "shared", the options of each row by their position, (rows, 5).
            puzzles: for "per-puzzle", the root puzzle of each row by its position in
                `config.answers`, (rows,).
            labels: for "shared" the correct options, (rows,); otherwise the codes of the values,
                see `encode_value`, (rows, length), -100 after the last one.

        Returns:
            The logits, and with labels the cross-entropy.
        """
        tokens, padding, joint = self._fuse(pictures, questions, question_mask)
        if self.config.head == "shared":
            assert options is not None
            assert choices is not None
            if not options.is_floating_point():
                assert option_mask is not None
                assert option_words is not None
                options = encode_options(self.fusion, options, option_mask, option_words)
            rows = torch.arange(len(joint), device=joint.device)
            logits = self._option_logits(joint, options)[choices, rows[:, None]]
        elif self.config.head == "per-puzzle":
            assert puzzles is not None
            logits = self._value_logits(joint, puzzles)
        else:
            assert labels is not None, "use `predict_values`"
            read = functional.pad(labels.clamp(min=0)[:, :-1], (1, 0), value=START)
            logits = self._symbol_logits(read, tokens, padding)
        if labels is None:
            return PuzzleOutput(logits=logits)
        loss = functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE_INDEX)
        return PuzzleOutput(loss=loss, logits=logits)

    @torch.inference_mode()
    def predict_values(
        self, pictures: torch.Tensor, questions: torch.Tensor, question_mask: torch.Tensor, puzzles: torch.Tensor | None = None
    ) -> list[Value]:
        """Return the value of the answer of each row; see `forward`. A "shared" head has none.

        A generated text that is no value gives the empty value.
        """
        tokens, padding, joint = self._fuse(pictures, questions, question_mask)
        if self.config.head == "per-puzzle":
            assert puzzles is not None
            chosen = self._value_logits(joint, puzzles).argmax(-1).tolist()
            flat = [[value for step in steps for value in step] for steps in self.config.answers.values()]
            found = list[Value]()
            for row, puzzle in zip(chosen, puzzles.tolist(), strict=True):
                first = self.slots[puzzle][0][0]
                value = tuple(flat[puzzle][slot - first] for slot in row[: len(self.slots[puzzle])])
                found.append(value[: value.index(NO_STEP)] if NO_STEP in value[1:] else value)
            return found
        written = torch.full((len(joint), 1), START, device=joint.device)
        while written.shape[1] <= MOST_SYMBOLS and not (written == END).any(1).all():
            following = self._symbol_logits(written, tokens, padding)[:, -1].argmax(-1, keepdim=True)
            written = torch.cat([written, following], 1)
        return [_decoded(row) for row in written[:, 1:].tolist()]

    def _fuse(
        self, pictures: torch.Tensor, questions: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Return the fused tokens, which of them are padding, and the feature of each row."""
        visual = pictures if pictures.dim() == 3 else self.encode_pictures(pictures)
        text = questions if questions.dim() == 3 else self.encode_texts(questions, mask)
        padding = mask == 0
        text, visual = self.fusion(text, padding, visual, torch.zeros_like(visual[..., 0], dtype=torch.bool))
        if self.config.merge == "attention":
            read, _ = self.attention(visual, text, text, key_padding_mask=padding, need_weights=False)
            tokens = self.attention_norm(visual + read)
            return tokens, None, self.joint(self._pool(tokens, 0))
        features = self._pool(visual, 0), self._pool(text, 1, padding)
        if self.config.merge == "concatenation":
            both_padding = functional.pad(padding, (visual.shape[1], 0))
            return torch.cat([visual, text], 1), both_padding, self.joint(torch.cat(features, -1))
        joint = self.joint(features[0] + features[1])
        return joint[:, None], None, joint

    def _pool(self, tokens: torch.Tensor, stream: int, padding: torch.Tensor | None = None) -> torch.Tensor:
        """Return one feature of each row, (rows, hidden)."""
        if self.config.pool == "cls":
            return tokens[:, 0]
        query = self.queries.weight[stream].expand(len(tokens), 1, -1)
        return cast(torch.Tensor, self.pooling(query, tokens, tokens, key_padding_mask=padding, need_weights=False)[0][:, 0])

    def _option_logits(self, joint: torch.Tensor, options: torch.Tensor) -> torch.Tensor:
        """Return the score of each distinct option in each row, (options, rows)."""
        taken_in, given_out = options.split([options.shape[-1] - joint.shape[-1], joint.shape[-1]], -1)
        features = self.option(self.option_input(taken_in) + self.option_output(given_out))
        return cast(torch.Tensor, features @ self.wanted(joint).T) / math.sqrt(joint.shape[-1])

    def _value_logits(self, joint: torch.Tensor, puzzles: torch.Tensor) -> torch.Tensor:
        """Return the logits of all values at each step, low ones for other steps and puzzles."""
        logits = self.values(joint)[:, None]
        steps = max(map(len, self.slots))
        bounds = torch.tensor([[*each, *[(0, 0)] * (steps - len(each))] for each in self.slots], device=joint.device)[puzzles]
        slot = torch.arange(logits.shape[-1], device=joint.device)
        own = (slot >= bounds[..., :1]) & (slot < bounds[..., 1:])
        return logits.masked_fill(~own, torch.finfo(logits.dtype).min)

    def _symbol_logits(self, written: torch.Tensor, tokens: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        embedded = self.symbols(written) + time_embedding(written.shape[1], tokens)
        causal = torch.ones(written.shape[1], written.shape[1], dtype=torch.bool, device=tokens.device).triu(1)
        return cast(torch.Tensor, self.next(self.decoder(embedded, tokens, tgt_mask=causal, memory_key_padding_mask=padding)))


def encode_options(fusion: FusionModel, options: torch.Tensor, mask: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Encode options as the means of their words, as they go into the text encoder and come out.

    Args:
        fusion: the model with the text encoder.
        options: token ids, (options, length).
        mask: which tokens are no padding, as `options`.
        words: which tokens are neither padding nor special, as `options`.

    Returns:
        Features, (options, width of the word embeddings + hidden).
    """
    taken_in = fusion.text.get_input_embeddings()(options)
    return torch.cat([_mean(taken_in, words), _mean(fusion.encode_text(options, mask), words)], -1)


def _mean(tokens: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the mean of the tokens that are kept, (texts, width); an empty text has none."""
    weights = kept[..., None].to(tokens.dtype)
    return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)


def _slots(config: PuzzleConfig) -> list[list[tuple[int, int]]]:
    """Return for each puzzle and step the first logit and the one after the last."""
    bounds, start = list[list[tuple[int, int]]](), 0
    for steps in config.answers.values():
        bounds.append([])
        for values in steps:
            bounds[-1].append((start, start + len(values)))
            start += len(values)
    return bounds


def answers_of(values: Sequence[tuple[int, Value]]) -> dict[str, list[list[int]]]:
    """Return `PuzzleConfig.answers` for (root puzzle, value of an answer) of training rows."""
    found = dict[int, list[set[int]]]()
    for puzzle, value in values:
        steps = found.setdefault(puzzle, [])
        steps += [set() for _ in range(len(value) - len(steps))]
    for puzzle, value in values:
        for step, seen in enumerate(found[puzzle]):
            seen.add(value[step] if step < len(value) else NO_STEP)
    return {str(puzzle): [sorted(seen) for seen in found[puzzle]] for puzzle in sorted(found)}


def encode_value(config: PuzzleConfig, puzzle: int, value: Value) -> list[int]:
    """Return the labels of a value: the logit of each step, or symbols and the end.

    A step that was not in the training data has the label -100.
    """
    if config.head == "seq2seq":
        return [SYMBOLS.index(symbol) for symbol in ",".join(map(str, value))] + [END]
    place = list(config.answers).index(str(puzzle))
    labels = []
    for step, (values, (start, _)) in enumerate(zip(config.answers[str(puzzle)], _slots(config)[place], strict=True)):
        wanted = value[step] if step < len(value) else NO_STEP
        labels.append(start + values.index(wanted) if wanted in values else IGNORE_INDEX)
    return labels


def _decoded(symbols: Sequence[int]) -> Value:
    """Return the value that generated symbols mean, or the empty one."""
    end = symbols.index(END) if END in symbols else len(symbols)
    text = "".join(SYMBOLS[symbol] if symbol < len(SYMBOLS) else "?" for symbol in symbols[:end])
    try:
        return tuple(int(step) for step in text.split(","))
    except ValueError:
        return ()
