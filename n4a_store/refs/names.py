r"""The grammar of names: refs, datasets, pipeline ids, run ids, tags.

A name is one or more components joined by ``/``. A component names a folder or a ref on every
system and reads the same to every eye, so it is refused when it

- is empty, longer than 200 bytes of UTF-8, or begins with ``.`` or ``-``;
- holds a control, format or bidirectional character, white space, or one of ``/ \ : ~ ^ ? * [ ]
  < > | " ' ` $``, or the sequences ``..`` and ``@{``;
- ends in ``.``, ``~`` or ``.lock``;
- is a device name of Windows (``con``, ``nul``, ``com1``, …), with or without an extension;
- is 40 to 64 hex digits and nothing else, which would pass for an object id;
- changes under Unicode's NFKC, or holds a character that looks like one of the separators.

Names come out in NFC, which is the form that is stored and compared. The rules for ref names
follow git's ``check-ref-format``, made stricter.
"""

from __future__ import annotations

import functools
import re
import string
import unicodedata

from n4a_store.errors import InvalidNameError

__all__ = [
    "NAMESPACES",
    "check_name_component",
    "check_ref_name",
    "is_stored_ref_name",
    "namesakes",
]

MAX_COMPONENT_BYTES = 200
MAX_REF_BYTES = 1_000
REF_ROOT = "refs"
NAMESPACES = ("refs/tags/", "refs/pipelines/", "refs/runs/")
"""Where a name is looked for that is not a whole ref's, in this order."""

_PLAIN = frozenset(string.ascii_letters + string.digits + "_-.")
_FORBIDDEN = frozenset("/\\:~^?*[]<>|\"'`$")
# Look-alikes of "/", ":", "." and "-" that NFKC leaves alone.
_LOOK_ALIKES = frozenset("\u2044\u2215\u29f8\u2571\ua789\u02d0\u05c3\u2236\u0589\ufe55\u2010\u2212")
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10)))
)
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{40,64}")
_STORED = re.compile(r"""refs(?:/(?!\.{1,2}(?:/|\Z))[^\0-\x20\x7f/\\:~^?*\[\]<>|"'`$]+){2,}""")
_BAD_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"))


def _shown(name: str) -> str:
    text = name if len(name) <= 60 else name[:57] + "…"  # noqa: PLR2004 - fits a line
    return ascii(text) if not text.isprintable() else repr(text)


def check_name_component(name: str, what: str = "name") -> str:
    """The NFC form of ``name``, when it may name one thing.

    Args:
        name: A dataset, pipeline id, run id, tag or one part of a ref.
        what: What errors call it.

    Raises:
        InvalidNameError: It breaks a rule; the message says which.
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"a {what} is text, not {type(name).__name__}")
    # NFC first: it turns some characters into forbidden ones (U+1FEF into "`") and makes some
    # names longer, so the rules are for what is stored.
    stored = unicodedata.normalize("NFC", name)
    problem = _problem(stored)
    if problem is not None:
        raise InvalidNameError(
            f"{_shown(name)} cannot be a {what}: {problem}",
            hint="use letters, digits, '_', '-' and '.'",
        )
    return stored


def _problem(name: str) -> str | None:  # noqa: PLR0911 - one rule a line
    if not name:
        return "it is empty"
    # Each character of most names is one of these.
    for char in () if _PLAIN.issuperset(name) else name:
        if char in _FORBIDDEN or char in _LOOK_ALIKES:
            return f"it holds {_shown(char)}"
        if unicodedata.category(char) in _BAD_CATEGORIES:
            return f"it holds white space or an unprintable character, U+{ord(char):04X}"
    if len(name.encode("utf-8")) > MAX_COMPONENT_BYTES:
        return f"it is longer than {MAX_COMPONENT_BYTES} bytes"
    if ".." in name or "@{" in name:
        return "it holds '..' or '@{'"
    if name.startswith((".", "-")):
        return "it begins with '.' or '-'"
    if name.endswith((".", "~", ".lock")):
        return "it ends in '.', '~' or '.lock'"
    if name.split(".", 1)[0].lower() in _DEVICES:
        return "it is the name of a device on Windows"
    if _OBJECT_ID.fullmatch(name):
        return "it would pass for an object id"
    if unicodedata.normalize("NFKC", name) != name:
        return "it holds characters that look like others (it changes under Unicode's NFKC)"
    return None


def check_ref_name(name: str) -> str:
    """The NFC form of the full name of a ref: ``refs/<namespace>/<name>…``.

    Raises:
        InvalidNameError: It is not such a name; the message says why.
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"a ref name is text, not {type(name).__name__}")
    return _checked_ref_name(str(name))


@functools.lru_cache(maxsize=4096)
def _checked_ref_name(name: str) -> str:
    # Every look at a ref checks its name, and a loader looks at one ref a thousand times.
    parts = name.split("/")
    if parts[0] != REF_ROOT or len(parts) < 3:  # noqa: PLR2004 - refs, namespace, name
        raise InvalidNameError(
            f"{_shown(name)} is not the full name of a ref", hint="such as refs/tags/production"
        )
    checked = "/".join(check_name_component(part, "part of a ref name") for part in parts)
    if len(checked.encode("utf-8")) > MAX_REF_BYTES:
        raise InvalidNameError(f"{_shown(name)} is longer than {MAX_REF_BYTES} bytes")
    return checked


def namesakes(ref: str) -> list[str]:
    """The refs of other kinds that would be called like ``ref``, whether they exist or not."""
    for space in NAMESPACES:
        if ref.startswith(space):
            short = ref[len(space) :]
            return [other + short for other in NAMESPACES if other != space]
    return []


def is_stored_ref_name(name: object) -> bool:
    """Whether ``name`` could have been written by this grammar under any version of Unicode.

    A later Python knows more characters than this one, so a stored name is held to the rules
    that do not change: its shape and its ASCII part.
    """
    return type(name) is str and _STORED.fullmatch(name) is not None
