"""Generators: one written pipeline, many pipelines to train.

``expand`` turns a list of steps that may hold generators, at any depth, into plain lists of
steps. Pure and deterministic: the same definition gives the same pipelines in the same order,
the first generator varying slowest.

====================================================  =======================================
``{"_or_": [a, b, [c, d], None]}``                    one of them; a list is a chain of steps,
                                                      None leaves the step out
``{"_or_": [...], "size": 2}`` or ``"size": [1, 2]``  every combination of that many, in order
``{"_range_": [1, 9, 2]}``                            1, 3, 5, 7, 9: both ends are included
``{"_range_": [1, 9], "param": p, "model": m}``       the model with ``p`` set to each of them
``"count": n``                                        the first n of what it would give, or all
``"count": n, "seed": s``                             n drawn with that seed, kept in order
====================================================  =======================================

A generator may stand for a step, for a value inside a step (``{"model": {"_or_": [...]}}``,
``{"model": m, "params": {"n_components": {"_range_": [1, 9]}}}``) and inside another generator.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from n4a_store.errors import InvalidInputError

__all__ = ["MAX_PIPELINES", "expand"]

MAX_PIPELINES = 100_000
"""More than this is a mistake in the definition, found before it fills the memory."""

_OR_KEYS = {"_or_", "size", "count", "seed"}
_APPLIED = ("transform", "y_processing", "split", "model", "stack")
_RANGE_KEYS = {"_range_", "count", "seed"}


class _Nothing:
    """Stands for a step that is left out."""


_NOTHING = _Nothing()


class _Chain(list[Any]):
    """Several steps that one alternative stands for."""


def expand(pipeline: Sequence[Any] | Mapping[str, Any]) -> list[list[Any]]:
    """Every pipeline that ``pipeline`` stands for; itself alone when it holds no generator.

    Raises:
        InvalidInputError: A generator is malformed, empty, or gives too many pipelines.
    """
    if isinstance(pipeline, Mapping) and "_or_" in pipeline:
        pipeline = [pipeline]
    if isinstance(pipeline, (str, bytes)) or not isinstance(pipeline, Sequence):
        raise InvalidInputError(
            f"a pipeline is a list of steps, not {type(pipeline).__name__}",
            hint="run([StandardScaler(), KFold(3), {'model': PLSRegression()}], X, y)",
        )
    found = _limited(_steps(pipeline, "step"), "the pipeline")
    if not found:
        raise InvalidInputError("the pipeline's generators give no pipeline at all")
    return found


def _limited(items: Iterator[Any], where: str) -> list[Any]:
    found = list(itertools.islice(items, MAX_PIPELINES + 1))
    if len(found) > MAX_PIPELINES:
        raise InvalidInputError(
            f"{where} expands into more than {MAX_PIPELINES} variants",
            hint='limit a generator with "count"',
        )
    return found


def _steps(steps: Sequence[Any], where: str, first: int = 0) -> Iterator[list[Any]]:
    """Every plain reading of a list of steps, the first of which is called ``first``."""
    options = [_step(step, f"{where} {i}", i) for i, step in enumerate(steps, start=first)]
    for choice in itertools.product(*options):
        plain: list[Any] = []
        for part in choice:
            if isinstance(part, _Chain):
                plain.extend(part)
            elif part is not _NOTHING:
                plain.append(part)
        yield plain


def _step(step: Any, where: str, index: int) -> list[Any]:
    """The alternatives of one step; a :class:`_Chain` stands for several steps."""
    if step is None:
        return [_NOTHING]
    if isinstance(step, (list, tuple)):
        return [_Chain(chain) for chain in _limited(_steps(step, f"{where}, step", index), where)]
    if isinstance(step, Mapping):
        if "_or_" in step:
            return _alternatives(step, where, index)
        if "_range_" in step:
            return _model_range(step, where)
        if "branch" in step:
            return _branches(step, where, index)
        # "Or nothing" also where the generator stands for what the step applies.
        applied = [name for name in _APPLIED if _is_choice(step.get(name))]
        return [
            _NOTHING if any(plain[name] is None for name in applied) else plain
            for plain in _values(step, where)
        ]
    return _values(step, where)


def _is_choice(value: Any) -> bool:
    return isinstance(value, Mapping) and "_or_" in value


def _alternatives(step: Mapping[str, Any], where: str, index: int) -> list[Any]:
    options = _or_options(step, where)
    expanded = [
        _step(option, f"{where}, alternative {i}", index) for i, option in enumerate(options)
    ]
    if "size" not in step:
        return _counted([one for many in expanded for one in many], step, where)
    chains: list[Any] = []
    for combination in _combinations(step, len(options), where):
        for choice in itertools.product(*(expanded[i] for i in combination)):
            chain = _Chain()
            for part in choice:
                chain.extend(part if isinstance(part, _Chain) else [part])
            chains.append(_Chain(item for item in chain if item is not _NOTHING))
    return _counted(chains, step, where)


def _combinations(step: Mapping[str, Any], n: int, where: str) -> Iterator[tuple[int, ...]]:
    size = step["size"]
    low, high = size if isinstance(size, (list, tuple)) and len(size) == 2 else (size, size)
    if not (_is_count(low) and _is_count(high) and low <= high <= n):
        raise InvalidInputError(
            f'{where}: "size" must be a number or [low, high] between 1 and {n}, not {size!r}'
        )
    return itertools.chain.from_iterable(
        itertools.combinations(range(n), k) for k in range(low, high + 1)
    )


def _or_options(step: Mapping[str, Any], where: str) -> Sequence[Any]:
    _only(step, _OR_KEYS, where)
    options = step["_or_"]
    if not isinstance(options, (list, tuple)) or not options:
        raise InvalidInputError(f'{where}: "_or_" wants a list with at least one alternative')
    return options


def _model_range(step: Mapping[str, Any], where: str) -> list[Any]:
    """A range with a parameter and the model that has it."""
    rest = {key: value for key, value in step.items() if key not in {*_RANGE_KEYS, "param"}}
    param = step.get("param")
    if "model" not in rest or not isinstance(param, str):
        raise InvalidInputError(
            f'{where}: a "_range_" that stands for a step needs "param" and "model"',
            hint='{"_range_": [1, 9, 2], "param": "n_components", "model": PLSRegression()}',
        )
    values = _range_values({key: step[key] for key in _RANGE_KEYS if key in step}, where)
    return [
        {**plain, "params": {**plain.get("params", {}), param: value}}
        for plain in _values(rest, where)
        for value in values
    ]


def _branches(step: Mapping[str, Any], where: str, index: int) -> list[Any]:
    """Every reading of a step with branches: the product of their readings."""
    branches = step["branch"]
    rest = {key: value for key, value in step.items() if key != "branch"}
    if isinstance(branches, Mapping) and not ({"_or_", "_range_"} & set(branches)):
        names: list[Any] | None = list(branches)
        parts: Sequence[Any] = list(branches.values())
    elif isinstance(branches, (list, tuple)):
        names, parts = None, branches
    else:
        return [dict(step)]  # malformed: the parser says so, with the step's place
    options = []
    for name, part in zip(names or map(str, range(len(parts))), parts, strict=True):
        inner = part if isinstance(part, (list, tuple)) else [part]
        readings_of = _steps(inner, f"{where}, branch {name!r}, step", index + 1)
        options.append(_limited(readings_of, where))
    readings = (
        list(choice) if names is None else dict(zip(names, choice, strict=True))
        for choice in itertools.product(*options)
    )
    return _limited(({**rest, "branch": reading} for reading in readings), where)


def _values(value: Any, where: str) -> list[Any]:
    """The alternatives of a value inside a step."""
    if isinstance(value, Mapping):
        if "_or_" in value:
            options = _or_options(value, where)
            if "size" in value:
                picks = _combinations(value, len(options), where)
                return _counted([[options[i] for i in pick] for pick in picks], value, where)
            return _counted([v for o in options for v in _values(o, where)], value, where)
        if "_range_" in value:
            return _range_values(value, where)
        names = list(value)
        parts = [_values(value[name], f"{where}, {name!r}") for name in names]
        made = (dict(zip(names, choice, strict=True)) for choice in itertools.product(*parts))
        return _limited(made, where)
    if isinstance(value, list):
        parts = [_values(item, where) for item in value]
        return _limited((list(choice) for choice in itertools.product(*parts)), where)
    return [value]


def _range_values(value: Mapping[str, Any], where: str) -> list[Any]:
    _only(value, _RANGE_KEYS, where)
    bounds = value["_range_"]
    are_numbers = isinstance(bounds, (list, tuple)) and all(
        not isinstance(b, bool) and isinstance(b, Real) and math.isfinite(b) for b in bounds
    )
    if not are_numbers or len(bounds) not in (2, 3):
        raise InvalidInputError(
            f'{where}: "_range_" wants [start, stop] or [start, stop, step], not {bounds!r}'
        )
    # numpy's numbers as plain ones: they become parameters of models.
    plain = [int(b) if isinstance(b, Integral) else float(b) for b in bounds]
    start, stop, step = (*plain, 1)[:3]
    if step == 0 or (stop - start) / step < 0:
        raise InvalidInputError(f'{where}: "_range_" {bounds!r} holds no value')
    # Multiplied, not summed up: 0.1 steps must not drift away from their last value.
    last = int((stop - start) / step + 1e-9)
    if last >= MAX_PIPELINES:
        raise InvalidInputError(f'{where}: "_range_" {bounds!r} holds more than {MAX_PIPELINES}')
    return _counted([start + i * step for i in range(last + 1)], value, where)


def _counted(found: list[Any], step: Mapping[str, Any], where: str) -> list[Any]:
    count = step.get("count")
    if count is None:
        if "seed" in step:
            raise InvalidInputError(f'{where}: "seed" goes with "count"')
        return found
    if not _is_count(count):
        raise InvalidInputError(f'{where}: "count" must be a number above 0, not {count!r}')
    if "seed" not in step:
        return found[:count]
    seed = step["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise InvalidInputError(f'{where}: "seed" is a whole number, not {seed!r:.80}')
    if count >= len(found):
        return found
    drawn = random.Random(seed).sample(range(len(found)), count)
    return [found[i] for i in sorted(drawn)]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _only(step: Mapping[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(set(map(str, step)) - allowed)
    if unknown:
        raise InvalidInputError(
            f"{where}: unknown key {unknown[0]!r} in a generator",
            hint=f"known keys: {', '.join(sorted(allowed))}",
        )
