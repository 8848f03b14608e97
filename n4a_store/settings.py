"""What a store may be told, in one frozen value.

A setting comes from three places, each stronger than the one before: the defaults below, the
store's ``config`` file (TOML), the environment (``N4A_STORE_`` and the key in capitals). Wherever
it comes from, it is checked here and nowhere else: a ``Settings`` that exists is valid. What is
wrong is an :class:`InvalidInputError` that names the source, the key and what is allowed. An
unknown key is wrong too, because a misspelt ``durability`` must not leave somebody unprotected;
only in the environment, where others may use the prefix as well, must it look like one of ours.

Nothing here reads a file or the process environment: both are handed in.
"""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from n4a_store.errors import InvalidInputError

__all__ = ["ENVIRONMENT_PREFIX", "CommitEach", "Durability", "SettingInfo", "Settings"]

ENVIRONMENT_PREFIX = "N4A_STORE_"

_KIB = 1024
_MIB = 1024 * _KIB
_GIB = 1024 * _MIB
_INT64_MAX = 2**63 - 1
_MOST_DIGITS = len(str(_INT64_MAX))
_TRUE_WORDS = ("true", "yes", "on", "1")
_FALSE_WORDS = ("false", "no", "off", "0")


class Durability(enum.StrEnum):
    """What an acknowledged commit has survived.

    All three leave a commit whole or absent when a *process* dies at any moment. They differ in
    what a power cut may take.
    """

    FULL = "full"
    """Pack, folder and catalog are fsynced before the commit is acknowledged: nothing is lost."""

    RELAXED = "relaxed"
    """Packs and folders are fsynced, the catalog less often: the last commits may be lost."""

    NONE = "none"
    """Nothing is fsynced: the store may be damaged. For scratch stores and tests."""


class CommitEach(enum.StrEnum):
    """What a run commits at a time: what is lost when its process dies."""

    ARTIFACT = "artifact"
    """What was registered is kept at once, unfinished pipelines included."""

    PIPELINE = "pipeline"
    """A pipeline is kept when it is complete."""

    RUN = "run"
    """All pipelines are kept when the run ends: the cheapest, for a short run."""


def _number(default: int, low: int, high: int, unit: str, meaning: str) -> Any:
    return field(
        default=default,
        metadata={"low": low, "high": high, "unit": unit, "meaning": meaning},
    )


def _switch(default: bool, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting as the documentation shows it."""

    key: str
    default: str
    allowed: str
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + self.key.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one store. Valid once constructed.

    Raises:
        InvalidInputError: A value has the wrong type or is out of range.
    """

    durability: Durability = field(
        default=Durability.FULL,
        metadata={"meaning": "what an acknowledged commit has survived: see Durability"},
    )
    commit_each: CommitEach = field(
        default=CommitEach.PIPELINE,
        metadata={"meaning": "what a run commits at a time: see CommitEach"},
    )
    out_of_band_threshold: int = _number(
        4 * _KIB,
        0,
        _INT64_MAX,
        "bytes",
        "buffers of at least this size leave the pickle and become objects of their own",
    )
    compression_level: int = _number(
        1,
        0,
        19,
        "zstd level",
        "level for payloads of which the write probe saves an eighth, from 2 on a thirty-second; "
        "0 stores all as they are",
    )
    pack_max_bytes: int = _number(
        2 * _GIB,
        4 * _KIB,
        _INT64_MAX,
        "bytes",
        "a transaction goes on in a new pack beyond this size; one object may exceed it",
    )
    pack_max_objects: int = _number(
        262_144,
        1,
        2**32 - 1,
        "objects",
        "a transaction goes on in a new pack beyond this number",
    )
    undo_window_days: int = _number(
        14, 0, 36_500, "days", "how long the reflog can bring back what was deleted or replaced"
    )
    cache_bytes: int = _number(
        256 * _MIB, 0, _INT64_MAX, "bytes", "upper bound for the objects that a loader keeps"
    )
    ballast_bytes: int = _number(
        256 * _KIB,
        0,
        _INT64_MAX,
        "bytes",
        "room that is kept for deletions on a full disk, beside as much as the catalog takes; 0 "
        "keeps none",
    )
    repack_while_training: bool = _switch(
        False, "a long run merges packs between its pipelines too, and not only when it has ended"
    )
    shared_group: bool = _switch(
        False, "files and folders are readable and writable by the group of the store's folder"
    )
    allow_network_filesystem: bool = _switch(
        False, "open a store on a file system whose locks are not known to hold"
    )
    identify_host: bool = _switch(False, "record host and user name in the environment of runs")

    def __post_init__(self) -> None:
        for name, value in self.as_dict().items():
            checked = _check(name, value, source="Settings", from_text=False)
            object.__setattr__(self, name, checked)

    @classmethod
    def load(
        cls, config_text: str | None, environ: Mapping[str, str], *, config: str = "config"
    ) -> Settings:
        """Put the sources together.

        Args:
            config_text: The text of the store's ``config`` file, None when there is none.
            environ: The environment; only names that begin with ``N4A_STORE_`` matter.
            config: What errors call the ``config`` file.

        Raises:
            InvalidInputError: The TOML cannot be parsed, a key is unknown or misspelt, or a value
                is not allowed.
        """
        values: dict[str, Any] = {}
        for key, raw in _parse_config(config_text or "", config).items():
            if key not in _keys():
                raise _unknown(config, key, _nearest(key))
            values[key] = _check(key, raw, source=config, from_text=False)
        for variable in sorted(environ):
            if not variable.startswith(ENVIRONMENT_PREFIX):
                continue
            key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            if key in _keys():
                values[key] = _check(key, environ[variable], source="environment", from_text=True)
            elif near := _nearest(key):
                raise _unknown("environment", variable, ENVIRONMENT_PREFIX + near.upper())
        return cls(**values)

    def as_dict(self) -> dict[str, object]:
        """Every setting by key, in the order of the documentation."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def describe(cls) -> tuple[SettingInfo, ...]:
        """Every setting with default, allowed values and meaning, for documentation and help."""
        return tuple(
            SettingInfo(
                key=f.name,
                default=_show(f.default),
                allowed=_allowed(f.name),
                meaning=f.metadata["meaning"],
            )
            for f in fields(cls)
        )


def _keys() -> list[str]:
    return [f.name for f in fields(Settings)]


def _parse_config(text: str, config: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(
            f"{config}: not valid TOML: {error}",
            hint='lines read `key = value`, as in `durability = "full"`',
        ) from error


def _nearest(key: str) -> str | None:
    import difflib  # only on the way to an error

    near = difflib.get_close_matches(key, _keys(), n=1, cutoff=0.75)
    return near[0] if near else None


def _unknown(source: str, shown: str, near: str | None) -> InvalidInputError:
    hint = f"did you mean {near}?" if near else f"known: {', '.join(_keys())}"
    return InvalidInputError(f"{source}: unknown setting {shown!r}", hint=hint)


def _check(key: str, value: object, *, source: str, from_text: bool) -> object:
    """The value in the type of its field, or an error that names source, key and what is allowed.

    Only the environment is text; a number in quotes in a TOML file is a mistake.
    """
    default = next(f.default for f in fields(Settings) if f.name == key)
    checked: object = None
    if isinstance(default, enum.StrEnum):
        checked = _as_choice(type(default), value)
    elif isinstance(default, bool):
        checked = _as_bool(value, from_text=from_text)
    else:
        checked = _as_int(key, value, from_text=from_text)
    if checked is None:
        shown = ENVIRONMENT_PREFIX + key.upper() if from_text else key
        raise InvalidInputError(
            f"{source}: {shown} = {_show(value)} is not allowed",
            hint=f"allowed: {_allowed(key)}",
        )
    return checked


def _as_choice(kind: type[enum.StrEnum], value: object) -> enum.StrEnum | None:
    return kind(value) if isinstance(value, str) and value in list(kind) else None


def _as_bool(value: object, *, from_text: bool) -> bool | None:
    if isinstance(value, bool):
        return value
    if from_text and isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE_WORDS or word in _FALSE_WORDS:
            return word in _TRUE_WORDS
    return None


def _as_int(key: str, value: object, *, from_text: bool) -> int | None:
    if from_text and isinstance(value, str):
        # int() also takes "1_000" and other alphabets' digits; a setting is plain ASCII digits.
        text = value.strip()
        plain = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
        value = int(text) if plain else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    low, high, _ = _bounds(key)
    return value if low <= value <= high else None


def _bounds(key: str) -> tuple[int, int, str]:
    metadata = next(f.metadata for f in fields(Settings) if f.name == key)
    return metadata["low"], metadata["high"], metadata["unit"]


def _allowed(key: str) -> str:
    default = next(f.default for f in fields(Settings) if f.name == key)
    if isinstance(default, enum.StrEnum):
        return ", ".join(type(default))
    if isinstance(default, bool):
        return "true, false"
    low, high, unit = _bounds(key)
    return f"{low} to {high} {unit}" if high != _INT64_MAX else f"{low} {unit} or more"


def _show(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, enum.StrEnum | int) else repr(value)
