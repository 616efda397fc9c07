"""Rows of puzzles for the classifier: features of frozen towers, batches, and predictions."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track
from torch.nn.utils.rnn import pad_sequence

from espresso.datasets.raiv.situations import VisualReference
from espresso.datasets.rows import BadRow, reason
from espresso.datasets.smart101 import LoadedPuzzles, PuzzleQuestion, Value, chosen, data, solved, value_of
from espresso.datasets.smart101.splits import Kind, Part
from espresso.errors import DataError
from espresso.fusion.config import PuzzleConfig
from espresso.fusion.model import FusionModel
from espresso.fusion.processor import FusionProcessor
from espresso.fusion.puzzles import IGNORE_INDEX, PuzzleClassifier, answers_of, encode_options, encode_value
from finetune.frames import FrameReader
from finetune.fusion.rows import BLACK

logger = logging.getLogger(__name__)

ENCODED = 64
"""Pictures or texts that are encoded at once."""

PREDICTED = 256
"""Rows whose answers are predicted at once."""

Hidden = Literal["picture", "question"] | None


@dataclass(frozen=True)
class Row:
    """A puzzle with the values that its answer and its options have."""

    puzzle: PuzzleQuestion

    value: Value

    options: tuple[Value, ...]


@dataclass(frozen=True)
class Prediction:
    """What a classifier answers."""

    option: int | None
    """Index of the option; None if the predicted sequence is none of them."""

    solved: bool | None
    """Whether the predicted value is that of the answer; None if an option was chosen."""


def load_rows(kind: Kind, part: Part, rows: int | None = None, folder: Path | None = None) -> list[Row]:
    """Return the rows of a part of a split; those without a value are left out, with a warning.

    Args:
        kind: the split.
        part: the part.
        rows: the most rows of each root puzzle, from the first; None is all.
        folder: the puzzles as published; None generates them.

    Raises:
        DataError: the folder cannot be read, or the images cannot be written to the cache.
    """
    name = part if kind == "is" else f"{kind}-{part}"
    loaded = data.read(folder, name) if folder else data.generate(name, rows=rows)
    bad, counts, found = list(loaded.bad), Counter[int](), list[Row]()
    for each in loaded.rows:
        row = each.row
        try:
            values = [value_of(row.puzzle, option, loaded.icons) for option in row.options]
        except ValueError as error:
            bad.append(BadRow(row.id, reason(error)))
            continue
        counts[row.puzzle] += 1
        if rows is None or counts[row.puzzle] <= rows:
            found.append(Row(each, values[row.answer], tuple(values)))
    _report(loaded, bad)
    if not found:
        raise DataError(f"no puzzle of the split {name} can be used.")
    return found


def _report(loaded: LoadedPuzzles, bad: Sequence[BadRow]) -> None:
    for note in loaded.notes:
        logger.warning(note)
    if bad:
        logger.warning("%s rows are left out. The first: %s.", len(bad), bad[0])
    if loaded.missing:
        logger.warning("%s images were not found, among them %s.", len(loaded.missing), loaded.missing[0])


def answers(rows: Iterable[Row]) -> dict[str, list[list[int]]]:
    """Return the values of the answers of training rows, as `PuzzleConfig.answers`."""
    return answers_of([(row.puzzle.row.puzzle, row.value) for row in rows])


class Features:
    """Features of pictures, questions and options by frozen towers.

    Each is encoded once, and kept as float16.

    Args:
        fusion: the model with the towers.
        processor: its processor.
        reader: reads pictures.
    """

    def __init__(self, fusion: FusionModel, processor: FusionProcessor, reader: FrameReader) -> None:
        self.fusion, self.processor, self.reader = fusion.eval(), processor, reader
        self._pictures = dict[Path | None, torch.Tensor]()
        self._texts = dict[str, torch.Tensor]()
        self._options = dict[str, torch.Tensor]()

    def pictures(self, paths: Sequence[Path | None]) -> torch.Tensor:
        """Return tokens of pictures, (pictures, tokens, hidden); None is a black one."""
        return torch.stack([self._pictures[path] for path in paths]).float()

    def texts(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens of texts, (texts, length, hidden), and which are no padding."""
        found = [self._texts[text] for text in texts]
        mask = pad_sequence([torch.ones(len(each), dtype=torch.long) for each in found], batch_first=True)
        return pad_sequence(found, batch_first=True).float(), mask

    def options(self, options: Sequence[str]) -> torch.Tensor:
        """Return features of options, see `encode_options`."""
        return torch.stack([self._options[option] for option in options]).float()

    @torch.inference_mode()
    def add(self, pictures: Iterable[Path | None], texts: Iterable[str], options: Iterable[str]) -> None:
        """Encode what is not encoded yet."""
        new_options = sorted({*options} - {*self._options}, key=lambda option: (len(option), option))
        for first in range(0, len(new_options), ENCODED):
            some = new_options[first : first + ENCODED]
            encoded = encode_options(self.fusion, *self.processor.options(some).values()).half()
            self._options |= dict(zip(some, encoded, strict=True))
        new_texts = sorted({*texts} - {*self._texts}, key=lambda text: (len(text), text))
        for first in range(0, len(new_texts), ENCODED):
            some = new_texts[first : first + ENCODED]
            inputs = self.processor.texts(some)
            encoded = self.fusion.encode_text(**inputs).half()
            lengths = inputs["attention_mask"].sum(1).tolist()
            self._texts |= {text: row[:n].clone() for text, row, n in zip(some, encoded, lengths, strict=True)}
        new = [path for path in dict.fromkeys(pictures) if path not in self._pictures]
        parts = [new[first : first + ENCODED] for first in range(0, len(new), ENCODED)]
        for part in track(parts, "encoding pictures", console=Console(stderr=True), transient=True):
            inputs = self.processor.visuals([_pixels(path, self.reader) for path in part])
            encoded, _ = self.fusion.encode_visuals(inputs["pixel_values"], inputs["frames"])
            self._pictures |= dict(zip(part, encoded.half(), strict=True))


def _pixels(path: Path | None, reader: FrameReader) -> Sequence:
    return BLACK if path is None else reader.read(VisualReference(path=str(path), kind="image"))


@lru_cache(maxsize=1)
def features_of(folder: Path, digest: str, reader: FrameReader) -> Features:
    """Return the features of a model's towers; one training after another shares them.

    Args:
        folder: a trained model, see `FusionModel`.
        digest: that of its weights.
        reader: reads pictures.
    """
    return Features(FusionModel.from_pretrained(folder), FusionProcessor.from_pretrained(folder), reader)


class PuzzleCollator:
    """Collates rows to the arguments of `PuzzleClassifier.forward`.

    Args:
        config: that of the classifier.
        processor: its processor.
        reader: reads pictures.
        hidden: what is replaced by a black picture or an empty question.
        features: encodes pictures and texts; None leaves that to the classifier.
    """

    def __init__(
        self,
        config: PuzzleConfig,
        processor: FusionProcessor,
        reader: FrameReader,
        hidden: Hidden = None,
        features: Features | None = None,
    ) -> None:
        self.config, self.processor, self.reader, self.hidden, self.features = config, processor, reader, hidden, features

    def encode(self, rows: Sequence[Row]) -> None:
        """Encode what the features lack."""
        if self.features:
            options = [option for row in rows for option in row.puzzle.row.options] if self.config.head == "shared" else []
            self.features.add(map(self._picture, rows), map(self._question, rows), options)

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return the batch."""
        if self.features:
            pictures = self.features.pictures([self._picture(row) for row in rows])
        else:
            pictures = self.processor.visuals([_pixels(self._picture(row), self.reader) for row in rows])["pixel_values"]
        questions, mask = self._encoded([self._question(row) for row in rows])
        batch = {"pictures": pictures, "questions": questions, "question_mask": mask}
        if self.config.head == "shared":
            texts = list(dict.fromkeys(text for row in rows for text in row.puzzle.row.options))
            places = {text: place for place, text in enumerate(texts)}
            batch |= {"options": self.features.options(texts)} if self.features else self.processor.options(texts)
            batch["choices"] = torch.tensor([[places[text] for text in row.puzzle.row.options] for row in rows])
            return {**batch, "labels": torch.tensor([row.puzzle.row.answer for row in rows])}
        if self.config.head == "per-puzzle":
            order = {int(puzzle): place for place, puzzle in enumerate(self.config.answers)}
            batch["puzzles"] = torch.tensor([order[row.puzzle.row.puzzle] for row in rows])
        labels = [torch.tensor(encode_value(self.config, row.puzzle.row.puzzle, row.value)) for row in rows]
        most = max(map(len, self.config.answers.values())) if self.config.answers else max(map(len, labels))
        padded = [torch.nn.functional.pad(each, (0, most - len(each)), value=IGNORE_INDEX) for each in labels]
        return {**batch, "labels": torch.stack(padded)}

    def _picture(self, row: Row) -> Path | None:
        return None if self.hidden == "picture" else row.puzzle.image

    def _question(self, row: Row) -> str:
        return "" if self.hidden == "question" else row.puzzle.row.question

    def _encoded(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens or token ids of texts, and which are no padding."""
        if self.features:
            return self.features.texts(texts)
        inputs = self.processor.texts(texts)
        return inputs["input_ids"], inputs["attention_mask"]


def predict(model: PuzzleClassifier, collate: PuzzleCollator, rows: Sequence[Row]) -> list[Prediction]:
    """Return what a classifier answers; see `espresso.datasets.smart101.scores`."""
    collate.encode(rows)
    parts = [rows[first : first + PREDICTED] for first in range(0, len(rows), PREDICTED)]
    return [found for part in parts for found in _predict(model.eval(), collate(part), part)]


def _predict(model: PuzzleClassifier, batch: dict[str, torch.Tensor], rows: Sequence[Row]) -> Iterator[Prediction]:
    inputs = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    if model.config.head == "shared":
        with torch.inference_mode():
            yield from (Prediction(option, None) for option in model(**inputs).logits.argmax(-1).tolist())
        return
    for row, value in zip(rows, model.predict_values(**inputs), strict=True):
        option = chosen(row.puzzle.row.puzzle, value, row.options) if value else None
        yield Prediction(option, solved(value, row.value))
