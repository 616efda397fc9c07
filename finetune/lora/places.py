"""Teach the vision tower of a reasoner to read pictures of puzzles, place by place.

`espresso finetune places CONFIG` trains an adapter from which the stage `evidence` continues. While
it is trained, heads read the output of the tower; they are dropped at the end:

1. Each patch, and each visual token of merged patches, says which marks are drawn in it: digits,
   letters, colours and shapes.
2. Where a thing is drawn, the visual token says its value, "3" at a red disc of which there are
   three. It does so by the word embeddings of the language model, which then gets the value as if
   it were written there.

From the loss of the evidence alone, the tiny reasoner has learned the form of the evidence and no
values (docs/LOG.md). `finetune.fusion.puzzle_pretraining` teaches a classifier in the same way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import PeftModel
from torch import nn
from torch.nn import functional
from transformers import set_seed

from espresso.errors import DataError, ModelError
from espresso.files import replace_folder
from espresso.models.chat import Message, Picture
from espresso.models.device import model_dtype
from espresso.models.hub import fetch
from espresso.models.processor import ChatProcessor
from espresso.profiles.weights import weights_digest
from finetune.checkpoints import CompleteCheckpoints, claim_checkpoints, latest_checkpoint, writing
from finetune.frames import FrameReader, frame_reader
from finetune.install import check_output
from finetune.lora.config import FinetuneConfig
from finetune.lora.train import load_model, to_dataset, training_arguments
from finetune.precision import attention
from finetune.provenance import Provenance, text_digest
from finetune.puzzle_pictures import PuzzlePicture, pictures

VALUE_TOKENS = 4
"""Tokens of a value that a visual token says."""
MARKS_WEIGHT = 0.02
"""Weight of the loss of marks, a sum over patches and words."""
_RARE = -5.0
"""Logit of a mark at a patch where nothing is known yet: most patches are empty."""


class PlaceReader(nn.Module):
    """The vision tower of a reasoner, as that of Qwen2-VL, and heads that say what it sees where.

    Args:
        model: the reasoner with an adapter, of which only the part in the tower is trained.
        marks: number of words of marks.

    Raises:
        ModelError: the vision tower is of another kind, or the adapter has no part in it.
    """

    accepts_loss_kwargs = False  # read by the Trainer: the loss is a mean over the pictures of a batch

    words: torch.Tensor
    """Word embeddings of the language model, (vocabulary, width)."""

    def __init__(self, model: PeftModel, marks: int) -> None:
        super().__init__()
        base: Any = model.get_base_model()
        tower: Any = getattr(base.model, "visual", None)
        if not hasattr(tower, "spatial_merge_size"):
            raise ModelError(f"{type(base).__name__}: the stage places needs a vision tower as that of Qwen2-VL.")
        self.tower = tower
        model.requires_grad_(False)
        adapted = [weight for name, weight in tower.named_parameters() if "lora_" in name]
        if not adapted:
            raise ModelError("the adapter has no part in the vision tower. Set `vision: true` in the section lora.")
        for weight in adapted:
            weight.requires_grad_(True)
        vision = tower.config
        width = vision.hidden_size
        self.patch_marks, self.token_marks = nn.Linear(vision.embed_dim, marks), nn.Linear(width, marks)
        for head in (self.patch_marks, self.token_marks):
            nn.init.constant_(head.bias, _RARE)
        words = base.get_input_embeddings().weight.detach()
        self.register_buffer("words", words, persistent=False)
        self.later = nn.ModuleList(nn.Linear(width, width) for _ in range(VALUE_TOKENS - 1))
        self.frequency = nn.Parameter(torch.zeros(VALUE_TOKENS, len(words)))

    def forward(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        marks: torch.Tensor,
        mark_places: torch.Tensor,
        values: torch.Tensor,
        value_places: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return the sum of the losses under the key `loss`, and logits.

        Args:
            pixel_values: patches of the pictures, which all have the same size, as of Qwen2-VL.
            image_grid_thw: 1, and rows and columns of patches, for each picture, (pictures, 3).
            marks: picture and word of each mark, (marks, 2).
            mark_places: x and y of each mark as shares of the picture, (marks, 2).
            values: picture, place in the value and token for each token of a value, (values, 3).
            value_places: as `mark_places`, where the thing is drawn, (values, 2).

        Returns:
            `loss`; `mark_logits` of all words at the patches of marks, (marks, words), and
            `value_logits` of all tokens of the language model, (values, vocabulary).
        """
        seen = self.tower(pixel_values, grid_thw=image_grid_thw)
        pictures, (_, rows, columns) = len(image_grid_thw), image_grid_thw[0].tolist()
        merge = self.tower.spatial_merge_size
        patches = seen.last_hidden_state.view(pictures, rows * columns, -1)
        tokens = seen.pooler_output.view(pictures, rows * columns // merge**2, -1)
        patch = patches_at(mark_places, rows, columns, merge)
        mark_logits = self.patch_marks(patches)
        thing = tokens[values[:, 0], patches_at(value_places, rows, columns, merge) // merge**2]
        thing = functional.rms_norm(thing, thing.shape[-1:])  # as the language model does
        said = torch.stack([thing, *(layer(thing) for layer in self.later)], dim=1)
        said = said[torch.arange(len(values), device=said.device), values[:, 1]]
        value_logits = (said @ self.words.T + self.frequency[values[:, 1]]).float()
        losses = (
            _loss_of_marks(mark_logits, marks, patch),
            _loss_of_marks(self.token_marks(tokens), marks, patch // merge**2),
            functional.cross_entropy(value_logits, values[:, 2], reduction="sum") / max(1, len(values)),
        )
        return {"loss": sum(losses), "mark_logits": mark_logits[marks[:, 0], patch], "value_logits": value_logits}


def _loss_of_marks(logits: torch.Tensor, marks: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the loss of the marks at places, (pictures, places, words) logits."""
    wanted = torch.zeros_like(logits, dtype=torch.float32)
    wanted[marks[:, 0], places, marks[:, 1]] = 1
    loss = functional.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="sum")
    return MARKS_WEIGHT * loss / len(logits)


def patches_at(places: torch.Tensor, rows: int, columns: int, merge: int) -> torch.Tensor:
    """Return the number of the patch at each place, (places,).

    Qwen2-VL orders patches by the squares of `merge` by `merge` that it merges to visual tokens.

    Args:
        places: x and y as shares of the picture, (places, 2).
        rows: rows of patches.
        columns: columns of patches.
        merge: side of the squares in patches.
    """
    column = (places[:, 0] * columns).long().clamp(max=columns - 1)
    row = (places[:, 1] * rows).long().clamp(max=rows - 1)
    square = (row // merge) * (columns // merge) + column // merge
    return square * merge**2 + (row % merge) * merge + column % merge


class PlaceCollator:
    """Collate pictures of puzzles into a batch of inputs of `PlaceReader`.

    Args:
        processor: the processor of the reasoner.
        reader: reads pictures.
        known: pictures whose words of marks are known; other words are left out.
    """

    def __init__(self, processor: ChatProcessor, reader: FrameReader, known: Iterable[PuzzlePicture]) -> None:
        self.processor, self.reader = processor, reader
        words = sorted({mark.word for each in known for mark in each.marks})
        self.marks = {word: number for number, word in enumerate(words)}

    def __call__(self, items: Sequence[Mapping[str, PuzzlePicture]]) -> dict[str, torch.Tensor]:
        """Return a batch.

        Args:
            items: items of the dataset; each holds a picture under the key `row`.

        Raises:
            MediaError: a picture cannot be decoded.
        """
        shown = [item["row"] for item in items]
        marks = [(number, mark) for number, each in enumerate(shown) for mark in each.marks if mark.word in self.marks]
        values = [
            ((number, place, token), (mark.x, mark.y))
            for number, each in enumerate(shown)
            for mark, value in each.values_at_marks()
            for place, token in enumerate(self.tokens(value))
        ]
        messages = [(Message("user", (Picture(self.reader.read(each.visual)[0]),)),) for each in shown]
        inputs = self.processor.prepare([self.processor.render(each) for each in messages], messages)
        return {
            "pixel_values": inputs["pixel_values"],
            "image_grid_thw": inputs["image_grid_thw"],
            "marks": torch.tensor([(number, self.marks[mark.word]) for number, mark in marks]).reshape(-1, 2),
            "mark_places": torch.tensor([(mark.x, mark.y) for _, mark in marks]).reshape(-1, 2),
            "values": torch.tensor([said for said, _ in values], dtype=torch.long).reshape(-1, 3),
            "value_places": torch.tensor([place for _, place in values]).reshape(-1, 2),
        }

    def tokens(self, value: str) -> list[int]:
        """Return the first tokens of a value in the evidence, without spaces."""
        (space,) = self.processor.encode(" ")
        return [token for token in self.processor.encode(f" {value}") if token != space][:VALUE_TOKENS]


def train_places(config: FinetuneConfig, *, steps: int | None = None) -> Provenance:
    """Train the adapter, or resume from the newest complete checkpoint, and save it.

    Args:
        config: the configuration.
        steps: number of optimizer steps, instead of the configuration's epochs.

    Returns:
        The adapter's provenance. `after` has the shares of the marks and of the tokens of values in
        held-out pictures that are read rightly.

    Raises:
        DataError: there is no section `places`, or pictures, checkpoints or the output folder
            cannot be written.
        ModelError: the base model cannot be loaded or has another vision tower.
    """
    if config.places is None:
        raise DataError(
            "this config has no section 'places'. Add one with a learning_rate, as in finetune/configs/lora/tiny-puzzles.yaml."
        )
    out = config.output / "places"
    check_output(out)
    process = PartialState(cpu=not torch.cuda.is_available())  # without `cpu`, CPU processes do not know each other
    base = fetch(config.model)
    base_digest = weights_digest(Path(base))
    train, held_out = (
        pictures(split, rows, config.places.puzzles)
        for split, rows in (("train", config.places.rows), ("val", config.places.held_out))
    )
    digest = text_digest(json.dumps([each.visual.path.rpartition("/")[2], *each.facts.items()]) for each in train)
    checkpoints = out.with_name("places-checkpoints")
    training = {"base": base_digest, "data": digest, "config": config.model_dump(mode="json"), "steps": steps}
    claim_checkpoints(checkpoints, training)
    set_seed(config.seed)
    collate = PlaceCollator(ChatProcessor(base, vision=True), frame_reader(1, config.frame_size), train)
    model = load_model(config, base, None)
    reader = PlaceReader(model, len(collate.marks))
    arguments = training_arguments(config, config.places, checkpoints, steps, model_dtype(base))
    arguments.ddp_find_unused_parameters = False
    trainer = CompleteCheckpoints(reader, arguments, data_collator=collate, train_dataset=to_dataset(train))
    checkpoint = latest_checkpoint(checkpoints, processes=process.num_processes, quiet=not process.is_main_process)
    with attention(bf16=bool(arguments.bf16)):
        trainer.train(resume_from_checkpoint=checkpoint)
    read = _share_read(reader, [collate([{"row": each}]) for each in held_out])
    result = Provenance(
        stage="places",
        base=config.model,
        base_digest=base_digest,
        first_digest=None,
        data_digest=digest,
        rows=len(train),
        bad=0,
        steps=trainer.state.global_step,
        before={},
        after=read,
        changed=None,
        merged=None,
        config=config,
    )
    if process.is_main_process:
        with writing(out, "the adapter"):
            part = out.with_name(f"{out.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            model.save_pretrained(str(part))
            (part / "README.md").unlink()  # a model card without content
            replace_folder(part, out, keep=("README.md",))
            result.write(out)
    return result


def _share_read(reader: PlaceReader, batches: Iterable[Mapping[str, torch.Tensor]]) -> dict[str, float]:
    """Return the shares of marks and of tokens of values that are read rightly."""
    reader.eval()
    device = next(reader.parameters()).device
    right = {"marks": list[bool](), "values": list[bool]()}
    for batch in batches:
        with torch.inference_mode():
            output = reader(**{name: value.to(device) for name, value in batch.items()})
        words = batch["marks"][:, 1:].to(device)
        right["marks"] += (output["mark_logits"].gather(1, words) > 0).flatten().tolist()
        right["values"] += (output["value_logits"].argmax(-1).cpu() == batch["values"][:, 2]).tolist()
    return {name: sum(each) / len(each) for name, each in right.items() if each}
