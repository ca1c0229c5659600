"""YAML of others, as plain values: bounded, without aliases, tags and keys that are there twice."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 4 << 20
_DEEPEST = 40
_MOST_NODES = 200_000

# The one in C reads a hundred rules in a twentieth of the time; a platform may lack it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlRefused(Exception):  # noqa: N818 - a state, told by its name
    """Not YAML, or more than is taken; the message says where."""


class _Loader(_Base):  # type: ignore[misc] # chosen at run time
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The last of two equal keys would win, silently."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise YamlRefused(f"{_at(key.start_mark)}: key {key.value!r} is there twice: remove one")
                seen.add(key.value)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def read_yaml(path: Path) -> Any:
    """The values of the file's one document; YamlRefused."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise YamlRefused(f"more than {MOST_BYTES >> 20} MB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise YamlRefused(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise YamlRefused(f"not UTF-8: {error}") from None
    try:
        _bounded(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - made of the safe one
    except yaml.MarkedYAMLError as error:
        where = f"{_at(error.problem_mark)}: " if error.problem_mark else ""
        raise YamlRefused(f"{where}not YAML that is taken: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlRefused(f"not YAML: {error}") from None


def _bounded(text: str) -> None:
    """An alias may stand for a billion nodes, and depth is the stack's."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.AliasEvent):
            raise YamlRefused(f"{_at(event.start_mark)}: aliases (*name) are not taken: write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > _DEEPEST or nodes > _MOST_NODES:
            raise YamlRefused(f"{_at(event.start_mark)}: more than {_DEEPEST} levels or {_MOST_NODES} values")


def _at(mark: Any) -> str:
    return f"line {mark.line + 1}"
