"""Checkpoints that survive a kill: written aside, renamed once complete, verified before a resume.

A Trainer of transformers writes its files one after the other into `checkpoint-<step>`, so that a
kill leaves a part of a checkpoint, and it resumes from whatever files are there. With
`CompleteCheckpoints`, a checkpoint is written to the folder `incomplete` and renamed when all
processes have written their files; its `manifest.json` lists them with their digests.
`latest_checkpoint` returns the newest checkpoint whose files are all as they were written.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.schema import Record

logger = logging.getLogger(__name__)

TRAINING_FILE = "training.json"
"""File in the folder of checkpoints that says which training they belong to."""
MANIFEST_FILE = "manifest.json"
"""File in a checkpoint that lists its other files."""
INCOMPLETE = "incomplete"
"""Folder beside the checkpoints in which the next one is written."""
UNRELATED = ("output", "checkpoints", "max_length", "save_every", "workers", "threads")
"""Keys of a configuration that may change between a checkpoint and its resume. Rows that an earlier
`max_length` left out stay left out; see `left_out`."""
LEFT_OUT = "left_out"
"""Key in `training.json` of the rows that the training leaves out."""

_TORCH_WRITE_ERROR = re.compile("PytorchStreamWriter|inline_container|unexpected pos")
"""Messages of the RuntimeError that `torch.save` raises if a file cannot be written."""
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_NAME = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")


class File(Record):
    """A file of a checkpoint."""

    size: int
    """Bytes."""
    sha256: str


class Manifest(Record):
    """The content of a complete checkpoint."""

    training: str
    """Digest of the training that it belongs to."""
    step: int
    """Optimizer steps taken."""
    processes: int
    """Number of processes that wrote it; each has its own random state."""
    files: dict[str, File]
    """All other files, by their path in the checkpoint."""


def claim_checkpoints(folder: Path, training: Mapping[str, Any]) -> None:
    """Create the folder for a training's checkpoints, or check that it belongs to the training.

    The training is recorded in the folder as `training.json`.

    Args:
        folder: the folder. If it has checkpoints, they must belong to the same training, which is
            then resumed.
        training: JSON values that identify the training. Its `config` may differ in `UNRELATED`.

    Raises:
        DataError: the checkpoints belong to another training, or the folder cannot be written.
    """
    existing = _read_training(folder)
    if existing and has_checkpoints(folder):
        one, other = _identity(existing), _identity(training)
        if different := ", ".join(name for name in {**other, **one} if one.get(name) != other.get(name)):
            raise DataError(
                f"{folder}: contains checkpoints of another training (different: {different}). "
                "Remove the folder or choose another --output."
            )
    if folder.exists() and not folder.is_dir():
        raise DataError(
            f"{folder}: is a file, and the checkpoints need a folder of this name. Move it or choose another --output."
        )
    with writing(folder, "checkpoints"):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / TRAINING_FILE, json.dumps(training, indent=2, sort_keys=True) + "\n")


def left_out(folder: Path) -> dict[str, str] | None:
    """Return the rows that the training of these checkpoints leaves out: key -> reason.

    None means that there are no checkpoints, so that a training can choose its rows.
    """
    return _read_training(folder).get(LEFT_OUT, {}) if has_checkpoints(folder) else None


def has_checkpoints(folder: Path) -> bool:
    """Return whether a folder has checkpoints, complete or not; an empty folder is none."""
    return any(checkpoint.is_dir() and any(checkpoint.iterdir()) for checkpoint in _checkpoints(folder))


def latest_checkpoint(folder: Path, *, processes: int = 1, quiet: bool = False) -> str | None:
    """Return the newest complete checkpoint; None starts the training from the beginning.

    One sentence in the log names the checkpoints that are not complete.

    Args:
        folder: an existing folder of checkpoints.
        processes: number of processes that will resume.
        quiet: whether to log nothing, as all processes but the first.
    """
    skipped, found = list[str](), None
    for checkpoint in _checkpoints(folder):
        if problem := _problem(checkpoint):
            skipped.append(f"{checkpoint.name} ({problem})")
        else:
            found = checkpoint
            break
    if quiet:
        return str(found) if found else None
    if skipped:
        instead = f"resuming from {found.name}, the newest complete one" if found else "starting from the beginning"
        logger.warning("%s: cannot resume from %s; %s.", folder, ", ".join(skipped), instead)
    if found and (manifest := _read_manifest(found)) and manifest.processes != processes:
        logger.warning(
            "%s was written by %d processes, and %d resume: their random states are new, so dropout differs.",
            found,
            manifest.processes,
            processes,
        )
    return str(found) if found else None


@contextmanager
def writing(folder: Path, what: str) -> Iterator[None]:
    """Turn errors of writing in a folder into one sentence.

    Args:
        folder: the folder, for the message.
        what: what is written, such as "a checkpoint".

    Raises:
        DataError: something cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError):
            if not _TORCH_WRITE_ERROR.search(str(error)):
                raise
            reason = "PyTorch wrote a part of a file"
        else:
            reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        cure = "Make the folder writable" if getattr(error, "errno", None) in _NOT_WRITABLE else "Free disk space"
        raise DataError(f"{folder}: cannot write {what} ({reason}). {cure} and run the same command to resume.") from error


class CompleteCheckpoints(Trainer):
    """A Trainer whose checkpoints are complete or absent, also if it is killed while it saves.

    Its `output_dir` is a folder that `claim_checkpoints` created. One checkpoint is kept. A resume
    from the checkpoint of the last step takes no further step.
    """

    _aside = False

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Run an epoch, unless the training is at its end, which Trainer checks after a step."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _get_output_dir(self, trial: Any) -> Any:
        folder = super()._get_output_dir(trial)
        return os.path.join(str(folder), INCOMPLETE) if self._aside else folder

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint aside, rename it, and remove the others.

        Raises:
            DataError: it cannot be written.
        """
        folder = Path(str(self.args.output_dir))
        aside = folder / INCOMPLETE
        with writing(folder, "a checkpoint"):
            if self.is_world_process_zero():
                _remove(aside)  # left by a training that was killed while it saved
            self.accelerator.wait_for_everyone()
            self._aside = True
            try:
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.is_world_process_zero():
                    self._publish(aside, folder)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)  # free the disk
                raise
            finally:
                self._aside = False

    def _publish(self, aside: Path, folder: Path) -> None:
        """Complete the checkpoint in `aside` and move it to `folder`, in place of all others."""
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        files = {
            str(file.relative_to(aside / name)): _flush(file) for file in sorted((aside / name).rglob("*")) if file.is_file()
        }
        manifest = Manifest(
            training=_digest(_read_training(folder)), step=self.state.global_step, processes=self.args.world_size, files=files
        )
        write_atomic(aside / name / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
        _flush(aside / name / MANIFEST_FILE)
        # The checkpoint before stays until this one has its name: a kill at any point leaves one of
        # them. One of the same name is damaged, or it would have been resumed.
        _remove(folder / name)
        (aside / name).rename(folder / name)
        _flush_folder(folder)
        for other in (*_checkpoints(folder), aside):
            if other != folder / name:
                _remove(other)


def _checkpoints(folder: Path) -> list[Path]:
    """Return everything that is named like a checkpoint, the newest first."""
    steps = {path: int(name[1]) for path in folder.iterdir() if (name := _NAME.fullmatch(path.name))} if folder.is_dir() else {}
    return sorted(steps, key=lambda path: -steps[path])


def _remove(path: Path) -> None:
    """Remove a folder or a file, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(file: Path) -> File:
    """Flush a file to the disk, so that it is complete after a power failure; describe it."""
    digest = sha256()
    with file.open("r+b") as opened:
        while block := opened.read(1 << 24):
            digest.update(block)
        os.fsync(opened.fileno())
    return File(size=file.stat().st_size, sha256=digest.hexdigest())


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _read_training(folder: Path) -> dict[str, Any]:
    """Return what `training.json` records; empty if it is missing or damaged."""
    try:
        training = json.loads((folder / TRAINING_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return training if isinstance(training, dict) else {}


def _identity(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be the same to resume a training."""
    config = {name: value for name, value in training.get("config", {}).items() if name not in UNRELATED}
    return {name: value for name, value in training.items() if name != LEFT_OUT} | ({"config": config} if config else {})


def _digest(training: Mapping[str, Any]) -> str:
    return sha256(json.dumps(_identity(training), sort_keys=True).encode()).hexdigest()[:16]


def _read_manifest(checkpoint: Path) -> Manifest | None:
    """Read a checkpoint's manifest; None if there is none. Raises ValidationError, OSError."""
    file = checkpoint / MANIFEST_FILE
    return Manifest.model_validate_json(file.read_bytes()) if file.exists() else None


def _problem(checkpoint: Path) -> str | None:
    """Return why a checkpoint cannot be resumed; None if it is complete."""
    try:
        if not any(checkpoint.iterdir()):
            return "empty"
        manifest = _read_manifest(checkpoint)
        return _problem_of_an_earlier_version(checkpoint) if manifest is None else _difference(checkpoint, manifest)
    except ValidationError:
        return f"{MANIFEST_FILE} is damaged"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _difference(checkpoint: Path, manifest: Manifest) -> str | None:
    """Return how a checkpoint differs from its manifest; None if it does not."""
    if manifest.training != _digest(_read_training(checkpoint.parent)):
        return "of another training"
    if f"{PREFIX_CHECKPOINT_DIR}-{manifest.step}" != checkpoint.name:
        return f"of step {manifest.step}"
    return next((why for name, file in manifest.files.items() if (why := _damage(checkpoint / name, file))), None)


def _damage(path: Path, file: File) -> str | None:
    """Return what happened to a file since it was written; None if it is the same."""
    if not path.is_file():
        return f"{path.name} is missing"
    if (size := path.stat().st_size) != file.size:
        return f"{path.name} is empty" if not size else f"{path.name} has {size} bytes instead of {file.size}"
    digest = sha256()
    with path.open("rb") as opened:
        while block := opened.read(1 << 24):
            digest.update(block)
    return None if digest.hexdigest() == file.sha256 else f"{path.name} is damaged"


def _problem_of_an_earlier_version(checkpoint: Path) -> str | None:
    """Check a checkpoint without a manifest: what a resume needs is there and can be read."""
    needed = ["trainer_state.json", "optimizer*", "scheduler.pt", "rng_state*.pth", "*model*"]
    if any(checkpoint.glob("adapter_model.*")):
        needed.append("adapter_config.json")
    if absent := next((pattern for pattern in needed if not any(checkpoint.glob(pattern))), None):
        return f"{absent} is missing"
    for file in sorted(path for path in checkpoint.iterdir() if path.is_file()):
        try:
            match file.suffix:
                case ".json":
                    json.loads(file.read_bytes())
                case ".safetensors":
                    with safe_open(str(file), framework="numpy"):
                        pass
                case ".pt" | ".pth" | ".bin":
                    with zipfile.ZipFile(file) as archive:
                        if archive.testzip():
                            return f"{file.name} is damaged"
        except (ValueError, SafetensorError, zipfile.BadZipFile):
            return f"{file.name} is damaged"
    return None
