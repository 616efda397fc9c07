"""The trained selector: bidirectional GRUs over the captions of a visual.

Each network reads, per caption, the product of the embeddings of caption and question, projected to
a few dimensions, and the features of `agents.ranking.features`. It gives the log-odds that the
frame shows what the question asks about. The relevance is the mean over networks that differ in
their random start.

    espresso finetune selector finetune/configs/selector/nextgqa.yaml

trains them (`finetune.selector`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from agents.ranking.features import FEATURES, ClipFeatures
from espresso.errors import ModelError
from espresso.files import write_atomic
from espresso.schema import Record

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class HeadConfig(Record):
    """Architecture of a trained selector, and the embedder that it reads."""

    embedder: str
    """Name of the embedder whose vectors it was trained on."""

    width: int
    """Dimensions of an embedding."""

    features: int = FEATURES
    """Number of features per caption."""

    members: int
    """Number of networks."""

    hidden: int
    """Hidden size of a GRU, per direction."""

    projection: int
    """Dimensions of the projected product of embeddings."""

    dropout: float = 0.0
    """Dropout in training."""

    margin: float
    """Log-odds below the best frame at which no further frame is picked."""


class Member(nn.Module):
    """One network. See the module's docstring.

    Args:
        config: the architecture.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        inputs = config.projection + config.hidden
        self.project = nn.Linear(config.width, config.projection, bias=False)
        self.read = nn.Sequential(nn.Linear(config.features, config.hidden), nn.GELU())
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(inputs, config.hidden, batch_first=True, bidirectional=True)
        self.score = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(2 * config.hidden + inputs, HIDDEN_OUT), nn.GELU(),
            nn.Dropout(config.dropout), nn.Linear(HIDDEN_OUT, 1),
        )  # fmt: skip
        for weight in self.parameters():  # larger than the defaults, with which it learns half as fast
            nn.init.normal_(weight, std=weight.shape[-1] ** -0.5) if weight.dim() > 1 else nn.init.zeros_(weight)
        # A product of two unit vectors has small entries: its projection starts larger still.
        nn.init.normal_(self.project.weight, std=(8 / config.width) ** 0.5)

    def forward(self, products: torch.Tensor, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return log-odds, shape (batch, captions).

        Args:
            products: products of the embeddings of caption and question, (batch, captions, width).
            features: (batch, captions, features).
            lengths: number of captions before the padding, (batch,).
        """
        inputs = self.dropout(torch.cat([self.project(products), self.read(features)], -1))
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=inputs.shape[1])
        scores: torch.Tensor = self.score(torch.cat([states, inputs], -1)).squeeze(-1)
        return scores


class Head(nn.Module):
    """Networks whose mean is the relevance.

    Args:
        config: the architecture.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(Member(config) for _ in range(config.members))

    def forward(self, products: torch.Tensor, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of each network, shape (members, batch, captions); see `Member`."""
        return torch.stack([member(products, features, lengths) for member in self.members])

    def relevance(self, clip: ClipFeatures) -> np.ndarray:
        """Return the mean log-odds of each caption, shape (n,)."""
        self.eval()
        with torch.inference_mode():
            products, features = (torch.from_numpy(each).unsqueeze(0) for each in (clip.products, clip.features))
            scores = self(products, features, torch.tensor([len(clip.features)]))
        mean: np.ndarray = scores.mean(0).squeeze(0).numpy()
        return mean


HIDDEN_OUT = 32
"""Hidden size of the layer between the GRUs and the score."""


def save(head: Head, folder: Path) -> None:
    """Write a head to an existing folder, in half precision."""
    save_file({name: value.detach().half().contiguous() for name, value in head.state_dict().items()}, folder / WEIGHTS_FILE)
    write_atomic(folder / CONFIG_FILE, head.config.model_dump_json(indent=2) + "\n")


def load(folder: Path) -> Head:
    """Read a head.

    Raises:
        ModelError: the folder has none, or one of another version.
    """
    try:
        config = HeadConfig.model_validate_json((folder / CONFIG_FILE).read_bytes())
        head = Head(config)
        head.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS_FILE).items()})
    except (OSError, ValidationError, SafetensorError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ModelError(
            f"{folder}: cannot load this trained selector ({why}). Train one with `espresso finetune selector`, or remove "
            "`head` from [ranker] of the profile."
        ) from None
    if config.features != FEATURES:
        raise ModelError(
            f"{folder}: this selector reads {config.features} features per caption, and this version computes {FEATURES}. "
            "Train it again with `espresso finetune selector`."
        )
    return head.eval()
