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

__all__ = ["SCHEMA_VERSION", "manifest_document", "render", "render_records"]

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
    stated = {
        "schema_version": SCHEMA_VERSION,
        "dataset": dataset,
        "run_id": run_id,
        "pipeline_id": pipeline_id,
        "created_at": created_at,
        "manifest": manifest,
        "branches": dict(branches) or None,
    }
    document: dict[str, Any] = {k: value for k, value in stated.items() if value is not None}
    document["items"] = [record.to_dict() for record in records]
    return document


def render_records(document: Mapping[str, Any], records: Iterable[ArtifactRecord]) -> str:
    """What :func:`render` makes of a document whose items are ``records`` and not there yet.

    Each commit writes one: an item is one expression here, and no plain values are made of it.
    """
    items = "".join(map(_item, records))
    head = "".join([f"{k}: {_flow(value)}\n" for k, value in document.items() if k != "items"])
    return f"{head}items:\n{items}" if items else head + "items: []\n"


def _item(record: ArtifactRecord) -> str:
    """A record as an item, field by field as its ``to_dict`` has them."""
    meta, fold, place = record.meta_config, record.fold_id, record.sub_index
    artifact_id, content_hash, path = _once(record.artifact_id, record.content_hash, record.path)
    return (
        f"- artifact_id: {artifact_id}\n"
        f"  content_hash: {content_hash}\n"
        f"  path: {path}\n"
        f"  pipeline_id: {_text(record.pipeline_id)}\n"
        f"  branch_path: {[*record.branch_path]}\n"
        f"  step_index: {record.step_index}\n"
        f"  fold_id: {'null' if fold is None else fold}\n"
        f"  artifact_type: {_text(str(record.artifact_type))}\n"
        f"  class_name: {_text(record.class_name)}\n"
        f"  depends_on: [{', '.join(map(_text, record.depends_on))}]\n"
        f"  format: {_text(record.format)}\n"
        f"  format_version: {_text(record.format_version)}\n"
        f"  producer_version: {_text(record.producer_version)}\n"
        f"  size_bytes: {record.size_bytes}\n"
        f"  created_at: {_text(record.created_at)}\n"
        f"  params: {_map(record.params)}\n"
        f"  meta_config: {_map(meta.to_dict()) if meta else 'null'}\n"
        f"  version: {record.version}\n"
        f"  sub_index: {'null' if place is None else place}\n"
    )


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
    rule = _RULES.get
    fields = [f"{_text(k)}: {rule(type(v), _inherited)(v)}" for k, v in value.items()]
    return "{" + ", ".join(fields) + "}"


def _list(value: Iterable[Any]) -> str:
    return "[" + ", ".join([_flow(one) for one in value]) + "]" if value else "[]"


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


def _once(*values: str) -> list[str]:
    """As :func:`_text` each, for what is hardly ever asked for again: an id, a hash."""
    if _PLAIN.fullmatch("".join(values)):
        return [f'"{value}"' for value in values]
    return [_text(value) for value in values]


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
    text = repr(value)
    if "e" not in text and "n" not in text:
        return text  # as nearly all of them
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    mantissa, exponent, rest = text.partition("e")
    # "1e-07" would read as text: YAML 1.1 wants a point and a signed exponent.
    if exponent and "." not in mantissa:
        mantissa += ".0"
    if exponent and rest[0] not in "+-":
        rest = "+" + rest
    return mantissa + exponent + rest


# What nearly all values are.
_RULES: dict[type, Callable[[Any], str]] = {
    str: _text,
    type(None): {None: "null"}.__getitem__,
    bool: {True: "true", False: "false"}.__getitem__,
    int: str,
    float: _number,
    dict: _map,
    list: _list,
}
