"""New models and their processors: miniature encoders, or encoders with weights by name."""

from __future__ import annotations

import random
import string
from collections.abc import Iterable, Iterator
from itertools import chain, product
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    PreTrainedConfig,
    ResNetConfig,
    ViTConfig,
    ViTImageProcessor,
)

from espresso.datasets.raiv import edited, files, world
from espresso.datasets.raiv.pairs import mine
from espresso.datasets.raiv.reasons import reason_question
from espresso.datasets.raiv.statements import KINDS
from espresso.datasets.smart101.facts import facts
from espresso.datasets.smart101.puzzles import PUZZLES, instance, mark_words
from espresso.errors import DataError
from espresso.fusion.config import FusionConfig, PuzzleConfig
from espresso.fusion.model import BackboneForPairs, FusionForPairs, FusionModel, PairModel, pair_model
from espresso.fusion.processor import FusionProcessor
from espresso.fusion.puzzles import PuzzleClassifier
from finetune.fusion.captions import describe
from finetune.fusion.config import (
    Architecture,
    FusionTraining,
    MiniatureEncoders,
    NamedBackbone,
    NamedEncoders,
    PuzzlesConfig,
)
from finetune.fusion.pretraining import FusionForPretraining
from finetune.fusion.puzzle_pretraining import FusionForPuzzlePretraining

VOCABULARY_STORIES = 400
"""Stories whose captions give words of the miniature text encoder."""
VOCABULARY_PAIRS = 2000
"""Pairs of each kind that give further words."""
VOCABULARY_INSTANCES = 100
"""Instances of each generated puzzle whose texts give words."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_TOKENS = 128
"""Longest text of the miniature text encoder: a statement and a reason have up to 60 words."""


def build_processor(encoders: NamedEncoders | NamedBackbone | MiniatureEncoders) -> FusionProcessor:
    """Build the processor of new models."""
    if isinstance(encoders, MiniatureEncoders):
        return _miniature_processor(encoders)
    if isinstance(encoders, NamedBackbone):
        return FusionProcessor.from_pretrained(encoders.backbone)
    return FusionProcessor(AutoImageProcessor.from_pretrained(encoders.vision), AutoTokenizer.from_pretrained(encoders.text))


def build_pretraining(config: FusionTraining, processor: FusionProcessor) -> FusionForPretraining | FusionForPuzzlePretraining:
    """Build a model to pre-train, with the weights of named encoders, for the data of the section.

    Raises:
        DataError: the configuration has a complete backbone, which is pre-trained already.
    """
    if isinstance(config.encoders, NamedBackbone):
        raise DataError(f"{config.encoders.backbone} is pre-trained already. Remove the section 'pretrain'.")
    on_puzzles = config.pretrain is not None and config.pretrain.data[0].format == "smart101"
    settings = _configuration(config, processor)
    if on_puzzles:
        settings.align = "image-to-text"  # its losses train no layer in which the picture reads the text
    model = (FusionForPuzzlePretraining if on_puzzles else FusionForPretraining)(settings)
    _load_encoders(model.fusion, config.encoders)
    return model


def build_classifier(config: FusionTraining, processor: FusionProcessor, start: Path | None) -> PairModel:
    """Build a classifier of pairs.

    Args:
        config: the configuration.
        processor: the processor of the model.
        start: folder of a trained model to start from: one that was pre-trained, or a classifier.
            None starts from the named encoders, or from random weights.
    """
    if start is not None:
        kind: Any = pair_model(FusionConfig.from_pretrained(start))
        return kind.from_pretrained(start, fusion=config.architecture.fusion)
    model = pair_model(settings := _configuration(config, processor))(settings)
    if isinstance(model, BackboneForPairs) and isinstance(config.encoders, NamedBackbone):
        model.backbone = AutoModel.from_pretrained(config.encoders.backbone)
    elif isinstance(model, FusionForPairs) and not isinstance(config.encoders, NamedBackbone):
        _load_encoders(model.fusion, config.encoders)
    return model


def build_puzzles(
    config: FusionTraining,
    puzzles: PuzzlesConfig,
    processor: FusionProcessor,
    start: Path | None,
    answers: dict[str, list[list[int]]],
) -> PuzzleClassifier:
    """Build a classifier of puzzles.

    Args:
        config: the configuration.
        puzzles: its section, or one like it.
        processor: the processor of the model.
        start: folder of a model to start from: one that was pre-trained, or a classifier of
            puzzles. None starts from the named encoders, or from random weights.
        answers: see `PuzzleConfig.answers`.

    Raises:
        DataError: the configuration has a complete backbone.
    """
    if isinstance(config.encoders, NamedBackbone):
        raise DataError(f"the classifier of puzzles has two towers. Give `vision` and `text`, not {config.encoders.backbone}.")
    base = FusionConfig.from_pretrained(start) if start else _configuration(config, processor)
    head: dict[str, Any] = {"align": puzzles.align, "merge": puzzles.merge, "pool": puzzles.pool, "head": puzzles.head}
    parts = {name: getattr(base, name).to_dict() for name in ("vision_config", "text_config")}
    sizes = {name: getattr(base, name) for name in _options(config.architecture)}
    settings = PuzzleConfig(**parts, **sizes, **head, answers=answers if puzzles.head == "per-puzzle" else None)
    if start:
        return PuzzleClassifier.from_pretrained(start, config=settings)
    model = PuzzleClassifier(settings)
    _load_encoders(model.fusion, config.encoders)
    return model


def _load_encoders(model: FusionModel, encoders: NamedEncoders | MiniatureEncoders) -> None:
    """Replace random weights by those of named encoders."""
    if isinstance(encoders, NamedEncoders):
        model.vision = AutoModel.from_pretrained(encoders.vision, config=model.config.vision_config)
        model.text = AutoModel.from_pretrained(encoders.text, config=model.config.text_config)


def _configuration(config: FusionTraining, processor: FusionProcessor) -> FusionConfig:
    encoders, options = config.encoders, _options(config.architecture)
    if isinstance(encoders, NamedBackbone):
        return FusionConfig(backbone_config=AutoConfig.from_pretrained(encoders.backbone).to_dict(), **options)
    if isinstance(encoders, NamedEncoders):
        vision, text = _part(encoders.vision, "vision_config"), _part(encoders.text, "text_config")
        return FusionConfig(vision_config=vision.to_dict(), text_config=text.to_dict(), **options)
    small_vision, small_text = _miniature_configs(encoders, config.architecture, processor)
    return FusionConfig(vision_config=small_vision, text_config=small_text, **options)


def _options(layers: Architecture) -> dict[str, Any]:
    return {
        "hidden_size": layers.hidden,
        "num_attention_heads": layers.heads,
        "intermediate_size": layers.feed_forward,
        "cross_layers": layers.layers,
        "dropout": layers.dropout,
        "initializer_range": layers.initializer_range,
        "fusion": layers.fusion,
        "frames": layers.frames,
    }


def _part(name: str, part: str) -> PreTrainedConfig:
    """Return the configuration of an encoder; CLIP and SigLIP have one for each side."""
    config = AutoConfig.from_pretrained(name)
    return getattr(config, part, config)


def _miniature_configs(
    encoders: MiniatureEncoders, layers: Architecture, processor: FusionProcessor
) -> tuple[dict[str, Any], dict[str, Any]]:
    shared: dict[str, Any] = {
        "hidden_size": layers.hidden,
        "num_attention_heads": layers.heads,
        "intermediate_size": layers.feed_forward,
        "hidden_dropout_prob": layers.dropout,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": layers.initializer_range,
    }
    vision: PreTrainedConfig
    if encoders.vision == "vit":
        vision = ViTConfig(
            image_size=encoders.image_size, patch_size=encoders.patch, num_hidden_layers=encoders.vision_layers, **shared
        )
    else:  # the stem takes four pixels to one, each stage but the first two to one
        stages = encoders.patch.bit_length() - 2
        widths = [layers.hidden >> stage for stage in reversed(range(stages))]
        depths = [1] * (stages - 1) + [encoders.vision_layers]
        vision = ResNetConfig(embedding_size=widths[0] // 2, hidden_sizes=widths, depths=depths, layer_type="basic")
    text = BertConfig(
        vocab_size=len(processor.tokens),
        num_hidden_layers=encoders.text_layers,
        max_position_embeddings=MAX_TOKENS,
        pad_token_id=processor.tokens.pad_token_id,
        **shared,
    )
    return vision.to_dict(), text.to_dict()


def _miniature_processor(encoders: MiniatureEncoders) -> FusionProcessor:
    side = {"height": encoders.image_size, "width": encoders.image_size}
    words = vocabulary(world_texts() if encoders.words == "world" else puzzle_texts())
    tokens = BertTokenizer(vocab={token: number for number, token in enumerate(words)})
    tokens.model_max_length = MAX_TOKENS
    return FusionProcessor(ViTImageProcessor(size=side), tokens)


def vocabulary(texts: Iterable[str]) -> list[str]:
    """Return the tokens of the miniature text encoder: each word of the texts, then letters.

    Any other word is read letter by letter. The order is fixed: a resumed training builds it again.
    """
    split = BertPreTokenizer()
    words = {word for text in texts for word, _ in split.pre_tokenize_str(text.lower())}
    letters = string.ascii_lowercase + string.digits + string.punctuation
    return [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), *sorted(words - {*letters})]


def world_texts() -> Iterator[str]:
    """Yield captions, statements and reasons of the procedural world."""
    situations = world.read(("image", "video"), {"train": VOCABULARY_STORIES}).situations
    rng = random.Random(0)
    yield from [describe(situation, rng) for situation in situations]
    for kind in KINDS:
        for pair in mine(kind, situations, VOCABULARY_PAIRS, rng):
            yield from (pair.statement, *((reason_question(pair).text, *pair.reasons) if pair.reasons else ()))
    edits = files.load_world_edits(VOCABULARY_PAIRS, "train").edits
    yield from (pair.statement for pair in edited.build_split(edits, "train", VOCABULARY_PAIRS, 0))


def puzzle_texts() -> Iterator[str]:
    """Yield what is written about generated puzzles: questions, options, facts and marks.

    An option that is a word in capitals is left out: it is read letter by letter.
    """
    yield from mark_words()
    for puzzle, number in product(PUZZLES, range(VOCABULARY_INSTANCES)):
        one = instance(puzzle, number)
        yield from (PUZZLES[puzzle].skill, one.question)
        yield from chain.from_iterable(facts(one.facts).items())
        yield from (option for option in one.options if not (option.isalpha() and option.isupper()))
