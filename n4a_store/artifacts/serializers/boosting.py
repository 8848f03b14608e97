"""xgboost, lightgbm and catboost, each in its library's own stable format.

==========================  ========  ===================================================
object                      format    payload
==========================  ========  ===================================================
``xgboost.Booster``         xgb_ubj   ``save_raw("ubj")`` and ``save_config()``
an ``XGBModel``, fitted     xgb_ubj   the same, with its class, its plain parameters and
                                      what it was evaluated to
``lightgbm.Booster``        lgb_text  ``model_to_string()`` and its scores
a ``CatBoost``, fitted      cbm       ``save_model(format="cbm")`` with its class, its
                                      plain parameters and its features' importances
==========================  ========  ===================================================

None of them names code to run, and the class is looked up in a fixed list. But the libraries
believe what a model says of itself: one with an index out of range reads or writes beyond its
memory, when it is loaded or when it predicts. So what was imported needs trust, as a pickle does.

An estimator whose parameters are not plain values (a tuple is none), an unfitted one and
lightgbm's scikit-learn estimators go to pickle, which carries these libraries' own formats inside.
The libraries are never imported here unless they are already, or a payload asks for them.

A refit is identical for xgboost and lightgbm, never for catboost, which names each model by
chance. A booster of xgboost that was loaded can be trained further as if it had never been stored;
where another version, which warns of it, cannot read how it was configured, its defaults stand.
What was written before all this was kept loads without it.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Any

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, Payload
from n4a_store.artifacts.serializers.soft_import import OfLibrary, imported, reading
from n4a_store.errors import CorruptionError, SerializationError
from n4a_store.objects.codec import decode_value, encode_value
from n4a_store.objects.oid import BytesLike

__all__ = ["CatBoostSerializer", "LightGbmSerializer", "XgboostSerializer"]

_XGB_CLASSES = (
    "XGBClassifier",
    "XGBModel",
    "XGBRFClassifier",
    "XGBRFRegressor",
    "XGBRanker",
    "XGBRegressor",
)
_CAT_CLASSES = ("CatBoost", "CatBoostClassifier", "CatBoostRanker", "CatBoostRegressor")
_CAT_IMPORTANCES = ("prediction_values_change", "loss_value_change")


class _Boosting(OfLibrary):
    """What the three have in common: a skeleton that is a canonical map with one blob in it."""

    format = ""
    extension = "bin"
    needs_trust = True
    model_type: type = bytes

    def loads(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> Any:
        """The model.

        Raises:
            SerializationError: The library is missing or does not understand the model.
            CorruptionError: The payload is not of this format.
        """
        parts = self._parts(skeleton, buffers)
        with reading(self.library, self.format) as library:
            return self._build(library, parts)

    def file_bytes(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> bytes:
        """The model as the library writes it: its ``load_model`` reads it.

        Raises:
            CorruptionError: The payload is not of this format.
        """
        model = self._model(self._parts(skeleton, buffers))
        return model.encode() if isinstance(model, str) else model

    def _parts(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> dict[str, Any]:
        parts = decode_value(skeleton)
        if buffers or not isinstance(parts, dict):
            raise CorruptionError(f"not a payload of format {self.format}")
        return parts

    def _model(self, parts: dict[str, Any]) -> Any:
        """The model in the library's format: never empty, which aborts the process in some."""
        model = parts.get("model")
        if type(model) is not self.model_type or not model:
            raise CorruptionError(f"a payload of format {self.format} without a model")
        return model

    def _part(self, parts: dict[str, Any], name: str, kind: type, before: Any = None) -> Any:
        """A part of the payload, or ``before`` where it was written before there was one."""
        part = parts.get(name, before)
        if type(part) is not kind:
            raise CorruptionError(f"a payload of format {self.format} with odd {name}")
        return part

    def _build(self, library: Any, parts: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _class(self, module: Any, parts: dict[str, Any], allowed: tuple[str, ...]) -> Any:
        if parts.get("class") not in allowed:
            raise CorruptionError(f"a payload of format {self.format} of another class")
        return getattr(module, parts["class"])


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(type(name) is str and _plain(item) for name, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


def _pairs(scores: Any) -> list[Any]:
    """What ``scores`` holds, by data set and by metric, in its own order; nothing of odd ones."""
    try:
        return [
            [str(data), [[str(metric), _numbers(value)] for metric, value in by_metric.items()]]
            for data, by_metric in scores.items()
        ]
    except (AttributeError, TypeError, ValueError):
        return []


def _numbers(value: Any) -> Any:
    return list(map(float, value)) if isinstance(value, list) else float(value)


def _ordered(pairs: list[Any]) -> dict[str, OrderedDict[str, Any]]:
    return {data: OrderedDict(map(tuple, by_metric)) for data, by_metric in pairs}


class XgboostSerializer(_Boosting):
    """See the module."""

    library = "xgboost"
    format = "xgb_ubj"
    extension = "ubj"

    def handles(self, obj: Any) -> bool:
        """A booster, or a fitted estimator of the library itself with plain parameters."""
        xgboost = imported(self.library)
        if xgboost is None:
            return False
        if type(obj) is xgboost.Booster:
            return True
        return (
            type(obj).__name__ in _XGB_CLASSES
            and type(obj).__module__ == "xgboost.sklearn"
            and obj.__sklearn_is_fitted__()
            and _plain(_given(obj.get_params()))
        )

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a booster or estimator.

        Raises:
            SerializationError: The library refuses to save it.
        """
        del threshold
        parts: dict[str, Any] = {"class": type(obj).__name__}
        booster = obj
        if parts["class"] != "Booster":
            parts["params"] = _given(obj.get_params())
            parts["classes"] = int(getattr(obj, "n_classes_", 0))
            if evals := _pairs(getattr(obj, "evals_result_", None)):
                parts["evals"] = evals
            booster = obj.get_booster()
        try:
            parts["model"] = bytes(booster.save_raw("ubj"))
            parts["config"] = booster.save_config()
        except MemoryError:
            raise
        except Exception as error:
            raise SerializationError(
                f"a {parts['class']} of xgboost cannot be saved: {type(error).__name__}: {error}"
            ) from error
        return Payload(encode_value(parts))

    def _build(self, library: Any, parts: dict[str, Any]) -> Any:
        raw = bytearray(self._model(parts))
        config = self._part(parts, "config", str, "")
        if parts.get("class") == "Booster":
            booster = library.Booster(model_file=raw)
            return booster if _configured(booster, config) else library.Booster(model_file=raw)
        made = self._class(library, parts, _XGB_CLASSES)
        params, classes = self._part(parts, "params", dict), self._part(parts, "classes", int)
        evals = self._part(parts, "evals", list, [])
        model = made(**params)
        given = dict(vars(model))
        model.load_model(raw)
        # Loading fills in parameters that nobody gave. Not by set_params: it hands the booster
        # what it does not take, lists of metrics and maps of constraints.
        vars(model).update(given)
        if not _configured(model.get_booster(), config):
            model.get_booster().load_model(raw)
        if classes:
            model.n_classes_ = classes
        if evals:
            model.evals_result_ = _ordered(evals)
        return model


def _configured(booster: Any, config: str) -> bool:
    """Whether ``booster`` is configured as it was; what it predicts does not hang on it."""
    try:
        if config:
            booster.load_config(config)
    except ValueError:  # the library's own error is one
        if json.loads(config)["version"] == json.loads(booster.save_config())["version"]:
            raise
        return False
    return True


def _given(params: dict[str, Any]) -> dict[str, Any]:
    # xgboost's default for "missing" is NaN, which is what leaving it out means.
    return {
        name: value
        for name, value in params.items()
        if value is not None
        and not (name == "missing" and isinstance(value, float) and math.isnan(value))
    }


class LightGbmSerializer(_Boosting):
    """See the module."""

    library = "lightgbm"
    format = "lgb_text"
    extension = "txt"
    model_type = str

    def handles(self, obj: Any) -> bool:
        """A booster."""
        lightgbm = imported(self.library)
        return lightgbm is not None and type(obj) is lightgbm.Booster

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a booster, with all its iterations."""
        del threshold
        text = obj.model_to_string(num_iteration=-1)
        parts = {"model": text, "best_iteration": int(getattr(obj, "best_iteration", -1))}
        if scores := _pairs(obj.best_score):
            parts["best_score"] = scores
        return Payload(encode_value(parts))

    def _build(self, library: Any, parts: dict[str, Any]) -> Any:
        best = self._part(parts, "best_iteration", int)
        scores = self._part(parts, "best_score", list, [])
        booster = library.Booster(model_str=self._model(parts))
        booster.best_iteration = best
        if scores:
            booster.best_score = defaultdict(OrderedDict, _ordered(scores))
        return booster


class CatBoostSerializer(_Boosting):
    """See the module. catboost names each model by chance, so a refit is never identical."""

    library = "catboost"
    format = "cbm"
    extension = "cbm"

    def handles(self, obj: Any) -> bool:
        """A fitted model of the library itself with plain parameters."""
        catboost = imported(self.library)
        return (
            catboost is not None
            and type(obj).__name__ in _CAT_CLASSES
            and isinstance(obj, catboost.CatBoost)
            and type(obj).__module__.startswith("catboost.")
            and bool(obj.is_fitted())
            and _plain(obj.get_params())
        )

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a model."""
        del threshold
        # catboost writes its stable format to files only.
        with tempfile.TemporaryDirectory(prefix="n4a_store-") as folder:
            path = os.path.join(folder, "model.cbm")
            obj.save_model(path, format="cbm")
            with open(path, "rb") as file:
                data = file.read()
        parts = {"class": type(obj).__name__, "params": obj.get_params(), "model": data}
        for name in _CAT_IMPORTANCES:
            values = getattr(obj, f"_{name}", None)
            if values is not None:
                parts[name] = [float(value) for value in values]
        return Payload(encode_value(parts))

    def _build(self, library: Any, parts: dict[str, Any]) -> Any:
        data = self._model(parts)
        made = self._class(library, parts, _CAT_CLASSES)
        params = self._part(parts, "params", dict, {})
        model = made(params) if parts["class"] == "CatBoost" else made(**params)
        model.load_model(blob=data)
        # The library forgets both when it loads a model, its own pickles the first.
        model._n_features_in = len(model.feature_names_)
        for name in _CAT_IMPORTANCES:
            if values := self._part(parts, name, list, []):
                setattr(model, f"_{name}", values)
        return model
