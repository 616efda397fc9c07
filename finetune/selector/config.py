"""Configuration of the training of a caption selector."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from finetune.config import Settings


class SelectorConfig(Settings):
    """Data, architecture and training of a selector's head."""

    data: Path
    """Folder of NExT-GQA with captions, see `espresso.datasets.nextqa.nextgqa`."""
    output: Path
    """Folder for the head."""
    embedder: str = "sentence-transformers/all-MiniLM-L6-v2"
    """Hub name or folder of the frozen sentence embedder, with mean pooling."""

    members: int = 3
    """Number of networks; each starts from other weights."""
    hidden: int = 40
    """Hidden size of a GRU, per direction."""
    projection: int = 32
    """Dimensions of the projected product of embeddings."""
    dropout: float = 0.3

    loss: Literal["listwise", "contrastive", "both"] = "both"
    """`listwise` maximizes the share of the softmax over a clip that lies inside the spans;
    `contrastive` separates each caption inside from all outside (binary cross-entropy); `both`
    adds them."""
    without_options: float = 0.3
    """Share of the questions that are shown without options in a step; 1 never shows any."""
    crop: float = 0.0
    """Largest share of a clip's captions that a step leaves out, at one end or anywhere."""
    epochs: int = 8
    batch: int = 48
    """Questions of a step."""
    learning_rate: float = 3.0e-3
    """Peak learning rate of AdamW: linear warm-up over 20 steps, then a cosine decay to zero."""
    weight_decay: float = 0.01
    margin: float = 0.6
    """Log-odds below the best frame at which no further frame is picked."""
    seed: int = 0
    threads: int = 2
