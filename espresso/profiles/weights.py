"""Tell models apart by their weights, so that nothing kept or served of one is taken for another's of the same name."""

from __future__ import annotations

import hashlib
from pathlib import Path


def identity(source: str | Path) -> str:
    """Name a model or adapter: a folder by its name and eight digits that change with its weights ("vlm@1f3c07aa").

    They are made of the sizes and the first MiB of each file. A hub name is its own.
    """
    folder = Path(source)
    if not folder.is_absolute():
        return str(source)
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        if file.exists():
            with file.open("rb") as opened:
                digest.update(f"{file.name} {file.stat().st_size}".encode() + opened.read(1 << 20))
    return f"{folder.name}@{digest.hexdigest()[:8]}"
