"""The fields of a record that came from outside: each present, known and of its type.

A manifest may have been edited by hand, torn, or made to do harm. What passes here can be given
to :class:`~n4a_store.artifacts.types.ArtifactRecord`; what does not is an
:class:`InvalidInputError` that names the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from n4a_store.artifacts.execution_path import make_branch_path, parse_artifact_id
from n4a_store.artifacts.types import Ids, MetaModelConfig, register_artifact_type
from n4a_store.errors import InvalidInputError, StoreError

__all__ = ["check_fields"]

_REQUIRED = ("artifact_id", "content_hash", "artifact_type", "class_name")
_HASH = re.compile(r"(blake3|sha256):[0-9a-f]{64}")
_UNSAFE_IN_PATH = re.compile(r"[/\\:\x00-\x1f\x7f]|^\.")
_MAX_TEXT = 1_000


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise InvalidInputError(f"text of at most {_MAX_TEXT} characters, not {value!r:.80}")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInputError(f"a number from 0, not {value!r:.80}")
    return value


def _version(value: object) -> int:
    if _count(value) == 0:
        raise InvalidInputError("a number from 1, not 0")
    return int(value)  # type: ignore[call-overload,no-any-return]


def _count_or_none(value: object) -> int | None:
    return None if value is None else _count(value)


def _hash(value: object) -> str:
    text = _text(value)
    if not _HASH.fullmatch(text):
        raise InvalidInputError(f"'blake3:' and 64 hex digits, not {text!r:.80}")
    return text


def _file_name(value: object) -> str:
    text = _text(value)
    if _UNSAFE_IN_PATH.search(text):
        raise InvalidInputError(f"one file name without folders, not {text!r:.80}")
    return text


def _ids(value: object) -> Ids:
    if not isinstance(value, list | tuple):
        raise InvalidInputError(f"a list of artifact ids, not {value!r:.80}")
    return Ids(parse_artifact_id(item).artifact_id for item in value)


def _params(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidInputError(f"a map with text keys, not {value!r:.80}")
    return dict(value)


def _meta_config(value: object) -> MetaModelConfig | None:
    return None if value is None else MetaModelConfig.from_dict(value)  # type: ignore[arg-type]


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "artifact_id": _text,
    "content_hash": _hash,
    "path": _file_name,
    "pipeline_id": _text,
    "branch_path": make_branch_path,
    "step_index": _count,
    "sub_index": _count_or_none,
    "fold_id": _count_or_none,
    "artifact_type": register_artifact_type,
    "class_name": _text,
    "depends_on": _ids,
    "format": _text,
    "format_version": _text,
    "producer_version": _text,
    "size_bytes": _count,
    "created_at": _text,
    "params": _params,
    "meta_config": _meta_config,
    "version": _version,
}


def check_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record, checked one by one, with the parts of the id filled in.

    Raises:
        InvalidInputError: A field is missing, unknown or of the wrong type, or contradicts the
            id.
    """
    if not isinstance(data, Mapping):
        raise InvalidInputError(f"a record is a map, not {type(data).__name__}")
    for name in _REQUIRED:
        if name not in data:
            raise InvalidInputError(f"a record without {name!r}: {dict(data)!r:.80}")
    checked: dict[str, Any] = {}
    for name, value in data.items():
        if name not in _CHECKS:
            raise InvalidInputError(f"a record with the unknown field {name!r:.80}")
        try:
            checked[name] = _CHECKS[name](value)
        except StoreError as error:
            raise InvalidInputError(f"a record's {name}: {error}", hint=error.hint) from error
    path = parse_artifact_id(checked["artifact_id"])
    parts = path._asdict()
    for name, value in parts.items():
        if checked.setdefault(name, value) != value:
            raise InvalidInputError(f"record of {path}: its {name} is that of another id")
    checked.setdefault("path", "")
    return checked
