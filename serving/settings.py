"""The settings of a server."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from pydantic import Field, SecretStr

from espresso.media import Limits
from espresso.media.hosts import Network
from espresso.schema import Record

KEYS_VARIABLE = "ESPRESSO_API_KEYS"
"""Environment variable with the API keys, separated by commas."""


class Settings(Record):
    """What a server offers, to whom, and within which limits."""

    profiles: tuple[str, ...] = ("tiny",)
    """Names or TOML files of the profiles to offer."""

    host: str = "127.0.0.1"
    """Address to listen on. The default is reachable from this machine only."""

    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 is any free one."""

    keys: tuple[SecretStr, ...] = ()
    """API keys, one of which each request needs; empty if none is needed."""

    folders: tuple[Path, ...] = ()
    """Folders whose images and videos requests may name by path."""

    hosts: tuple[str, ...] = ()
    """Hosts from which images and videos are downloaded."""

    networks: tuple[Network, ...] = ()
    """Private networks that downloads may contact. Others are refused."""

    limits: Limits = Limits()
    """Limits of each image and video."""

    visuals: int = Field(default=64, gt=0)
    """Most images and videos of one request."""

    uploads_bytes: int = Field(default=2 * 1024**3, gt=0)
    """Bytes of all uploads together; beyond it, the oldest are deleted."""

    at_once: int = Field(default=16, gt=0)
    """Requests in progress at once."""

    waiting: int = Field(default=256, ge=0)
    """Requests that wait for their turn; a further one is refused with 429."""

    timeout_s: float = Field(default=300.0, gt=0)
    """Seconds that a request may take, its waiting time included."""

    stop_s: float = Field(default=30.0, gt=0)
    """Seconds that requests in progress have to end when the server stops."""

    cache: bool = True
    """Whether captions and judge replies are cached on disk."""

    @property
    def body_bytes(self) -> int:
        """Largest body of a request: one visual of the largest size as a data URL, and text."""
        return self.limits.max_bytes * 4 // 3 + 1024**2

    @property
    def loopback(self) -> bool:
        """Whether the server can be reached from this machine only."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def keys_from_environment() -> tuple[SecretStr, ...]:
    """Return the API keys in ESPRESSO_API_KEYS; empty if there are none."""
    return tuple(SecretStr(key.strip()) for key in os.environ.get(KEYS_VARIABLE, "").split(",") if key.strip())
