"""Install a trained model or adapter in a profile.

Trainings write to `checkpoints/`. `espresso finetune install FOLDER NAME` copies a result into the
folder of a profile, and checks that the profile's adapters still fit their base models.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import espresso
from espresso.errors import DataError
from espresso.files import replace_folder
from espresso.profiles import LocalRanker, LocalRole, Profile
from espresso.profiles.weights import recorded_base_digest, weights_digest

SHIPPED = Path(espresso.__file__).parent / "profiles"
"""Folder of the shipped profiles and their models."""
FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")
"""Files to copy; loss curves and predicted evidence are left out."""


def check_output(folder: Path) -> None:
    """Check before a training that its result can be written, and not over a shipped model.

    The folder above is created.

    Raises:
        DataError: the folder is one of a shipped profile, is a file, or cannot be written.
    """
    if folder.resolve().is_relative_to(SHIPPED.resolve()):
        raise DataError(
            f"{folder}: this folder belongs to the shipped profiles. Train into checkpoints/ and copy the result with "
            "`espresso finetune install`."
        )
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file, and the result needs a folder of this name. Move it or choose another --output.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent):
            pass
    except OSError as error:
        raise DataError(f"{folder.parent}: cannot be written ({error.strerror}). Choose another --output.") from None


def install(folder: Path, name: str, profile: Profile, *, force: bool = False) -> Path:
    """Copy a trained model or adapter into a profile, replacing the one there.

    The model card (README.md) of the replaced one is kept.

    Args:
        folder: folder of the trained model or adapter.
        name: folder name of a model or adapter of the profile, such as "vlm" or "evidence".
        profile: a profile with models in folders.
        force: install even if the profile then has adapters that were trained on another base
            model. Such a profile does not load.

    Returns:
        The folder that was replaced.

    Raises:
        DataError: the profile has no such model or adapter, `folder` does not contain one, or
            adapters of the profile were trained on another base model.
    """
    models, adapters = _folders(profile)
    target = models.get(name) or adapters.get(name, (None,))[0]
    if target is None:
        known = ", ".join([*models, *adapters]) or "none"
        raise DataError(f"profile {profile.name}: no model or adapter folder named {name!r} (available: {known}).")
    config = "config.json" if name in models else "adapter_config.json"
    if not (folder / config).is_file() or not any(folder.glob("*.safetensors")):
        kind = "model" if name in models else "adapter"
        raise DataError(f"{folder}: not a trained {kind} ({config} or the weights are missing). Give a training's output folder.")
    if not force:
        _check_adapters(folder, name, models, adapters)
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for pattern in FILES:
        for file in folder.glob(pattern):
            shutil.copyfile(file, part / file.name)
    replace_folder(part, target, keep=("README.md",))
    return target


def _folders(profile: Profile) -> tuple[dict[str, Path], dict[str, tuple[Path, Path]]]:
    """Return model folders, and (adapter folder, base model folder) pairs, by folder name."""
    models: dict[str, Path] = {}
    adapters: dict[str, tuple[Path, Path]] = {}
    for role in profile.roles.values():
        if isinstance(role, LocalRole) and Path(role.model).is_absolute():
            base = Path(role.model)
            models[base.name] = base
            adapters |= {Path(path).name: (Path(path), base) for path in role.adapters.values() if Path(path).is_absolute()}
    others = [role.model for role in (profile.verifier, profile.classifier) if role]
    if isinstance(profile.ranker, LocalRanker) and profile.ranker.head:
        others.append(profile.ranker.head)
    models |= {Path(folder).name: Path(folder) for folder in others if Path(folder).is_absolute()}
    return models, adapters


def _check_adapters(folder: Path, name: str, models: dict[str, Path], adapters: dict[str, tuple[Path, Path]]) -> None:
    """Check that adapters and base model fit after `folder` is installed as `name`."""
    if name in models:
        digest = weights_digest(folder)
        others = [adapter for adapter, (path, base) in adapters.items() if base == models[name] and _differs(path, digest)]
        if others:
            plural = len(others) > 1
            raise DataError(
                f"{folder}: the {'adapters' if plural else 'adapter'} {' and '.join(others)} in {models[name].parent} "
                f"{'were' if plural else 'was'} trained on other weights and will not load with this model. Install it "
                "with --force, then train the adapters on it (`espresso finetune evidence` and `answer`) and install them too."
            )
    else:
        _, base = adapters[name]
        if _differs(folder, weights_digest(base)):
            raise DataError(
                f"{folder}: this adapter was trained on other weights than those in {base}. Train it "
                f"on them (`espresso finetune evidence` and `answer`, with `model: {base}`), or first "
                "install its base model with --force."
            )


def _differs(adapter: Path, digest: str) -> bool:
    """Return whether an adapter records another base model than the one with this digest."""
    return recorded_base_digest(adapter) not in (None, digest)
