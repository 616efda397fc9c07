"""Models that chat about text and pictures: one protocol, a backend in this process, one for servers, and the roles they play."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from espresso.models.chat import ChatModel, Completion, Conversation, Message, Picture, TokenCount
from espresso.models.context import fit_frames
from espresso.models.roles import Roles, connect
from espresso.models.transformers_model import LocalModel

if TYPE_CHECKING:
    from espresso.models.openai_client import ServerModel

__all__ = [
    "ChatModel",
    "Completion",
    "Conversation",
    "LocalModel",
    "Message",
    "Picture",
    "Roles",
    "ServerModel",
    "TokenCount",
    "connect",
    "fit_frames",
]


def __getattr__(name: str) -> Any:
    """Import the server backend when it is asked for: the OpenAI SDK takes a second, which a local model need not wait."""
    if name == "ServerModel":
        from espresso.models.openai_client import ServerModel  # noqa: PLC0415

        return ServerModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
