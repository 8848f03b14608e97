"""xgboost, lightgbm and catboost, each in its library's own stable format.

==========================  ========  ===================================================
object                      format    payload
==========================  ========  ===================================================
``xgboost.Booster``         xgb_ubj   ``save_raw("ubj")``
an ``XGBModel``, fitted     xgb_ubj   the same, with its class and its plain parameters
``lightgbm.Booster``        lgb_text  ``model_to_string()``
a ``CatBoost``, fitted      cbm       ``save_model(format="cbm")``
==========================  ========  ===================================================

None of them names code to run, and the class is looked up in a fixed list. But the libraries
believe what a model says of itself: one with an index out of range reads or writes beyond its
memory, when it is loaded or when it predicts. So what was imported needs trust, as a pickle does.

An estimator whose parameters are not plain values, an unfitted one and lightgbm's scikit-learn
estimators go to pickle, which carries these libraries' own formats inside. The libraries are never
imported here unless they are already, or a payload asks for them.

A refit is identical for xgboost and lightgbm, never for catboost, which names each model by
chance. An xgboost model that was loaded differs in one flag that the library sets.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, Payload
from n4a_store.artifacts.serializers.soft_import import imported, reading
from n4a_store.errors import CorruptionError
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


class _Boosting:
    """What the three have in common: a skeleton that is a canonical map with one blob in it."""

    library = ""
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

    def _part(self, parts: dict[str, Any], name: str, kind: type) -> Any:
        part = parts.get(name)
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
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(type(name) is str and _plain(item) for name, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


class XgboostSerializer(_Boosting):
    """See the module."""

    library = "xgboost"
    format = "xgb_ubj"
    extension = "ubj"

    def handles(self, obj: Any) -> bool:
        """A booster, or a fitted estimator of the library itself with plain parameters."""
        xgboost = imported("xgboost")
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
        """The payload of a booster or estimator."""
        del threshold
        parts: dict[str, Any] = {"class": type(obj).__name__}
        booster = obj
        if parts["class"] != "Booster":
            parts["params"] = _given(obj.get_params())
            parts["classes"] = int(getattr(obj, "n_classes_", 0))
            booster = obj.get_booster()
        parts["model"] = bytes(booster.save_raw("ubj"))
        return Payload(encode_value(parts))

    def _build(self, library: Any, parts: dict[str, Any]) -> Any:
        raw = bytearray(self._model(parts))
        if parts.get("class") == "Booster":
            return library.Booster(model_file=raw)
        made = self._class(library, parts, _XGB_CLASSES)
        params, classes = self._part(parts, "params", dict), self._part(parts, "classes", int)
        model = made(**params)
        model.load_model(raw)
        # Loading fills in parameters that nobody gave.
        model.set_params(**{**made().get_params(), **params})
        if classes:
            model.n_classes_ = classes
        return model


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
        lightgbm = imported("lightgbm")
        return lightgbm is not None and type(obj) is lightgbm.Booster

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a booster, with all its iterations."""
        del threshold
        text = obj.model_to_string(num_iteration=-1)
        best = int(getattr(obj, "best_iteration", -1))
        return Payload(encode_value({"model": text, "best_iteration": best}))

    def _build(self, library: Any, parts: dict[str, Any]) -> Any:
        best = self._part(parts, "best_iteration", int)
        booster = library.Booster(model_str=self._model(parts))
        booster.best_iteration = best
        return booster


class CatBoostSerializer(_Boosting):
    """See the module. catboost names each model by chance, so a refit is never identical."""

    library = "catboost"
    format = "cbm"
    extension = "cbm"

    def handles(self, obj: Any) -> bool:
        """A fitted model of the library itself."""
        catboost = imported("catboost")
        return (
            catboost is not None
            and type(obj).__name__ in _CAT_CLASSES
            and isinstance(obj, catboost.CatBoost)
            and type(obj).__module__.startswith("catboost.")
            and bool(obj.is_fitted())
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
        return Payload(encode_value({"class": type(obj).__name__, "model": data}))

    def _build(self, library: Any, parts: dict[str, Any]) -> Any:
        model = self._class(library, parts, _CAT_CLASSES)()
        model.load_model(blob=self._model(parts))
        return model
