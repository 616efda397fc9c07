"""Chat models: one protocol, two backends, and the roles that the models of a profile play.

`chat` defines the protocol. `TransformersModel` runs a model in this process, `OpenAIModel` talks
to a server, `vllm/` starts such servers. `Roles` are the connected models of a profile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from espresso.models.chat import (
    ChatModel,
    Completion,
    Conversation,
    GenerateConfig,
    GenerateOptions,
    Message,
    Picture,
    TokenCount,
)
from espresso.models.context import fit_frames
from espresso.models.roles import Roles, connect
from espresso.models.transformers_model import TransformersModel

if TYPE_CHECKING:
    from espresso.models.openai_client import OpenAIModel

__all__ = [
    "ChatModel",
    "Completion",
    "Conversation",
    "GenerateConfig",
    "GenerateOptions",
    "Message",
    "OpenAIModel",
    "Picture",
    "Roles",
    "TokenCount",
    "TransformersModel",
    "connect",
    "fit_frames",
]


def __getattr__(name: str) -> Any:
    """Import the OpenAI backend at its first use: the OpenAI SDK takes a second to import."""
    if name == "OpenAIModel":
        from espresso.models.openai_client import OpenAIModel  # noqa: PLC0415

        return OpenAIModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
