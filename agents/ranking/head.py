"""The trained selector: bidirectional GRUs over the captions of a visual.

Each member of the ensemble reads, per caption, the product of the embeddings of caption and
question, projected to a few dimensions, and the features of `agents.ranking.features`. It gives
the log-odds that the frame shows what the question asks about. The relevance is their mean.

    espresso finetune selector finetune/configs/selector/nextgqa.yaml

trains it (`finetune.selector`). All members are computed at once: each parameter has a leading
dimension for them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

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
    """GRUs in the ensemble."""

    hidden: int
    """Hidden size of a GRU, per direction."""

    projection: int
    """Dimensions of the projected product of embeddings."""

    dropout: float = 0.0
    """Dropout in training."""

    margin: float
    """Log-odds below the best frame at which no further frame is picked."""


class Head(nn.Module):
    """An ensemble of bidirectional GRUs. See the module's docstring.

    Args:
        config: the architecture.
        seed: seed of the random weights.
    """

    def __init__(self, config: HeadConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        members, hidden, inputs = config.members, config.hidden, config.projection + config.hidden

        def weight(*shape: int, fan_in: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) / fan_in**0.5)

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(*shape))

        # A product of two unit vectors has small entries: its projection starts larger.
        self.project = weight(config.width, members * config.projection, fan_in=config.width / 8)
        self.read = weight(members, config.features, hidden, fan_in=config.features)
        self.read_bias = zeros(members, 1, hidden)
        self.gates_in = weight(2 * members, inputs, 3 * hidden, fan_in=inputs)
        self.gates_bias = zeros(2 * members, 1, 3 * hidden)
        self.gates_state = weight(2 * members, hidden, 3 * hidden, fan_in=hidden)
        self.state_bias = zeros(2 * members, 1, hidden)
        self.out = weight(members, 2 * hidden + inputs, HIDDEN_OUT, fan_in=2 * hidden + inputs)
        self.out_bias = zeros(members, 1, HIDDEN_OUT)
        self.score = weight(members, HIDDEN_OUT, 1, fan_in=HIDDEN_OUT)
        self.score_bias = zeros(members, 1, 1)

    def forward(self, products: torch.Tensor, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return log-odds, shape (members, batch, captions).

        Args:
            products: products of the embeddings of caption and question, (batch, captions, width).
            features: (batch, captions, features).
            mask: 1 for captions, 0 for padding after them, (batch, captions).
        """
        config = self.config
        batch, length = mask.shape
        members, hidden = config.members, config.hidden
        drop = config.dropout if self.training else 0.0
        flat = products.reshape(batch * length, config.width) @ self.project
        projected = flat.reshape(batch, length, members, config.projection).permute(2, 0, 1, 3)
        rows = features.reshape(1, batch * length, config.features).expand(members, -1, -1)
        read = functional.gelu(torch.baddbmm(self.read_bias, rows, self.read)).reshape(members, batch, length, hidden)
        inputs = functional.dropout(torch.cat([projected, read], -1), drop)
        states = self._states(inputs, mask)
        joined = functional.dropout(torch.cat([states, inputs], -1), drop).reshape(members, batch * length, -1)
        out = functional.dropout(functional.gelu(torch.baddbmm(self.out_bias, joined, self.out)), drop)
        return torch.baddbmm(self.score_bias, out, self.score).reshape(members, batch, length)

    def _states(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the states of both directions, shape (members, batch, captions, 2 * hidden)."""
        members, batch, length, width = inputs.shape
        hidden = self.config.hidden
        both = torch.cat([inputs, inputs.flip(2)]).reshape(2 * members, batch * length, width)
        gates = torch.baddbmm(self.gates_bias, both, self.gates_in).reshape(2 * members, batch, length, 3 * hidden)
        present = torch.cat([mask.expand(members, -1, -1), mask.flip(1).expand(members, -1, -1)]).bool().unsqueeze(-1)
        state, states = inputs.new_zeros(2 * members, batch, hidden), []
        # The backward pass of `unbind` is cheap; each of many slices would fill a whole gradient.
        for from_input, here in zip(gates.unbind(2), present.unbind(2), strict=True):
            from_state = torch.bmm(state, self.gates_state)
            reset, keep = torch.sigmoid(from_input[..., : 2 * hidden] + from_state[..., : 2 * hidden]).chunk(2, -1)
            new = torch.tanh(from_input[..., 2 * hidden :] + reset * (from_state[..., 2 * hidden :] + self.state_bias))
            state = torch.where(here, new + keep * (state - new), state)
            states.append(state)
        stacked = torch.stack(states, 2)
        return torch.cat([stacked[:members], stacked[members:].flip(2)], -1)

    def relevance(self, clip: ClipFeatures) -> np.ndarray:
        """Return the mean log-odds of each caption, shape (n,)."""
        self.eval()
        with torch.inference_mode():
            products, features = (torch.from_numpy(each).unsqueeze(0) for each in (clip.products, clip.features))
            scores = self(products, features, torch.ones(1, len(clip.features)))
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
