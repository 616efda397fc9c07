"""Public models: from this machine's cache, or from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from espresso.errors import ModelError

_NEEDED = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")


def fetch(source: str, download: str | None = None) -> str:
    """Return the folder that holds a model or adapter: `source` itself if it is one, else the hub's copy, downloaded if need be.

    download: the size in words, for the error. Raises ModelError where the hub does not know it, or it is neither on this machine
    nor within reach.
    """
    if Path(source).exists():
        return source
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only hub models need it
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError  # noqa: PLC0415

    try:
        return snapshot_download(source, allow_patterns=list(_NEEDED))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"{source}: the hub knows no such model, or guards it. Correct the name, or run `hf auth login`."
        ) from error
    except OSError as error:
        size = f" ({download} to download)" if download else ""
        raise ModelError(
            f"{source}: this model{size} is neither on this machine nor within reach. Go online and run "
            f"`hf download {source}`, or choose the profile tiny."
        ) from error
