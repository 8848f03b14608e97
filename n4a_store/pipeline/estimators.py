"""What the runner asks of an estimator, by duck type alone.

scikit-learn is an extra: nothing here imports it unless the object at hand already comes from
it. The questions are the few that training needs: is it a transformer, a splitter or a model;
a fresh unfitted copy; what it is called and with which parameters. The user's own object is
never fitted and never changed.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from n4a_store.errors import InvalidInputError

__all__ = [
    "class_name",
    "clone_estimator",
    "instantiate",
    "is_model",
    "is_splitter",
    "is_transformer",
    "labels_of",
    "params_of",
    "predicts",
    "set_params",
    "takes_labels_only",
    "takes_targets",
]


def _can(obj: object, *methods: str) -> bool:
    return all(callable(getattr(obj, name, None)) for name in methods)


def is_splitter(obj: object) -> bool:
    """Whether ``obj`` yields pairs of row indices; a text has a ``split`` too, and is none."""
    return _can(obj, "split") and not isinstance(obj, (str, bytes)) and not _can(obj, "fit")


def is_transformer(obj: object) -> bool:
    """Whether ``obj`` can be fitted and transform rows."""
    return _can(obj, "fit") and (_can(obj, "transform") or _can(obj, "fit_transform"))


def is_model(obj: object) -> bool:
    """Whether a bare ``obj`` in a list of steps is meant to predict.

    PLS and discriminant analysis both predict and transform; what declares itself a regressor
    or a classifier is a model. A clusterer is a transformer when it can transform, and a selector
    of features always, whatever it declares: RFE repeats what the model in it says.
    """
    if not predicts(obj) or (_can(obj, "get_support") and _can(obj, "transform")):
        return False
    return not _can(obj, "transform") or _declares_predictions(obj)


def predicts(obj: object) -> bool:
    """Whether ``obj`` can predict once it is fitted.

    scikit-learn's stacks, and searches and pipelines over them, show their ``predict`` only when
    they are fitted; what such an object declares itself to be is asked before.
    """
    return _can(obj, "fit") and (_can(obj, "predict") or _declares_predictions(obj))


def _declares_predictions(obj: object) -> bool:
    return _estimator_type(obj) in ("regressor", "classifier")


def _estimator_type(obj: object) -> str | None:
    declared = getattr(obj, "_estimator_type", None)  # scikit-learn before 1.6, and its imitators
    if declared is None and callable(getattr(obj, "__sklearn_tags__", None)):
        try:
            declared = obj.__sklearn_tags__().estimator_type  # type: ignore[attr-defined]
        except AttributeError:  # one of scikit-learn's mixins without its base class
            return None
    return declared if isinstance(declared, str) else None


def instantiate(obj: object) -> object:
    """An object where a class was given: ``StandardScaler`` means ``StandardScaler()``."""
    if isinstance(obj, type):
        try:
            return obj()
        except TypeError as error:
            raise InvalidInputError(
                f"{obj.__name__} cannot be made without arguments: {error}",
                hint="pass an object, not a class",
            ) from error
    return obj


def clone_estimator(obj: Any) -> Any:
    """An unfitted copy with the same parameters.

    scikit-learn's own ``clone`` where the object follows its protocol and scikit-learn is
    there, since it alone knows about nested estimators and metadata routing; else a deep copy.
    """
    if callable(getattr(obj, "get_params", None)) and "sklearn" in sys.modules:
        from sklearn.base import clone

        return clone(obj)
    return copy.deepcopy(obj)


def class_name(obj: object) -> str:
    """The name of the object's class, without its module."""
    return type(obj).__name__


def params_of(obj: Any) -> dict[str, Any] | None:
    """The constructor parameters, or None when the object does not tell."""
    get_params = getattr(obj, "get_params", None)
    if not callable(get_params):
        return None
    try:
        params = get_params(deep=False)
    except Exception as error:
        raise InvalidInputError(
            f"{class_name(obj)} cannot tell its parameters: {type(error).__name__}: {error}",
            hint="an estimator keeps each argument of __init__ as an attribute of that name",
        ) from error
    return dict(params) if isinstance(params, Mapping) else None


def set_params(obj: Any, params: Mapping[str, Any], where: str) -> Any:
    """A copy of ``obj`` with ``params`` set.

    Raises:
        InvalidInputError: The object has no ``set_params``, or does not know one of them.
    """
    changed = clone_estimator(obj)
    setter = getattr(changed, "set_params", None)
    if not callable(setter):
        raise InvalidInputError(
            f"{where}: {class_name(obj)} has no set_params",
            hint="set the parameters where the object is made",
        )
    try:
        setter(**params)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{where}: {class_name(obj)}: {error}") from error
    return changed


def takes_labels_only(obj: object) -> bool:
    """Whether ``obj`` is fitted on a vector of labels, as ``LabelEncoder.fit(y)`` is.

    Everything else wants a table of columns; the name of fit's first parameter tells.
    """
    kind = type(obj)
    if kind not in _labels_only:
        _labels_only[kind] = _first_parameter(kind, "fit") == "y"
    return _labels_only[kind]


def takes_targets(obj: object, method: str) -> bool:
    """Whether a method of ``obj`` can be called with rows and targets, as ``fit(X, y)``."""
    key = (type(obj), method)
    if key not in _with_targets:
        _with_targets[key] = _accepts_two(getattr(obj, method))
    return _with_targets[key]


# Reading a signature costs as much as a small fit, and the same few classes come again and again.
_labels_only: dict[type, bool] = {}
_with_targets: dict[tuple[type, str], bool] = {}


def _first_parameter(kind: type, method: str) -> str | None:
    try:
        names = list(inspect.signature(getattr(kind, method)).parameters)
    except (AttributeError, TypeError, ValueError):
        return None
    return names[1] if len(names) > 1 else None


def _accepts_two(method: Any) -> bool:
    try:
        inspect.signature(method).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a method of a compiled module
        return True
    return True


def labels_of(fitted: object) -> Any:
    """The labels a fitted classifier knows, or None for a regressor."""
    return getattr(fitted, "classes_", None)
