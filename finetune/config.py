"""Read training configurations from YAML files, with command-line overrides.

The shipped files are in `finetune/configs`; each starts with the command that runs it.
`finetune.lora.config` and `finetune.tiny.config` define what the files hold.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from espresso.errors import DataError

Config = TypeVar("Config", bound=BaseModel)


class Settings(BaseModel):
    """Base class of a configuration and its sections: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_config(path: Path, kind: type[Config], **overrides: object) -> Config:
    """Read and validate a configuration file.

    Args:
        path: a YAML file.
        kind: the class of the configuration.
        **overrides: values that replace those of the file; `answer.evidence` is a key of the
            section `answer`. None keeps the value of the file.

    Raises:
        DataError: the file cannot be read or a value is invalid. The message suggests the closest
            key for an unknown one.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such config file. The shipped ones are in finetune/configs.") from None
    except (yaml.YAMLError, OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not a readable YAML file ({' '.join(str(error).split())}).") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: not a config file (no `key: value` pairs). Compare it with those in finetune/configs.")
    for key, value in overrides.items():
        if value is not None:
            *sections, name = key.split(".")
            reduce(lambda section, inner: section.setdefault(inner, {}), sections, values)[name] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # A misspelled key also causes a "field required" error: report the misspelling.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join(map(str, first["loc"]))
        close = get_close_matches(str(first["loc"][-1]), _keys(kind), n=1)
        hint = f" Did you mean {close[0]!r}?" if first["type"] == "extra_forbidden" and close else ""
        raise DataError(f"{path}: {key}: {first['msg'].lower()}.{hint}") from None


def _keys(kind: type[BaseModel]) -> set[str]:
    """Return the keys of a configuration and of its sections."""
    schema = kind.model_json_schema()
    return {key for section in (schema, *schema.get("$defs", {}).values()) for key in section.get("properties", {})}
