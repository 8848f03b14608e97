"""The spectra that the demonstration reads."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from n4a_store.demo.spectra import load_coffee, load_fermentation
from n4a_store.errors import InvalidInputError


def test_the_fermentation_spectra() -> None:
    data = load_fermentation()
    assert (data.X.shape, data.glucose.shape) == ((21, 1047), (21,))
    assert (data.X_test.shape, data.hours.shape) == ((1629, 1047), (34,))
    assert data.glucose_test.shape == (34,)
    assert (data.wavenumbers[0], data.wavenumbers[-1]) == (428.0, 1833.0)
    assert np.isfinite(data.X).all()
    assert data.glucose[0] == pytest.approx(1.664707074)


def test_the_coffee_spectra() -> None:
    data = load_coffee()
    assert data.X.shape == (60, 1841)
    assert {str(name) for name in data.country} == {"Brasil", "Ethiopia", "Vietnam"}


def test_without_chemotools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    load_coffee.cache_clear()
    for name in [name for name in sys.modules if name.startswith("chemotools")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "chemotools", None)
    with pytest.raises(InvalidInputError, match="come with chemotools") as caught:
        load_coffee()
    assert "n4a_store[demo]" in str(caught.value.hint)
