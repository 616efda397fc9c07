"""Replace files and folders atomically: readers see the old or the new content, never a part."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file through a temporary file in the same folder, replacing an existing one.

    The file gets mode 0644. If anything fails, the existing file is left as it is and the temporary
    file is removed.

    Args:
        path: the file to write. Its folder must exist.
        content: text, which is encoded as UTF-8 without newline translation, or bytes. What is not
            valid Unicode is written with escapes.

    Raises:
        OSError: the file cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")  # file systems limit a name's length
    temporary = Path(name)
    try:
        with open(handle, "wb") as file:
            file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_folder(new: Path, target: Path, *, keep: Sequence[str] = ()) -> None:
    """Move a complete folder to `target`, replacing an existing one.

    Args:
        new: the folder to move, on the same file system.
        target: where to move it.
        keep: glob patterns of files of the existing folder to keep, unless `new` has a file of that
            name.

    Raises:
        OSError: a file or folder cannot be written.
    """
    for pattern in keep:
        for file in target.glob(pattern):
            if file.is_file() and not (new / file.name).exists():
                shutil.copy2(file, new)
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
