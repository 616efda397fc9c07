"""The models of a profile, each in its role."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from espresso.errors import ProfileError
from espresso.models.chat import ChatModel
from espresso.models.embedder import Embedder, embedding
from espresso.models.transformers_model import LocalModel
from espresso.profiles import LocalRole, Profile, Role, bare, shared

HERE = ("localhost", "127.0.0.1")
"""Hosts at which a server that is down can be started by whoever asks."""


@dataclass
class Roles:
    """Who captions, who selects, who reasons, who judges, and who tells how near two texts are.

    adapters: "evidence" and "answer" -> the name of the reasoner's adapter for that stage, "judge" -> the judge's; one that is
    absent uses the base.
    """

    captioner: ChatModel
    selector: ChatModel
    reasoner: ChatModel
    judge: ChatModel | None = None
    embedder: Embedder | None = None
    adapters: dict[str, str] = field(default_factory=dict)

    def preload(self) -> None:
        """Begin to load the local models that answer in the background; errors wait for the first use. The judge comes later."""
        for model in (self.captioner, self.selector, self.reasoner):
            if isinstance(model, LocalModel):
                model.preload()

    async def aclose(self) -> None:
        """Close every model once."""
        for model in self._models():
            await model.aclose()

    def _models(self) -> list[ChatModel]:
        models = (self.captioner, self.selector, self.reasoner, self.judge)
        return list({id(model): model for model in models if model is not None}.values())


def connect(profile: Profile) -> Roles:
    """Bring a profile's models to hand; nothing is loaded or asked before it is used.

    Roles that differ in nothing but adapters share one model. Raises ProfileError where a key that the profile names is not set
    in the environment, and where two roles mean different adapters by one name.
    """
    models = {key: _model(role, profile) for key, role in shared(profile).items()}

    def model(role: Role) -> ChatModel:
        return models[bare(role)]

    return Roles(
        captioner=model(profile.captioner),
        selector=model(profile.selector),
        reasoner=model(profile.reasoner),
        judge=model(profile.judge) if profile.judge else None,
        embedder=embedding(profile.embedder) if profile.embedder else None,
        adapters={name: name for role in (profile.reasoner, profile.judge) if role for name in role.adapters},
    )


def _model(role: Role, profile: Profile) -> ChatModel:
    if isinstance(role, LocalRole):
        return LocalModel(role.model, adapters=role.adapters, context_length=role.context_length, download=role.download)
    key = os.environ.get(role.api_key_env) if role.api_key_env else None
    if role.api_key_env and not key:
        raise ProfileError(
            f"profile {profile.name}: {role.model} needs a key. Put it into the environment as {role.api_key_env}."
        )
    from espresso.models.openai_client import ServerModel  # noqa: PLC0415 - the OpenAI SDK takes a second to import

    name, _, address = profile.name.rpartition("@")
    host, _, port = address.rpartition(":")
    return ServerModel(
        role.model,
        base_url=role.base_url,
        api_key=key,
        adapters=role.adapters,
        context_length=role.context_length,
        picture_tokens=role.picture_tokens,
        timeout=role.timeout,
        concurrency=role.concurrency,
        start_with=f"espresso serve models --profile {name} --port {port}" if host in HERE else None,
    )
