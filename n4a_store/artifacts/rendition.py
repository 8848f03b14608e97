"""A pipeline's manifest as YAML that people read. Never the source of truth: the store is.

Schema "2.0": a map with ``schema_version``, ``dataset``, ``run_id``, ``pipeline_id``,
``created_at``, ``manifest`` (the id of the tree that it shows), ``branches`` when some have
names, and ``items``, a list of records in order of execution.

Written here and not by a YAML library, which would take longer than storing the artifacts does:
each field is one line, its value in YAML's flow style.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from n4a_store.artifacts.types import ArtifactRecord

__all__ = ["SCHEMA_VERSION", "manifest_document", "render"]

SCHEMA_VERSION = "2.0"
_SIXTEEN_BITS = 0xFFFF
_quote = json.JSONEncoder(ensure_ascii=False).encode
_PLAIN = re.compile(r"[ !#-\[\]-~]*")
_BEYOND_ASCII = re.compile("[^ -~]")
# Letters by category, yet drawn as nothing: they would make two names look alike.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def manifest_document(
    *,
    dataset: str,
    run_id: str | None,
    pipeline_id: str | None,
    created_at: str | None,
    manifest: str | None,
    records: Iterable[ArtifactRecord],
    branches: Mapping[str, str],
) -> dict[str, Any]:
    """The manifest as plain values."""
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "dataset": dataset}
    stated = {
        "run_id": run_id,
        "pipeline_id": pipeline_id,
        "created_at": created_at,
        "manifest": manifest,
    }
    document.update((name, value) for name, value in stated.items() if value is not None)
    if branches:
        document["branches"] = dict(branches)
    document["items"] = [record.to_dict() for record in records]
    return document


def render(document: Mapping[str, Any]) -> str:
    """A manifest as YAML; ``yaml.safe_load`` gives it back, bytes as their ``repr``."""
    head = [f"{name}: {_flow(value)}" for name, value in document.items() if name != "items"]
    lines = [*head, "items:" if document["items"] else "items: []"]
    rule = _RULES.get
    for item in document["items"]:
        # One call a field where there could be two: a fifth of a commit goes into these lines.
        fields = [f"{name}: {rule(type(value), _inherited)(value)}" for name, value in item.items()]
        lines.append("- " + "\n  ".join(fields))
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    return _RULES.get(type(value), _inherited)(value)


def _map(value: Mapping[Any, Any]) -> str:
    return "{" + ", ".join([f"{_text(k)}: {_flow(v)}" for k, v in value.items()]) + "}"


def _list(value: Iterable[Any]) -> str:
    return "[" + ", ".join(map(_flow, value)) + "]"


def _inherited(value: Any) -> str:
    """What has no rule of its own, by what it inherits from."""
    if isinstance(value, Mapping):
        return _map(value)
    if isinstance(value, list | tuple):
        return _list(value)
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return _RULES[kind](value)
    return _text(repr(value))


@functools.lru_cache(maxsize=8_192)
def _text(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f'"{value}"'
    # JSON's escapes are YAML's, except beyond 16 bits, where YAML has one of its own.
    return _BEYOND_ASCII.sub(_visible, _quote(value))


def _visible(match: re.Match[str]) -> str:
    """A character as itself, or as an escape where a reader would not see what it does.

    What orders text anew or shows nothing is escaped, because people read this file, and so is
    what YAML does not count as printable or would fold as a line break.
    """
    character = match[0]
    if character.isprintable() and character not in _INVISIBLE:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= _SIXTEEN_BITS else f"\\U{code:08x}"


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    mantissa, exponent, rest = repr(value).partition("e")
    # "1e-07" would read as text: YAML 1.1 wants a point and a signed exponent.
    if exponent and "." not in mantissa:
        mantissa += ".0"
    if exponent and rest[0] not in "+-":
        rest = "+" + rest
    return mantissa + exponent + rest


# What nearly all values are.
_RULES: dict[type, Callable[[Any], str]] = {
    str: _text,
    type(None): lambda _: "null",
    bool: lambda value: "true" if value else "false",
    int: str,
    float: _number,
    dict: _map,
    list: _list,
}
