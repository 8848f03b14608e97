"""What a boosting model still knows when it comes back: to predict, and to be trained further."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from n4a_store.artifacts.serializers.boosting import (
    CatBoostSerializer,
    LightGbmSerializer,
    XgboostSerializer,
)
from n4a_store.artifacts.serializers.table import default_table
from n4a_store.errors import SerializationError
from n4a_store.objects.codec import decode_value, encode_value

RNG = np.random.default_rng(11)
ROWS = RNG.normal(size=(60, 4))
TARGET = ROWS[:, 0] * 2 + ROWS[:, 1]
XGB = {"n_estimators": 5, "max_depth": 2, "n_jobs": 1}


def again(model: Any) -> Any:
    serializer = default_table().for_object(model)
    payload = serializer.dumps(model)
    return serializer.loads(payload.skeleton, [bytearray(part.data) for part in payload.buffers])


def as_before(serializer: Any, model: Any, *fields: str) -> Any:
    """The model from a payload that was written before there were these fields."""
    parts = decode_value(serializer.dumps(model).skeleton)
    for name in fields:
        del parts[name]
    return serializer.loads(encode_value(parts), ())


class TestXgboost:
    @pytest.fixture
    def xgboost(self) -> Any:
        return pytest.importorskip("xgboost")

    @pytest.mark.parametrize(
        ("params", "form"),
        [
            ({"eval_metric": ["rmse", "mae"]}, "xgb_ubj"),
            ({"monotone_constraints": {"f0": 1, "f2": -1}}, "xgb_ubj"),
            ({"interaction_constraints": [["f0", "f1"], ["f2"]]}, "xgb_ubj"),
            ({"monotone_constraints": (1, 0, 0, 0)}, "pickle5"),
            ({"eta": 0.1}, "xgb_ubj"),
            ({}, "xgb_ubj"),
        ],
    )
    def test_an_estimator_predicts_and_tells_what_it_told(
        self, xgboost: Any, params: dict[str, Any], form: str
    ) -> None:
        pandas = pytest.importorskip("pandas") if "f0" in str(params) else None
        rows = ROWS if pandas is None else pandas.DataFrame(ROWS, columns=["f0", "f1", "f2", "f3"])
        model = xgboost.XGBRegressor(**XGB, **params).fit(rows, TARGET)
        assert default_table().for_object(model).format == form
        loaded = again(model)
        assert np.array_equal(loaded.predict(rows), model.predict(rows))
        assert repr(loaded.get_params()) == repr(model.get_params())
        assert loaded.n_features_in_ == 4
        assert np.array_equal(loaded.feature_importances_, model.feature_importances_)
        assert np.array_equal(again(loaded).predict(rows), model.predict(rows))

    def test_constraints_by_name_come_back_without_pandas(self, xgboost: Any) -> None:
        model = xgboost.XGBRegressor(**XGB).fit(ROWS, TARGET)
        model.monotone_constraints = {"f0": 1}
        assert np.array_equal(again(model).predict(ROWS), model.predict(ROWS))

    @pytest.mark.parametrize("kind", ["booster", "estimator"])
    def test_what_was_loaded_is_trained_further_as_if_it_had_never_been_stored(
        self, xgboost: Any, kind: str
    ) -> None:
        def data() -> Any:
            return xgboost.DMatrix(ROWS, TARGET)

        model: Any
        if kind == "booster":
            params = {"max_depth": 2, "eta": 0.05, "nthread": 1}
            model = xgboost.train(params, data(), num_boost_round=4)
        else:
            model = xgboost.XGBRegressor(**XGB, learning_rate=0.05).fit(ROWS, TARGET)
        models = [model, again(model), again(again(model))]
        boosters = [one if kind == "booster" else one.get_booster() for one in models]
        for booster in boosters:
            booster.update(data(), 5)
        first, *others = (booster.predict(data()) for booster in boosters)
        assert all(np.array_equal(first, other) for other in others)

    def test_it_is_stored_again_and_fitted_again_to_the_same_bytes(self, xgboost: Any) -> None:
        model, other = (xgboost.XGBRegressor(**XGB).fit(ROWS, TARGET) for _ in range(2))
        payload = XgboostSerializer().dumps(model)
        model.predict(ROWS)
        assert XgboostSerializer().dumps(model) == payload
        assert XgboostSerializer().dumps(other) == payload
        assert XgboostSerializer().dumps(again(model)) == payload

    def test_what_it_was_evaluated_to_is_kept(self, xgboost: Any) -> None:
        metrics = {"eval_metric": ["rmse", "mae"], "early_stopping_rounds": 2}
        model = xgboost.XGBRegressor(**XGB, **metrics)
        sets = [(ROWS, TARGET), (ROWS[:20], TARGET[:20])]
        model.fit(ROWS, TARGET, eval_set=sets, verbose=0)
        loaded = again(model)
        assert repr(loaded.evals_result()) == repr(model.evals_result())
        assert loaded.best_iteration == model.best_iteration

    def test_what_was_written_before_this_was_kept_loads(self, xgboost: Any) -> None:
        model = xgboost.XGBRegressor(**XGB, eval_metric=["rmse", "mae"])
        model.fit(ROWS, TARGET, eval_set=[(ROWS, TARGET)], verbose=0)
        for one, fields in ((model, ("config", "evals")), (model.get_booster(), ("config",))):
            loaded = as_before(XgboostSerializer(), one, *fields)
            rows = xgboost.DMatrix(ROWS) if one is not model else ROWS
            assert np.array_equal(loaded.predict(rows), one.predict(rows))

    # The library warns of the version, from where a warning cannot become an error.
    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("kind", ["booster", "estimator"])
    def test_a_configuration_of_another_version_is_left_out(self, xgboost: Any, kind: str) -> None:
        """It is no part of what the library promises to read; the model itself is."""
        model = xgboost.XGBRegressor(**XGB).fit(ROWS, TARGET)
        model = model.get_booster() if kind == "booster" else model
        rows = xgboost.DMatrix(ROWS) if kind == "booster" else ROWS
        parts = decode_value(XgboostSerializer().dumps(model).skeleton)
        config = json.loads(parts["config"])
        del config["learner"]["gradient_booster"]
        parts["config"] = json.dumps(config)
        with pytest.raises(SerializationError, match="cannot be read as xgb_ubj"):
            XgboostSerializer().loads(encode_value(parts), ())
        config["version"] = [99, 0, 0]
        parts["config"] = json.dumps(config)
        loaded = XgboostSerializer().loads(encode_value(parts), ())
        assert np.array_equal(loaded.predict(rows), model.predict(rows))

    def test_what_the_library_refuses_to_save_is_told(self, xgboost: Any) -> None:
        model = xgboost.XGBRegressor(**XGB).fit(ROWS, TARGET)
        model.get_booster().set_param({"eval_metric": "no such metric"})
        with pytest.raises(SerializationError, match="a XGBRegressor of xgboost cannot be saved"):
            XgboostSerializer().dumps(model)


class TestLightGbm:
    @pytest.fixture
    def lightgbm(self) -> Any:
        return pytest.importorskip("lightgbm")

    def test_scores_are_kept(self, lightgbm: Any) -> None:
        options = {"verbose": -1, "min_data_in_leaf": 5, "num_threads": 1, "metric": ["l2", "l1"]}
        data = lightgbm.Dataset(ROWS[:40], TARGET[:40])
        held_out = lightgbm.Dataset(ROWS[40:], TARGET[40:])
        stop = [lightgbm.early_stopping(2, verbose=False)]
        model = lightgbm.train(options, data, 30, valid_sets=[held_out], callbacks=stop)
        loaded = again(model)
        assert loaded.best_score == model.best_score
        assert list(loaded.best_score["valid_0"]) == list(model.best_score["valid_0"])
        assert LightGbmSerializer().dumps(loaded) == LightGbmSerializer().dumps(model)
        before = as_before(LightGbmSerializer(), model, "best_score")
        assert before.best_iteration == model.best_iteration
        plain = lightgbm.train(options, lightgbm.Dataset(ROWS, TARGET), 3)
        assert set(decode_value(LightGbmSerializer().dumps(plain).skeleton)) == {
            "model", "best_iteration",
        }  # fmt: skip


@pytest.mark.large
class TestCatBoost:
    @pytest.fixture
    def catboost(self) -> Any:
        return pytest.importorskip("catboost")

    OPTIONS = {  # noqa: RUF012
        "iterations": 5, "depth": 2, "learning_rate": 0.3, "verbose": 0, "random_seed": 3,
        "thread_count": 1, "allow_writing_files": False,
    }  # fmt: skip

    def test_parameters_features_and_importances_are_kept(self, catboost: Any) -> None:
        from sklearn.base import clone

        model = catboost.CatBoostRegressor(**self.OPTIONS).fit(ROWS, TARGET)
        loaded = again(model)
        assert loaded.get_params() == model.get_params()
        assert loaded.n_features_in_ == 4
        assert loaded.feature_importances_.tolist() == model.feature_importances_.tolist()
        refits = [clone(one).fit(ROWS, TARGET).predict(ROWS) for one in (model, loaded)]
        assert np.array_equal(*refits)
        assert again(loaded).get_params() == model.get_params()

    def test_the_base_class_takes_its_parameters_as_one(self, catboost: Any) -> None:
        model = catboost.CatBoost({**self.OPTIONS, "loss_function": "MAE"}).fit(ROWS, TARGET)
        assert again(model).get_params() == model.get_params()

    def test_what_is_not_plain_goes_to_pickle(self, catboost: Any) -> None:
        options = {**self.OPTIONS, "depth": np.int64(2)}
        model = catboost.CatBoostRegressor(**options).fit(ROWS, TARGET)
        assert default_table().for_object(model).format == "pickle5"
        loaded = again(model)
        assert loaded.get_params() == model.get_params()
        assert np.array_equal(loaded.predict(ROWS), model.predict(ROWS))

    def test_what_was_written_before_this_was_kept_loads(self, catboost: Any) -> None:
        model = catboost.CatBoostRegressor(**self.OPTIONS).fit(ROWS, TARGET)
        fields = ("params", "prediction_values_change")
        loaded = as_before(CatBoostSerializer(), model, *fields)
        assert np.array_equal(loaded.predict(ROWS), model.predict(ROWS))
        assert loaded.n_features_in_ == 4
