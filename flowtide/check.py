"""The effective settings, as a TOML file that would set them."""

import json
from typing import Any

from pydantic import BaseModel, SecretStr

from flowtide.settings import Settings


def describe(settings: Settings) -> str:
    """Every key with its value and meaning; secrets are never shown."""
    lines = ["# effective settings; [default] marks what nobody set"]
    top = {name: field for name, field in Settings.model_fields.items() if not _is_part(getattr(settings, name))}
    lines += [_line(settings, name) for name in top]
    for name in Settings.model_fields:
        if name not in top:
            lines += _part(getattr(settings, name), name)
    return "\n".join(lines)


def _part(model: BaseModel, path: str) -> list[str]:
    lines = ["", f"[{path}]"]
    nested = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if _is_part(value):
            nested += _part(value, f"{path}.{name}")
        else:
            lines.append(_line(model, name))
    return lines + nested


def _line(model: BaseModel, name: str) -> str:
    field = type(model).model_fields[name]
    value = getattr(model, name)
    mark = " [default]" if value == field.get_default(call_default_factory=True) else ""
    return f"{name} = {_toml(value)}  # {field.description or ''}{mark}".rstrip()


def _toml(value: Any) -> str:
    if isinstance(value, SecretStr):
        return '"**********"' if value.get_secret_value() else '""'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value))


def _is_part(value: object) -> bool:
    return isinstance(value, BaseModel)
