"""The models of a profile by role."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from espresso.errors import ProfileError
from espresso.fusion.classifier import FusionClassifier
from espresso.models.chat import ChatModel
from espresso.models.embedder import Embedder, make_embedder
from espresso.models.transformers_model import TransformersModel
from espresso.models.zero_shot import ObjectDetector, PictureClassifier
from espresso.profiles import LocalRole, Profile, Role, ZeroShotDetector, model_key, unique_models
from espresso.profiles.address import check_key

LOCAL_HOSTS = ("localhost", "127.0.0.1")
"""For a server on one of these hosts, the error that it is down says how to start it."""


@dataclass
class Roles:
    """The models of a profile. One model can have several roles."""

    captioner: ChatModel

    selector: ChatModel

    reasoner: ChatModel

    judge: ChatModel | None = None

    embedder: Embedder | None = None
    """Measures how similar two texts are."""

    ranker: Embedder | None = None
    """Scores captions by their relevance to a question."""

    writer: ChatModel | None = None
    """Writes and filters questions."""

    classifier: FusionClassifier | None = None
    """Says whether statements about two visuals are true."""

    detector: ChatModel | ObjectDetector | None = None
    """Finds boxes of objects."""

    verifier: PictureClassifier | None = None
    """Checks what a box shows."""

    adapters: dict[str, str] = field(default_factory=dict)
    """Stage -> adapter name: "evidence" and "answer" of the reasoner, "judge" of the judge,
    "ground" of the detector.

    A stage without an entry uses the base model.
    """

    def preload(self, *, selects: bool = True) -> None:
        """Start to load local models in the background, while a clip is decoded.

        The captioner is not among them, because captions may be cached; nor is the judge, which is
        needed last. An error is raised at the first use of the model.

        Args:
            selects: whether to load the selector besides the reasoner.
        """
        for model in self._models(self.reasoner, self.selector if selects else None):
            if isinstance(model, TransformersModel):
                model.preload()

    async def disconnect(self) -> None:
        """Close the connections of the running event loop; the next request opens new ones."""
        for model in self._chat_models():
            await model.disconnect()

    def close(self) -> None:
        """Free all weights and worker threads. Closed models cannot be used again."""
        for model in (*self._chat_models(), self.embedder, self.ranker, self.classifier, self.verifier, self.detector):
            if model is not None:
                model.close()

    def _chat_models(self) -> list[ChatModel]:
        """Return each model that chats once."""
        detector = None if isinstance(self.detector, ObjectDetector) else self.detector
        return self._models(self.captioner, self.selector, self.reasoner, self.judge, self.writer, detector)

    @staticmethod
    def _models(*models: ChatModel | None) -> list[ChatModel]:
        """Return each model once."""
        return list({id(model): model for model in models if model is not None}.values())


def connect(profile: Profile) -> Roles:
    """Create the models of a profile. Nothing is loaded or contacted before the first use.

    Roles that differ only in adapters share one model.

    Raises:
        ProfileError: the profile names an API key that is not set in the environment or cannot be
            sent, or two roles use one name for different adapters.
    """
    models = {key: _model(role, profile) for key, role in unique_models(profile).items()}

    def model(role: Role) -> ChatModel:
        return models[model_key(role)]

    detector: ChatModel | ObjectDetector | None = None
    if profile.detector:
        role = profile.detector
        detector = ObjectDetector(role) if isinstance(role, ZeroShotDetector) else model(role)
    return Roles(
        captioner=model(profile.captioner),
        selector=model(profile.selector),
        reasoner=model(profile.reasoner),
        judge=model(profile.judge) if profile.judge else None,
        embedder=make_embedder(profile.embedder) if profile.embedder else None,
        ranker=make_embedder(profile.ranker) if profile.ranker else None,
        writer=model(profile.writer) if profile.writer else None,
        classifier=FusionClassifier(profile.classifier) if profile.classifier else None,
        detector=detector,
        verifier=PictureClassifier(profile.verifier) if profile.verifier else None,
        adapters={name: name for role in profile.roles.values() for name in role.adapters},
    )


def _model(role: Role, profile: Profile) -> ChatModel:
    if isinstance(role, LocalRole):
        return TransformersModel(
            role.model,
            adapters=role.adapters,
            context_length=role.context_length,
            image_options=role.image_options,
            extra_tokens=role.extra_tokens,
            download=role.download,
        )
    key = os.environ.get(role.api_key_env) if role.api_key_env else None
    if role.api_key_env and not key:
        raise ProfileError(
            f"profile {profile.name}: {role.model} needs an API key. Set the environment variable {role.api_key_env}."
        )
    try:
        check_key(key or "", f"the environment variable {role.api_key_env}")
    except ValueError as error:
        raise ProfileError(f"profile {profile.name}: {error}.") from error
    from espresso.models.openai_client import OpenAIModel  # noqa: PLC0415 - the OpenAI SDK takes a second to import

    name, _, address = profile.name.rpartition("@")
    host, _, port = address.rpartition(":")
    return OpenAIModel(
        role.model,
        base_url=role.base_url,
        api_key=key,
        adapters=role.adapters,
        context_length=role.context_length,
        picture_tokens=role.picture_tokens,
        timeout=role.timeout,
        concurrency=role.concurrency,
        extra_tokens=role.extra_tokens,
        omit=role.omit,
        extra_body=role.extra_body,
        start_command=f"espresso serve models --profile {name} --port {port}" if host in LOCAL_HOSTS else None,
    )
