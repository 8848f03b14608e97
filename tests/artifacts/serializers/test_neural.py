"""torch and keras with their real objects: what comes back, what is shared, what needs trust.

They are large, so these tests run where the extra ``[large]`` is installed (``make large``) and
are skipped elsewhere. What does not need the libraries is tested without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.serializers.keras_archive import KerasSerializer
from n4a_store.artifacts.serializers.table import default_table
from n4a_store.artifacts.serializers.torch_archive import (
    TorchModuleSerializer,
    TorchStateSerializer,
)
from n4a_store.errors import CorruptionError, SerializationError, UntrustedError
from n4a_store.objects.codec import encode_value
from n4a_store.testing.serializers import check_serializer


def raw(payload: Payload) -> list[bytes]:
    return [payload.skeleton, *(bytes(buffer.data) for buffer in payload.buffers)]


def reload(serializer: Any, payload: Payload) -> Any:
    return serializer.loads(payload.skeleton, [bytearray(part.data) for part in payload.buffers])


@pytest.mark.parametrize(
    "serializer", [TorchStateSerializer(), TorchModuleSerializer(), KerasSerializer()]
)
@pytest.mark.parametrize(
    ("skeleton", "buffers"),
    [
        ([], []),
        ({}, []),
        ({"pieces": [b"a"]}, [b"", b""]),
        ({"pieces": ["a", "b"]}, [b""]),
        ({"members": []}, []),
        ({"members": {"config.json": b"{}"}}, []),
        ({"members": {"model.weights.h5": b""}}, [b""]),
    ],
)
def test_a_payload_of_the_wrong_shape_is_damage(
    serializer: Any, skeleton: Any, buffers: list[bytes]
) -> None:
    """It is told before the library is asked, hence with or without it."""
    with pytest.raises(CorruptionError, match="not a payload of format"):
        serializer.loads(encode_value(skeleton), buffers)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "keras"):
        monkeypatch.setitem(sys.modules, name, None)  # as import does for what is not there
    with pytest.raises(SerializationError, match="needs torch, which is not") as caught:
        TorchStateSerializer().loads(encode_value({"pieces": [b"x"]}), [])
    assert caught.value.hint == "pip install torch"
    with pytest.raises(SerializationError, match="needs keras, which is not"):
        KerasSerializer().loads(encode_value({"members": {"model.weights.h5": b""}}), [])
    assert not TorchStateSerializer().handles({"a": 1})
    assert not TorchModuleSerializer().handles({"a": 1})
    assert not KerasSerializer().handles({"a": 1})


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed: pip install -e .[large]")


@pytest.fixture
def keras(torch: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    return pytest.importorskip("keras", reason="keras is not installed: pip install -e .[large]")


def network(torch: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    nn = torch.nn
    return nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 1))


def same(a: Any, b: Any) -> bool:
    """Equal values, of equal types, whatever holds them."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "state_dict"):
        return same(a.state_dict(), b.state_dict())
    if hasattr(a, "requires_grad"):
        return a.dtype == b.dtype and a.requires_grad == b.requires_grad and a.equal(b)
    return bool(a == b)


@pytest.mark.large
class TestTorch:
    def test_states(self, torch: Any) -> None:
        net = network(torch)
        optimizer = torch.optim.Adam(net.parameters())
        net(torch.ones(2, 100)).sum().backward()
        optimizer.step()
        states = [
            net.state_dict(),
            {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3},
            torch.arange(6.0).reshape(2, 3),
            torch.arange(9000, dtype=torch.float64)[10:20],
            torch.ones(3000, dtype=torch.bfloat16),
            torch.zeros(0),
            torch.nn.Parameter(torch.ones(5000)),
            [torch.ones(2), None, ("a", 1.5)],
        ]
        check_serializer(TorchStateSerializer(), states, same=same)
        for state in states:
            assert default_table().for_object(state).format == "torch_state"
        for other in ({"a": 1}, [], OrderedDict(), {"a": object(), "b": torch.ones(1)}):
            assert default_table().for_object(other).format == "pickle5"

    def test_a_view_is_stored_without_what_it_looks_into(self, torch: Any) -> None:
        view = torch.zeros(1_000_000)[:10]
        assert TorchStateSerializer().dumps(view).size < 4000

    def test_a_view_in_a_state_is_stored_so_too(self, torch: Any) -> None:
        state = network(torch).state_dict()
        plain = raw(TorchStateSerializer().dumps(state))
        base = torch.arange(1_000_000.0)
        view, keep = base[5:15], dict(state)
        state["0.bias"] = view
        payload = TorchStateSerializer().dumps(state)
        again = reload(TorchStateSerializer(), payload)
        assert sum(map(len, plain)) > payload.size
        assert same(again, state)
        assert again._metadata == state._metadata
        assert state["0.bias"] is view
        assert all(state[name] is keep[name] for name in keep if name != "0.bias")

    def test_views_of_one_memory_still_share_it(self, torch: Any) -> None:
        base = torch.arange(100.0)
        state = {"both": [base[:10], (base[5:15], base[:2].expand(3, 2))], "again": base[90:]}
        lone = torch.arange(100.0)[:10]
        state |= {"lone": lone, "lone again": lone, "repeated": torch.ones(1).expand(1000)}
        payload = TorchStateSerializer().dumps(state)
        again = reload(TorchStateSerializer(), payload)
        assert same(again, state)
        again["both"][0][5] = 77
        assert again["both"][1][0][0] == 77
        assert again["lone"] is again["lone again"]
        assert again["lone"].untyped_storage().nbytes() == 40
        assert again["repeated"].untyped_storage().nbytes() == 4

    def test_a_circle_of_lists_is_no_state(self, torch: Any) -> None:
        circle: list[Any] = [torch.ones(1)]
        circle.append(circle)
        assert default_table().for_object(circle).format == "pickle5"

    def test_modules(self, torch: Any) -> None:
        net = network(torch)
        check_serializer(TorchModuleSerializer(), [net], same=same)
        assert default_table().for_object(net).format == "torch_module"
        assert TorchModuleSerializer().dumps(net).pickler == "pickle"
        again = TorchModuleSerializer().dumps(network(torch))
        assert raw(again) == raw(TorchModuleSerializer().dumps(net)), "a refit is identical"

    def test_a_module_of_a_local_class(self, torch: Any) -> None:
        class Doubled(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = torch.nn.Linear(3, 2)

            def forward(self, x: Any) -> Any:
                return 2 * self.inner(x)

        net = Doubled()
        payload = TorchModuleSerializer().dumps(net)
        assert payload.pickler == "cloudpickle"
        x = torch.ones(4, 3)
        assert reload(TorchModuleSerializer(), payload)(x).equal(net(x))

    def test_a_module_that_holds_a_module_of_python(self, torch: Any) -> None:
        net = network(torch)
        net.backend = np
        payload = TorchModuleSerializer().dumps(net)
        assert payload.pickler == "cloudpickle"
        assert reload(TorchModuleSerializer(), payload).backend is np

    def test_a_shared_backbone_is_one_object(self, torch: Any) -> None:
        one, other = network(torch), network(torch)
        torch.nn.init.ones_(other[2].weight)
        first, second = (TorchModuleSerializer().dumps(net) for net in (one, other))
        assert [bytes(part.data) for part in first.buffers] == [
            bytes(part.data) for part in second.buffers
        ]
        assert first.skeleton != second.skeleton

    def test_the_file_is_what_torch_reads(self, torch: Any, tmp_path: Path) -> None:
        net = network(torch)
        payload = TorchModuleSerializer().dumps(net)
        parts = [part.data for part in payload.buffers]
        path = tmp_path / "model.pt"
        path.write_bytes(TorchModuleSerializer().file_bytes(payload.skeleton, parts))
        assert same(torch.load(path, weights_only=False), net)

    def test_what_cannot_be_saved_is_named(self, torch: Any) -> None:
        import threading

        net = network(torch)
        net.guard = threading.Lock()
        with pytest.raises(SerializationError, match=r"attribute guard \(_thread.lock\)") as caught:
            TorchModuleSerializer().dumps(net)
        assert "state_dict" in str(caught.value.hint)

    def test_a_state_never_needs_trust(self, torch: Any, tmp_path: Path) -> None:
        """A payload that says it is a state and holds a whole pickle is refused."""
        mark = tmp_path / "ran"

        class Hostile:
            def __reduce__(self) -> Any:
                return (os.mkdir, (str(mark),))

        import io

        stream = io.BytesIO()
        torch.save({"w": torch.ones(2), "x": Hostile()}, stream)
        with pytest.raises(SerializationError, match="cannot be read as torch_state"):
            TorchStateSerializer().loads(encode_value({"pieces": [stream.getvalue()]}), [])
        assert not mark.exists()

    def test_an_imported_module_needs_trust_and_a_state_does_not(self, torch: Any) -> None:
        from n4a_store.artifacts.loading import _check_trust

        _check_trust(TorchStateSerializer(), "p:0:all", "elsewhere", trust=False)
        with pytest.raises(UntrustedError):
            _check_trust(TorchModuleSerializer(), "p:0:all", "elsewhere", trust=False)

    def test_through_a_store_into_another_process(self, torch: Any, tmp_path: Path) -> None:
        from n4a_store import ArtifactRegistry, ArtifactType

        net = network(torch)
        registry = ArtifactRegistry(tmp_path / "ws", "corn")
        record = registry.register(net, "p:0:all", ArtifactType.MODEL)
        state = registry.register(net.state_dict(), "p:1:all", ArtifactType.MODEL)
        assert (record.format, state.format) == ("torch_module", "torch_state")
        assert record.format_version.startswith("torch==")
        expected = net(torch.ones(1, 100)).item()
        script = (
            "import sys, torch\n"
            "from n4a_store import ArtifactLoader\n"
            "with ArtifactLoader(sys.argv[1], 'corn') as loader:\n"
            "    net, state = loader.load_by_id('p:0:all'), loader.load_by_id('p:1:all')\n"
            "assert all(state[name].equal(value) for name, value in net.state_dict().items())\n"
            "print(net(torch.ones(1, 100)).item())\n"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "ws")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert float(done.stdout) == expected
        registry.close()


@pytest.mark.large
# keras 3.15 hands tensors to np.array(copy=...), which torch's tensors do not know yet.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestKeras:
    def model(self, keras: Any, units: int = 400) -> Any:
        keras.utils.set_random_seed(1)
        keras.backend.clear_session()
        layers = keras.layers
        model = keras.Sequential([layers.Input((10,)), layers.Dense(units), layers.Dense(1)])
        model.compile("adam", "mse")
        rows = np.random.default_rng(0).normal(size=(20, 10)).astype("f4")
        model.fit(rows, rows[:, 0], epochs=1, verbose=0)
        return model

    def test_models(self, keras: Any) -> None:
        rows = np.linspace(0, 1, 30, dtype="f4").reshape(3, 10)

        def predicts_the_same(a: Any, b: Any) -> bool:
            return np.array_equal(a.predict(rows, verbose=0), b.predict(rows, verbose=0))

        models = [self.model(keras), self.model(keras, units=4)]
        # The copy of a model that was loaded shares fewer objects than the model that was made.
        check_serializer(KerasSerializer(), models, same=predicts_the_same, reload_identical=False)
        assert default_table().for_object(models[0]).format == "keras", "and not torch_module"

    def test_a_refit_is_identical(self, keras: Any) -> None:
        first, second = (KerasSerializer().dumps(self.model(keras)) for _ in range(2))
        assert raw(first) == raw(second)

    def test_a_lambda_comes_back(self, keras: Any) -> None:
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Lambda(lambda x: 3 * x)(inputs))
        again = reload(KerasSerializer(), KerasSerializer().dumps(model))
        assert again.predict(np.ones((1, 2)), verbose=0).tolist() == [[3.0, 3.0]]

    def test_the_file_is_what_keras_reads(self, keras: Any, tmp_path: Path) -> None:
        model = self.model(keras)
        payload = KerasSerializer().dumps(model)
        path = tmp_path / "model.keras"
        path.write_bytes(
            KerasSerializer().file_bytes(payload.skeleton, [part.data for part in payload.buffers])
        )
        again = keras.saving.load_model(path)
        rows = np.ones((1, 10))
        assert np.array_equal(again.predict(rows, verbose=0), model.predict(rows, verbose=0))
