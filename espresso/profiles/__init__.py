"""Profiles: which model plays which role, one TOML file each, shipped in this folder or the user's own.

`tiny` has its models in this process; `tiny@localhost:8000` has the same ones where `espresso serve models --profile tiny`
serves them.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from espresso.errors import ProfileError
from espresso.profiles.weights import identity
from espresso.schema import Record

_FOLDER = Path(__file__).parent
CHAT_ROLES = ("captioner", "selector", "reasoner", "judge")
_ROLES = (*CHAT_ROLES, "embedder", "detector")
SERVED_AT_ONCE = 64
"""Requests under way at a vLLM server, which batches what it can and lets the rest wait: two thirds more answers than with 16."""


class LocalRole(Record):
    """A model in this process, on the transformers library.

    model: hub name, or a folder: one that starts with "./" is relative to the profile's file. adapters: name -> the same of a
    LoRA adapter; a reasoner's "evidence" and "answer" are its two stages, "judge" is a judge's. context_length: tokens, where
    less than the model's own is wanted. download: size in words ("4.3 GB"). Where it is served, context_length must be said, and
    so must picture_tokens, the most that one picture of the profile's frame size becomes; cache_gb: what the server may take for
    keys and values.
    """

    backend: Literal["transformers"]
    model: str
    adapters: dict[str, str] = Field(default_factory=dict)
    context_length: int | None = Field(default=None, gt=0)
    download: str | None = None
    picture_tokens: int | None = Field(default=None, gt=0)
    cache_gb: int = Field(default=4, gt=0)


class ServerRole(Record):
    """A model behind an OpenAI-compatible server.

    adapters: name -> the model name under which the server offers base and adapter together. context_length: tokens the server
    allows. picture_tokens: the most that one picture of the profile's frame size becomes. timeout: seconds for one try.
    concurrency: requests under way at once. weights: hub name or folder of what is served, to tell what an answer costs.
    price_in, price_out: dollars a million tokens, read and written, where the service is paid.
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
    weights: str | None = None
    price_in: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)


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

    @property
    def roles(self) -> dict[str, LocalRole | ServerRole]:
        """Its chat roles by name, those that it has."""
        return {name: role for name in CHAT_ROLES if (role := getattr(self, name))}


def names() -> list[str]:
    """List the shipped profiles."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load(name_or_path: str | Path) -> Profile:
    """Read a shipped profile by name, or the user's own by the path of its TOML file, either with an "@host:port" behind it.

    Raises ProfileError for a name or file that does not exist and for a file that does not say what a profile must.
    """
    name, at, address = str(name_or_path).rpartition("@")
    if at and "/" not in address and not address.endswith(".toml"):  # else the @ is the path's own
        return served(_read(name), address)
    return _read(str(name_or_path))


def _read(name: str) -> Profile:
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


def shared(profile: Profile) -> dict[str, LocalRole | ServerRole]:
    """The models that a profile needs, in the order of its roles, each with the adapters of all roles that share it.

    Keyed by `bare`. Roles that differ in nothing but adapters share a model. Raises ProfileError where two of them mean
    different adapters by one name.
    """
    models: dict[str, LocalRole | ServerRole] = {}
    for role in profile.roles.values():
        held = models.setdefault(bare(role), role)
        if clash := next((name for name, path in role.adapters.items() if held.adapters.get(name, path) != path), None):
            raise ProfileError(
                f"profile {profile.name}: two roles of {role.model} have an adapter {clash!r}. Rename one of them."
            )
        models[bare(role)] = held.model_copy(update={"adapters": held.adapters | role.adapters})
    return models


def bare(role: LocalRole | ServerRole) -> str:
    """What two roles must have in common to share a model."""
    return role.model_dump_json(exclude={"adapters", "price_in", "price_out"})


def served(profile: Profile, address: str) -> Profile:
    """The same profile with its local models behind servers: the first at "host:port", each further one a port higher.

    Models and adapters are asked for by identity: a server of other weights is not mistaken for theirs.
    Raises ProfileError for an address that is none and a model of which too little is said to ask a server for it.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ProfileError(f"{profile.name}@{address}: not an address. Give {profile.name}@host:port, such as @localhost:8000.")
    local = [key for key, role in shared(profile).items() if isinstance(role, LocalRole)]

    def at_server(role: LocalRole | ServerRole) -> LocalRole | ServerRole:
        if isinstance(role, ServerRole):
            return role
        if role.context_length is None or role.picture_tokens is None:
            lacking = "context_length" if role.context_length is None else "picture_tokens"
            raise ProfileError(
                f"profile {profile.name}: {role.model} cannot be served without its {lacking}. Add it to its role."
            )
        return ServerRole(
            backend="openai",
            model=identity(role.model),
            base_url=f"http://{host}:{int(port) + local.index(bare(role))}/v1",
            adapters={name: identity(source) for name, source in role.adapters.items()},
            context_length=role.context_length,
            picture_tokens=role.picture_tokens,
            concurrency=SERVED_AT_ONCE,
            weights=role.model,
        )

    roles = {name: at_server(role) for name, role in profile.roles.items()}
    return profile.model_copy(update={"name": f"{profile.name}@{address}", **roles})


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
