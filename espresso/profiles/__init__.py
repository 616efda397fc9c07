"""Profiles: which model has which role. Each is a TOML file, shipped here or written by the user.

`tiny` runs its models in this process. `tiny@localhost:8000` uses the same models on the servers
that `espresso serve models --profile tiny` starts.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, ValidationError, model_validator

from espresso.errors import ProfileError
from espresso.profiles.address import check_address
from espresso.profiles.weights import identity
from espresso.schema import Record

CHAT_ROLES = ("captioner", "selector", "reasoner", "judge", "writer", "detector")
SERVED_CONCURRENCY = 64
"""Concurrent requests to a vLLM server, which queues them; 1.67 times the throughput of 16."""

Address = Annotated[str, AfterValidator(check_address)]
"""Address of an OpenAI-compatible API."""

OptionalParameter = Literal[
    "logprobs",
    "top_logprobs",
    "temperature",
    "seed",
    "max_completion_tokens",
    "max_tokens",
    "response_format",
    "structured_outputs",
    "prompt_logprobs",
]
"""A parameter of a request that a server may not accept."""

_FOLDER = Path(__file__).parent
_ROLES = (*CHAT_ROLES, "embedder", "ranker", "classifier", "verifier")


class LocalRole(Record):
    """A model in this process, run by the transformers library."""

    backend: Literal["transformers"]
    """Selects this kind of role."""

    model: str
    """Hub name or folder. A folder that starts with "./" is relative to the profile's file."""

    adapters: dict[str, str] = Field(default_factory=dict)
    """Adapter name -> hub name or folder of a LoRA adapter, resolved like `model`.

    A reasoner's "evidence" and "answer" are its two stages; a judge's adapter is called "judge".
    """

    context_length: int | None = Field(default=None, gt=0)
    """Context length in tokens; None is the model's own. Required for serving."""

    download: str | None = None
    """Size of the download in words, such as "4.3 GB"."""

    picture_tokens: int | None = Field(default=None, gt=0)
    """Maximum number of tokens of a picture at the profile's frame size. Required for serving."""

    image_options: dict[str, Any] | None = None
    """Keyword arguments of the model's image processor, in this process and on a server.

    They are part of the key of cached captions. None is the options that keep a picture in one
    piece, where the processor would split it into tiles.
    """

    extra_tokens: int = Field(default=0, ge=0)
    """Tokens that each reply may be longer than the answer graph allows (128 for a caption).

    A model that thinks before it replies needs hundreds or thousands.
    """

    cache_gb: int = Field(default=4, gt=0)
    """Size in GiB of the server's KV cache, divided over its GPUs."""

    overhead_gb: int = Field(default=4, gt=0)
    """GiB of each GPU that a server needs besides weights and KV cache.

    The CUDA context, activations and CUDA graphs take 2 to 4 GiB for a model of up to 8B.
    """

    tensor_parallel: int = Field(default=1, gt=0)
    """Number of GPUs over which the server splits the model. Must divide its attention heads."""

    devices: tuple[NonNegativeInt, ...] | None = None
    """GPUs of the server, numbered as by `nvidia-smi`; None is those with the most free memory.

    If CUDA_VISIBLE_DEVICES is set, they are positions in its list.
    """

    @model_validator(mode="after")
    def _devices_match(self) -> Self:
        if self.devices is not None and len(set(self.devices)) != self.tensor_parallel:
            raise ValueError(f"devices must name {self.tensor_parallel} different GPUs, as many as tensor_parallel")
        return self


class ServerRole(Record):
    """A model behind an OpenAI-compatible server."""

    backend: Literal["openai"]
    """Selects this kind of role."""

    model: str
    """Name under which the server offers the model."""

    base_url: Address
    """Address of the API, such as "https://api.openai.com/v1"."""

    api_key_env: str | None = None
    """Environment variable that holds the API key; None if the server needs none."""

    adapters: dict[str, str] = Field(default_factory=dict)
    """Adapter name -> model name under which the server offers the base model with this adapter."""

    context_length: int = Field(gt=0)
    """Context length in tokens that the server allows."""

    picture_tokens: int = Field(gt=0)
    """Maximum number of tokens of one picture at the profile's frame size."""

    timeout: float = Field(default=120.0, gt=0)
    """Timeout in seconds of one attempt."""

    concurrency: int = Field(default=16, gt=0)
    """Maximum number of concurrent requests."""

    extra_tokens: int = Field(default=0, ge=0)
    """Tokens that each reply may be longer than the answer graph allows (128 for a caption).

    A model that thinks before it replies needs hundreds or thousands.
    """

    omit: tuple[OptionalParameter, ...] = ()
    """Parameters that the server does not accept.

    They are found out by themselves if the server's error names them. Without
    `max_completion_tokens`, the older `max_tokens` is sent; without `response_format`, the prompt
    asks for JSON.
    """

    extra_body: dict[str, Any] | None = None
    """Fields added to each request, such as { reasoning_effort = "low" }.

    They are part of the key of cached captions.
    """

    image_options: dict[str, Any] | None = None
    """Options of the server's image processor, for the key of cached captions; None if unknown."""

    weights: str | None = None
    """Hub name or folder of the served weights, to compute FLOPs; None if unknown."""

    price_in: float | None = Field(default=None, ge=0)
    """Price of a million input tokens in dollars; None if the service is free."""

    price_out: float | None = Field(default=None, ge=0)
    """Price of a million output tokens in dollars; None if the service is free."""


Role = Annotated[LocalRole | ServerRole, Field(discriminator="backend")]


class LocalEmbedder(Record):
    """A sentence embedder in this process."""

    backend: Literal["transformers"]
    """Selects this kind of embedder."""

    model: str
    """Hub name or folder, as in `LocalRole`."""

    pooling: Literal["mean", "first"] = "mean"
    """Sentence embedding: the mean of all token embeddings, or the first one."""

    same_above: float = Field(default=0.9, gt=0, le=1)
    """Cosine similarity above which two captions say the same; depends on the model."""

    download: str | None = None
    """Size of the download in words."""


class ServerEmbedder(Record):
    """A sentence embedder behind an OpenAI-compatible server."""

    backend: Literal["openai"]
    """Selects this kind of embedder."""

    model: str
    """Name under which the server offers the model."""

    base_url: Address
    """Address of the API."""

    api_key_env: str | None = None
    """Environment variable that holds the API key; None if the server needs none."""

    same_above: float = Field(default=0.9, gt=0, le=1)
    """Cosine similarity above which two captions say the same; depends on the model."""


EmbedderRole = Annotated[LocalEmbedder | ServerEmbedder, Field(discriminator="backend")]


class LocalRanker(LocalEmbedder):
    """A sentence embedder in this process that ranks captions, with or without a trained head."""

    head: str | None = None
    """Folder of a trained selector (`agents.ranking.head`) that reads this embedder's vectors,
    resolved like `model`. None ranks by cosine similarity."""


RankerRole = Annotated[LocalRanker | ServerEmbedder, Field(discriminator="backend")]


class ZeroShotDetector(Record):
    """An open-vocabulary object detector in this process, such as GroundingDINO or OWLv2."""

    backend: Literal["zero-shot-object-detection"]
    """Selects this kind of detector, by the name of the task in transformers."""

    model: str
    """Hub name or folder, as in `LocalRole`."""

    min_score: float = Field(default=0.3, gt=0, lt=1)
    """Score from which a detection counts; depends on the model."""

    download: str | None = None
    """Size of the download in words."""


class ZeroShotClassifier(Record):
    """A model of pictures and texts in this process, such as CLIP or SigLIP."""

    backend: Literal["zero-shot-image-classification"]
    """Selects this kind of verifier, by the name of the task in transformers."""

    model: str
    """Hub name or folder, as in `LocalRole`."""

    download: str | None = None
    """Size of the download in words."""


class FusionRole(Record):
    """A fusion classifier in this process, see `espresso.fusion`."""

    model: str
    """Hub name or folder, as in `LocalRole`."""

    download: str | None = None
    """Size of the download in words."""


DetectorRole = Annotated[LocalRole | ServerRole | ZeroShotDetector, Field(discriminator="backend")]


class Profile(Record):
    """The models of all roles and the settings that depend on them."""

    name: str
    """The name or path that was given to `load`."""

    about: str
    """One line: what the profile can and cannot do."""

    download: str
    """Size of all downloads in words; "none" if nothing is downloaded."""

    prompts: Literal["tiny", "general"]
    """Style of the prompt templates: a folder of `prompts`."""

    choose: Literal["letters", "texts"] = "letters"
    """How the reasoner chooses an option.

    "letters" lists the options and asks for a letter. "texts" does not list them and scores each as
    the reply, for models too small to relate letters to options (the cloze formulation of Gu et
    al., OLMES, 2024).
    """

    direct: bool = False
    """Answer from the frames in one step, without evidence: the baseline of the two stages."""

    world_only: bool = False
    """The models know only clips of `espresso.world`.

    Questions about other clips are refused or, if the caller allows them, answered with a warning
    and without confidence.
    """

    judge_compares: bool = True
    """The judge can compare two answers. False for a judge that only scores single answers."""

    strategy: Literal["selector", "classifier"] = "selector"
    """How questions are answered if the caller does not choose, see `espresso.options.Strategy`."""

    sampling: str
    """Sampling plan of the captioned frames, such as "adaptive-16"; see `media.parse_plan`."""

    frame_size: int = Field(gt=0)
    """Longest side in pixels of the frames that models see."""

    core_frames: int = Field(gt=0)
    """Maximum number of core frames that the selector may choose."""

    captioner: Role
    """Captions the sampled frames."""

    selector: Role
    """Selects core frames from the captions; a language model is enough."""

    select_by: Literal["llm", "embedding", "hybrid"] = "llm"
    """How core frames are selected.

    "llm": the selector reads the captions (VideoEspresso, section 4). "embedding": the ranker
    scores the captions, and no selector is asked. "hybrid": the selector reads the captions that
    the ranker scores highest. With a ranker, "llm" becomes "hybrid" for a question whose captions
    exceed the selector's context.
    """

    ranker: RankerRole | None = None
    """Scores captions by their relevance to a question; required unless `select_by` is "llm"."""

    captions_between: bool = False
    """Give the reasoner the captions of the frames between the core frames as text (Fang et al.,
    "Threading Keyframe with Narratives" (Nar-KFC), 2025)."""

    reasoner: Role
    """Writes the evidence and the answer from the core frames."""

    judge: Role | None = None
    """Scores answers against a reference; None if the profile cannot judge."""

    embedder: EmbedderRole | None = None
    """Embeds sentences for `espresso eval run --protocol open`; None if that is not supported."""

    writer: Role | None = None
    """Writes, filters and annotates questions for `espresso annotate`; a language model is enough.
    None if the profile cannot construct datasets."""

    detector: DetectorRole | None = None
    """Finds the boxes of key items for `espresso annotate`: a detector, or a vision-language model
    that writes boxes. None if boxes are left out."""

    classifier: FusionRole | None = None
    """Says whether a statement about two visuals is true, or solves puzzles of one picture, for the
    strategy `classifier`; None if the profile has none."""

    verifier: ZeroShotClassifier | None = None
    """Checks that a box shows what its label says, as CLIP does in VideoEspresso. None keeps boxes
    unchecked."""

    @model_validator(mode="after")
    def _has_ranker(self) -> Self:
        if self.select_by != "llm" and self.ranker is None:
            raise ValueError(f'select_by = "{self.select_by}" needs a [ranker]')
        return self

    @property
    def roles(self) -> dict[str, LocalRole | ServerRole]:
        """The models that chat, by role."""
        defined = {name: getattr(self, name) for name in CHAT_ROLES}
        return {name: role for name, role in defined.items() if isinstance(role, LocalRole | ServerRole)}


def names() -> list[str]:
    """Return the names of the shipped profiles, sorted."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load(profile: str | Path | Profile | None = None) -> Profile:
    """Load a profile.

    Args:
        profile: name of a shipped profile or path of a TOML file, either optionally followed by
            "@host:port", the address of the servers that run its models. None is the environment
            variable ESPRESSO_PROFILE, else "tiny". A Profile is returned as it is.

    Raises:
        ProfileError: the profile does not exist or is invalid.
    """
    if isinstance(profile, Profile):
        return profile
    if profile is None:
        profile = os.environ.get("ESPRESSO_PROFILE") or "tiny"
    name, at, address = str(profile).rpartition("@")
    if at and "/" not in address and not address.endswith(".toml"):  # otherwise the @ is part of the path
        return at_address(_read(name), address)
    return _read(str(profile))


def _read(name: str) -> Profile:
    file = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]}?" if near else "Use one of these, or the path of a .toml file."
        raise ProfileError(f"unknown profile {name!r} (available: {', '.join(names())}). {hint}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ProfileError(f"{file}: cannot read the profile ({reason}). Give the path of a TOML file.") from error
    try:
        content = tomllib.loads(text)
        return Profile.model_validate(_with_folders(content, file.resolve().parent) | {"name": name})
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{file}: invalid TOML ({error}). Compare it with a shipped profile.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        fault = first["msg"].removeprefix("Value error, ")
        raise ProfileError(f"{file}: {where or 'the file'}: {fault}. Compare it with a shipped profile.") from error


def unique_models(profile: Profile) -> dict[str, LocalRole | ServerRole]:
    """Return the models that a profile needs, each with the adapters of all roles that share it.

    Roles that differ only in their adapters share a model.

    Returns:
        `model_key` -> the model, in the order of the roles.

    Raises:
        ProfileError: two roles use the same name for different adapters.
    """
    models: dict[str, LocalRole | ServerRole] = {}
    for role in profile.roles.values():
        model = models.setdefault(model_key(role), role)
        if clash := next((name for name, path in role.adapters.items() if model.adapters.get(name, path) != path), None):
            raise ProfileError(
                f"profile {profile.name}: two roles of {role.model} define different adapters named {clash!r}. "
                "Rename one of them."
            )
        models[model_key(role)] = model.model_copy(update={"adapters": model.adapters | role.adapters})
    return models


def model_key(role: LocalRole | ServerRole) -> str:
    """Return a key that is equal for roles that can share a model."""
    return role.model_dump_json(exclude={"adapters", "price_in", "price_out"})


def at_address(profile: Profile, address: str) -> Profile:
    """Return the profile with its local models behind servers.

    The first model is at `address`, each further one at the next port. Models and adapters are
    requested by `identity`, so a server with other weights is rejected.

    Args:
        profile: a profile whose local roles define context_length and picture_tokens.
        address: "host:port".

    Raises:
        ProfileError: the address is malformed, or a local role lacks a value that serving needs.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ProfileError(f"{profile.name}@{address}: invalid address. Use {profile.name}@host:port, such as @localhost:8000.")
    local = [key for key, role in unique_models(profile).items() if isinstance(role, LocalRole)]
    try:
        for offset in range(max(len(local), 1)):
            check_address(f"http://{host}:{int(port) + offset}/v1")
    except ValueError as error:
        raise ProfileError(f"{profile.name}@{address}: {error}. Use @host:port, such as @localhost:8000.") from error

    def served(role: LocalRole | ServerRole) -> LocalRole | ServerRole:
        if isinstance(role, ServerRole):
            return role
        if role.context_length is None or role.picture_tokens is None:
            missing = "context_length" if role.context_length is None else "picture_tokens"
            raise ProfileError(f"profile {profile.name}: {missing} is required to serve {role.model}. Add it to its role.")
        return ServerRole(
            backend="openai",
            model=identity(role.model),
            base_url=f"http://{host}:{int(port) + local.index(model_key(role))}/v1",
            adapters={name: identity(source) for name, source in role.adapters.items()},
            context_length=role.context_length,
            picture_tokens=role.picture_tokens,
            image_options=role.image_options,
            extra_tokens=role.extra_tokens,
            concurrency=SERVED_CONCURRENCY,
            weights=role.model,
        )

    roles = {name: served(role) for name, role in profile.roles.items()}
    return profile.model_copy(update={"name": f"{profile.name}@{address}", **roles})


def _with_folders(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Resolve "./" paths of models and adapters against the profile's folder."""

    def resolve(source: Any) -> Any:
        return str(folder / source) if isinstance(source, str) and source.startswith("./") else source

    for role in (content[name] for name in _ROLES if isinstance(content.get(name), dict)):
        if role.get("backend") != "openai":
            role["model"] = resolve(role.get("model"))
            if "head" in role:
                role["head"] = resolve(role["head"])
            if isinstance(role.get("adapters"), dict):
                role["adapters"] = {name: resolve(source) for name, source in role["adapters"].items()}
    return content
