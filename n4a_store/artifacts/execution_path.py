"""Artifact ids: where in an execution an artifact was made.

The grammar, with parts that never contain the separator::

    artifact id  = pipeline_id ":" key
    key          = { branch ":" } step ":" fold
    branch       = number                      nested branches, outermost first
    step         = number [ "." number ]       the second number is the sub-step
    fold         = number | "all"
    number       = "0" | a digit 1-9 and digits   below 2**63, no sign, no leading zero

One artifact has one id: every text that parses is what :func:`generate_artifact_id` gives for
the parts, so that two spellings can never name two artifacts. No step number alone ever
identifies one. What cannot be parsed is an :class:`InvalidInputError` (a ``ValueError``) that
says which part is wrong.
"""

from __future__ import annotations

import functools
import operator
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple, NoReturn, SupportsIndex

from n4a_store.errors import InvalidInputError, InvalidNameError
from n4a_store.refs.names import MAX_COMPONENT_BYTES, check_name_component

__all__ = [
    "MAX_NUMBER",
    "BranchPath",
    "ExecutionPath",
    "check_branch_name",
    "check_index",
    "generate_artifact_id",
    "parse_artifact_id",
    "parse_key",
    "parsed_order",
]

SEPARATOR = ":"
ALL_FOLDS = "all"
MAX_NUMBER = 2**63 - 1
_MAX_DIGITS = len(str(MAX_NUMBER))
_MAX_BRANCHES = 64
_SHOWN = 80
_Places = tuple["BranchPath", int, int | None, int | None]  # branch, step, fold, sub-step
_GRAMMAR = "an artifact id reads pipeline_id : branch… : step[.sub] : fold|all"


class BranchPath(tuple[int, ...]):
    """The branch indices that lead to a place, outermost first.

    A tuple, and equal to a list with the same indices: runners keep the path as the list that
    they push to and pop from.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def starts_with(self, ancestor: Sequence[int]) -> bool:
        """Whether ``ancestor`` is this path or one that it lies in."""
        return tuple.__eq__(tuple(self[: len(ancestor)]), tuple(ancestor))


_TRUNK = BranchPath()  # one for all: what is the same object is not compared


class ExecutionPath(NamedTuple):
    """The five parts of an artifact id, in the order that :func:`generate_artifact_id` takes."""

    pipeline_id: str
    branch_path: BranchPath
    step_index: int
    fold_id: int | None = None
    sub_index: int | None = None

    @property
    def key(self) -> str:
        """The name in the pipeline's manifest: the id without the pipeline."""
        # As numbers: equal paths have one text, which is remembered, and True is equal to 1.
        step = f"{self.step_index:d}"
        if self.sub_index is not None:
            step += f".{self.sub_index:d}"
        fold = ALL_FOLDS if self.fold_id is None else f"{self.fold_id:d}"
        if not self.branch_path:
            return f"{step}{SEPARATOR}{fold}"
        return SEPARATOR.join((*(f"{branch:d}" for branch in self.branch_path), step, fold))

    @property
    def artifact_id(self) -> str:
        """The id as text."""
        return _as_text(self)

    @property
    def order(self) -> tuple[str, int, int, BranchPath, int]:
        """What ids are sorted by where people see them: as numbers, in order of execution.

        By pipeline, step, sub-step, branch and fold; a step's own artifact stands before its
        sub-steps', and the one of all folds before those of single folds.
        """
        return (
            self.pipeline_id,
            self.step_index,
            -1 if self.sub_index is None else self.sub_index,
            self.branch_path,
            -1 if self.fold_id is None else self.fold_id,
        )

    def __str__(self) -> str:
        return self.artifact_id


def generate_artifact_id(
    pipeline_id: str,
    branch_path: Iterable[SupportsIndex],
    step_index: SupportsIndex,
    fold_id: SupportsIndex | None = None,
    sub_index: SupportsIndex | None = None,
) -> str:
    """The id of what step ``step_index`` of a pipeline made.

    Args:
        pipeline_id: One name without ":" (``exp:1`` would read as a branch of ``exp``).
        branch_path: Branch indices, outermost first; empty outside of branches.
        step_index: The step, from 0.
        fold_id: The fold that it was fitted on, None when on all of them.
        sub_index: Which of several artifacts of one step.

    Raises:
        InvalidInputError: A part is of the wrong type, negative or too large.
        InvalidNameError: The pipeline id breaks the rules for names.
    """
    return make_path(pipeline_id, branch_path, step_index, fold_id, sub_index).artifact_id


def check_pipeline_id(pipeline_id: str) -> str:
    """The pipeline id in the form that is stored.

    Raises:
        InvalidNameError: It breaks the rules for names.
    """
    if type(pipeline_id) is str:
        return _checked_pipeline_id(pipeline_id)
    return check_name_component(pipeline_id, what="pipeline id")


def check_branch_name(name: str) -> str:
    """The name of a branch in the form that is stored: text for people, one line of it.

    It stands in manifests and results and never in a ref or a path, so it may hold blanks and
    most signs: "first derivative", "SNV + PLS".

    Raises:
        InvalidNameError: It is empty or too long, or holds "/", ":" or what cannot be printed.
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"a branch name is text, not {type(name).__name__}")
    stored = unicodedata.normalize("NFC", name)
    problem = None
    if not stored.strip():
        problem = "it is empty"
    elif stored != stored.strip():
        problem = "it begins or ends with a blank"
    elif not stored.isprintable() or set(stored) & set("/:"):
        problem = "it holds '/', ':' or a character that cannot be printed"
    elif len(stored.encode("utf-8")) > MAX_COMPONENT_BYTES:
        problem = f"it is longer than {MAX_COMPONENT_BYTES} bytes"
    if problem is not None:
        raise InvalidNameError(f"{name!a:.80} cannot be a branch name: {problem}")
    return stored


@functools.lru_cache(maxsize=4096)
def _checked_pipeline_id(pipeline_id: str) -> str:
    # A run registers thousands of artifacts under one name.
    return check_name_component(pipeline_id, what="pipeline id")


def make_path(
    pipeline_id: str,
    branch_path: Iterable[SupportsIndex],
    step_index: SupportsIndex,
    fold_id: SupportsIndex | None = None,
    sub_index: SupportsIndex | None = None,
) -> ExecutionPath:
    """The parts of :func:`generate_artifact_id`, checked, as an :class:`ExecutionPath`."""
    return ExecutionPath(
        check_pipeline_id(pipeline_id),
        make_branch_path(branch_path),
        check_index(step_index, "step"),
        None if fold_id is None else check_index(fold_id, "fold"),
        None if sub_index is None else check_index(sub_index, "sub-step"),
    )


def make_branch_path(branch_path: Iterable[SupportsIndex] | None) -> BranchPath:
    """Checked branch indices; None is the empty path.

    Raises:
        InvalidInputError: Not a sequence of indices from 0, or deeper than the limit.
    """
    if branch_path is None:
        return BranchPath()
    if isinstance(branch_path, str | bytes) or not isinstance(branch_path, Iterable):
        raise InvalidInputError(
            f"a branch path is a list of indices, not {branch_path!r}",
            hint="[] outside of branches, [0, 2] for the third branch inside the first",
        )
    path = BranchPath(check_index(branch, "branch") for branch in branch_path)
    if len(path) > _MAX_BRANCHES:
        raise InvalidInputError(f"a branch path of {len(path)} levels; at most {_MAX_BRANCHES}")
    return path


def parse_artifact_id(artifact_id: str) -> ExecutionPath:
    """The five parts of an id; the inverse of :func:`generate_artifact_id`.

    Raises:
        InvalidInputError: The id is malformed; the message says which part and why.
    """
    if not isinstance(artifact_id, str):
        raise InvalidInputError(
            f"an artifact id is text, not {type(artifact_id).__name__}", hint=_GRAMMAR
        )
    return _parsed(artifact_id)


@functools.lru_cache(maxsize=4096)
def _parsed(artifact_id: str) -> ExecutionPath:
    # One registration looks at its id several times.
    pipeline_id, separator, key = artifact_id.partition(SEPARATOR)
    try:
        checked = check_pipeline_id(pipeline_id)
    except InvalidNameError as error:
        _malformed(artifact_id, "pipeline id", str(error))
    if not separator:
        _malformed(artifact_id, "step and fold", "are missing")
    return _parse(checked, key)


@functools.lru_cache(maxsize=4096)
def _places(key: str) -> _Places:
    # The pipelines of a run have the same keys.
    if SEPARATOR not in key:
        raise _MalformedError("step or fold", "is missing")
    *branches, step, fold = key.split(SEPARATOR)
    if len(branches) > _MAX_BRANCHES:
        raise _MalformedError("branch path", f"is deeper than {_MAX_BRANCHES} levels")
    # From the end: a stray part shifts the others to the left, and the last one tells.
    fold_id = None if fold == ALL_FOLDS else _number("fold", fold)
    step, dot, sub = step.partition(".")
    sub_index = _number("sub-step", sub) if dot else None
    step_index = _number("step", step)
    branch_path = BranchPath(_number("branch", text) for text in branches) if branches else _TRUNK
    return branch_path, step_index, fold_id, sub_index


@functools.lru_cache(maxsize=4096)
def _as_text(path: ExecutionPath) -> str:
    # As often as its id is parsed.
    return f"{path.pipeline_id}{SEPARATOR}{path.key}"


def parse_key(pipeline_id: str, key: str) -> ExecutionPath:
    """The parts of a manifest's key; ``pipeline_id`` is taken as checked.

    Raises:
        InvalidInputError: The key is malformed.
    """
    return _parse(pipeline_id, key)


def parsed_order(artifact_id: str) -> tuple[str, int, int, BranchPath, int]:
    """A sort key that orders ids as parsed: step 2 before step 10."""
    return parse_artifact_id(artifact_id).order


def _parse(pipeline_id: str, key: str) -> ExecutionPath:
    try:
        branch_path, step_index, fold_id, sub_index = _places(key)
    except _MalformedError as error:
        _malformed(f"{pipeline_id}{SEPARATOR}{key}", *error.args)
    return ExecutionPath(pipeline_id, branch_path, step_index, fold_id, sub_index)


class _MalformedError(Exception):
    """Which part of a key is wrong, and why."""


def _number(part: str, text: str) -> int:
    # isdecimal() and int() accept other alphabets' digits and "1_0"; an id has one spelling.
    if not (text.isascii() and text.isdigit()):
        raise _MalformedError(part, f"{text!r:.{_SHOWN}} is not a number")
    if len(text) > 1 and text[0] == "0":
        raise _MalformedError(part, f"{text!r:.{_SHOWN}} has leading zeros")
    if len(text) > _MAX_DIGITS or int(text) > MAX_NUMBER:
        raise _MalformedError(part, f"{text:.{_SHOWN}} is above {MAX_NUMBER}")
    return int(text)


def _malformed(artifact_id: str, part: str, reason: str) -> NoReturn:
    shown = artifact_id if len(artifact_id) <= _SHOWN else artifact_id[:_SHOWN] + "…"
    message = f"malformed artifact id {shown!r}: {part}: {reason}"
    raise InvalidInputError(message, hint=_GRAMMAR) from None


def check_index(value: SupportsIndex, part: str) -> int:
    """A step, fold or branch as a plain number.

    Raises:
        InvalidInputError: It is no whole number from 0.
    """
    # A bool is an int to Python and a slip to everybody else: fold_id=True is no fold.
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_NUMBER:
        raise InvalidInputError(f"the {part} is a whole number from 0, not {value!r:.{_SHOWN}}")
    return number
