"""Identify weights: names for caches and servers, and digests to check adapters against."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from espresso.errors import ModelError
from espresso.files import write_atomic

_PICKLES = ("pytorch_model*.bin", "adapter_model*.bin", "model*.bin")
_CONFIGS = ("config.json", "adapter_config.json")

PROVENANCE_FILE = "lineage.json"
"""File in an adapter's folder that records how it was trained; see `finetune.provenance`."""


def identity(source: str | Path) -> str:
    """Return the name of a model or adapter that changes with its weights.

    Args:
        source: hub name or path of a folder.

    Returns:
        For a folder its name and eight hex digits ("vlm@1f3c07aa"), hashed from its configuration
        and its weights. A hub name is returned as it is.
    """
    folder = Path(source)
    if not folder.is_absolute() and not folder.is_dir():
        return str(source)
    digest = sha256()
    try:
        digest.update(cached_digest(folder).encode())
        for file in (folder / name for name in _CONFIGS):
            digest.update(file.read_bytes() if file.exists() else b"")
    except OSError:
        pass  # a file that cannot be read; loading the model says so
    return f"{folder.absolute().name}@{digest.hexdigest()[:8]}"


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files in a folder: safetensors or, if there are none, pickles."""
    return sorted(folder.glob("*.safetensors")) or sorted({file for pattern in _PICKLES for file in folder.glob(pattern)})


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of the weight files in a folder, as 16 hex digits."""
    digest = sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()[:16]


def cached_digest(folder: Path) -> str:
    """Return `weights_digest`, from Espresso's cache folder while no weight file has changed.

    Hashing takes seconds for a model of several GB. A file counts as unchanged if its path, size
    and modification time are the same. If the cache folder is not writable, the digest is computed
    each time.
    """
    from espresso.cache import default_folder  # noqa: PLC0415 - imports diskcache, which most callers do not need

    folder = folder.resolve()
    files = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in weight_files(folder)]
    entry = default_folder() / "digests" / f"{sha256(str(folder).encode()).hexdigest()[:16]}.json"
    try:
        cached = json.loads(entry.read_bytes())
        if cached["files"] == files:
            return str(cached["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no entry, or a damaged one, which is replaced
    digest = weights_digest(folder)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(entry, json.dumps({"files": files, "digest": digest}))
    except OSError:
        pass
    return digest


def recorded_base_digest(adapter: Path) -> str | None:
    """Return the digest of the weights that an adapter was trained on; None if not recorded."""
    try:
        digest = json.loads((adapter / PROVENANCE_FILE).read_bytes())["base_digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return digest if isinstance(digest, str) else None


def check_base(name: str, adapter: Path, base: Path) -> None:
    """Check that an adapter was trained on the weights of its base model.

    An adapter that does not record its base model is accepted.

    Args:
        name: name of the adapter in its profile, for the error message.
        adapter: folder of the adapter.
        base: folder of the base model.

    Raises:
        ModelError: the adapter was trained on other weights.
    """
    recorded = recorded_base_digest(adapter)
    if recorded is not None and recorded != (digest := cached_digest(base)):
        raise ModelError(
            f"adapter {name!r}: {adapter} was trained on weights with digest {recorded}, but those of {base} have {digest}. "
            "Restore the model that the adapter was trained on, or train the adapter again on this one."
        )
