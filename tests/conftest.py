"""What every test stands on: a clean environment, one place for bounds, real spectra."""

from __future__ import annotations

import os
import signal
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Deadlines measure the machine, not the code; the number of examples is what bounds the suite.
settings.register_profile(
    "quick", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("torture", parent=settings.get_profile("quick"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests must not decide them."""
    for name in list(os.environ):
        if name.startswith(("N4A_STORE_", "N4A_WORKSPACE")) or name == "NO_COLOR":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def torture_seconds() -> float:
    """How long one torture test may go on: N4A_TORTURE_SECONDS, 30 unless told."""
    return float(os.environ.get("N4A_TORTURE_SECONDS", "30"))


class Spectra(NamedTuple):
    """Measured spectra, one a row, and what was measured of each sample."""

    X: np.ndarray[Any, np.dtype[np.float64]]  # (samples, wavelengths)
    y: np.ndarray[Any, Any]  # (samples,): float64, or str for classes


def _csv(name: str, dtype: type = float) -> np.ndarray[Any, Any]:
    text = (resources.files("chemotools.datasets") / "data" / name).read_text(encoding="utf-8")
    return np.loadtxt(text.splitlines(), delimiter=",", skiprows=1, dtype=dtype)


@pytest.fixture(scope="session")
def fermentation() -> Spectra:
    """21 near-infrared spectra with their glucose concentration: a regression."""
    return Spectra(_csv("train_spectra.csv"), _csv("train_hplc.csv"))


@pytest.fixture(scope="session")
def coffee() -> Spectra:
    """60 mid-infrared spectra of coffee with their country of origin: a classification."""
    return Spectra(_csv("coffee_spectra.csv"), _csv("coffee_labels.csv", dtype=str))


def pytest_configure() -> None:
    """Who is started in the background ignores Ctrl-C, and so would every program he starts."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
