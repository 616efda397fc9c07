"""Profiles: which model plays which role, one TOML file each, shipped in this folder or the user's own."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from espresso.errors import ProfileError
from espresso.schema import Record

_FOLDER = Path(__file__).parent
_ROLES = ("captioner", "selector", "reasoner", "judge", "embedder", "detector")


class LocalRole(Record):
    """A model in this process, on the transformers library.

    model: hub name, or a folder: one that starts with "./" is relative to the profile's file. adapters: name -> the same of a
    LoRA adapter; a reasoner's "evidence" and "answer" are its two stages. context_length: tokens, where less than the model's own
    is wanted. download: size in words ("4.3 GB").
    """

    backend: Literal["transformers"]
    model: str
    adapters: dict[str, str] = Field(default_factory=dict)
    context_length: int | None = Field(default=None, gt=0)
    download: str | None = None


class ServerRole(Record):
    """A model behind an OpenAI-compatible server.

    adapters: name -> the model name under which the server offers base and adapter together. context_length: tokens the server
    allows. picture_tokens: the most that one picture of the profile's frame size becomes. timeout: seconds for one try.
    concurrency: requests under way at once.
    """

    backend: Literal["openai"]
    model: str
    base_url: str
    api_key_env: str | None = None
    adapters: dict[str, str] = Field(default_factory=dict)
    context_length: int = Field(gt=0)
    picture_tokens: int = Field(gt=0)
    timeout: float = Field(default=120.0, gt=0)
    concurrency: int = Field(default=16, gt=0)


Role = Annotated[LocalRole | ServerRole, Field(discriminator="backend")]


class Profile(Record):
    """Models and habits of one setting.

    name: what `load` was asked for. about: one line, what it can and cannot do. download: size in words, "none" where nothing is
    loaded from the network. prompts: style of the templates. choose: how a reasoner picks among options: "letters" lists them and
    asks for one's letter; "texts" does not list them and weighs each as the reply, for models too small to know what a letter
    stands for (the cloze formulation of Gu et al., OLMES, 2024). direct: whether the reasoner answers straight from the frames,
    without evidence first, as what two stages are compared with does. sampling: plan of the frames that are captioned
    ("adaptive-16"). frame_size: longest side, in pixels, at which models see a frame. core_frames: the most frames that a
    selector may choose.
    """

    name: str
    about: str
    download: str
    prompts: Literal["tiny", "general"]
    choose: Literal["letters", "texts"] = "letters"
    direct: bool = False
    sampling: str
    frame_size: int = Field(gt=0)
    core_frames: int = Field(gt=0)
    captioner: Role
    selector: Role
    reasoner: Role
    judge: Role | None = None
    embedder: Role | None = None
    detector: Role | None = None


def names() -> list[str]:
    """List the shipped profiles."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load(name_or_path: str | Path) -> Profile:
    """Read a shipped profile by name, or the user's own by the path of its TOML file.

    Raises ProfileError for a name or file that does not exist and for a file that does not say what a profile must.
    """
    name = str(name_or_path)
    file = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]}?" if near else "Give one of these, or the path of a .toml file."
        raise ProfileError(f"no profile is called {name!r} (there are: {', '.join(names())}). {hint}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ProfileError(f"{file}: the profile cannot be read ({reason}). Give the path of a TOML file.") from error
    try:
        said = tomllib.loads(text)
        return Profile.model_validate(_with_folders(said, file.resolve().parent) | {"name": name})
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{file}: this is not TOML ({error}). Compare it with a shipped profile.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProfileError(f"{file}: {where or 'the file'}: {first['msg']}. Compare it with a shipped profile.") from error


def _with_folders(said: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Resolve "./" paths of models and adapters against the profile's folder."""

    def resolve(source: Any) -> Any:
        return str(folder / source) if isinstance(source, str) and source.startswith("./") else source

    for role in (said[name] for name in _ROLES if isinstance(said.get(name), dict)):
        if role.get("backend") == "transformers":
            role["model"] = resolve(role.get("model"))
            if isinstance(role.get("adapters"), dict):
                role["adapters"] = {name: resolve(source) for name, source in role["adapters"].items()}
    return said
