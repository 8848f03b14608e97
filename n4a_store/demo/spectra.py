"""Real near-infrared and mid-infrared spectra, read from the package chemotools.

chemotools (extra ``[demo]``) ships them as CSV files inside its wheel; its own loaders want a
data-frame library, so the files are read here with numpy. Nothing is downloaded.

Source of the fermentation data: P. Cabaneros Lopez et al., "Transforming data into information:
a parallel hybrid model for real-time state estimation in lignocellulose ethanol fermentations"
(2021). The training spectra were measured off-line, the test spectra on-line in a reactor,
every few minutes; glucose was determined by HPLC, on-line only at 34 moments.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np

from n4a_store.errors import InvalidInputError

__all__ = [
    "Coffee",
    "Fermentation",
    "load_coffee",
    "load_fermentation",
]

_PACKAGE = "chemotools.datasets.data"


@dataclass(frozen=True, slots=True)
class Fermentation:
    """Spectra of a fermentation, with the concentration of glucose in g/l.

    Args:
        wavenumbers: (p,), in 1/cm.
        X, glucose: 21 training spectra (21, p) and their glucose (21,).
        X_test: 1,629 spectra measured on-line, (1629, p).
        hours, glucose_test: 34 moments of the on-line measurement and their glucose, (34,).
    """

    wavenumbers: np.ndarray
    X: np.ndarray
    glucose: np.ndarray
    X_test: np.ndarray
    hours: np.ndarray
    glucose_test: np.ndarray


@dataclass(frozen=True, slots=True)
class Coffee:
    """60 spectra of coffee, (60, p), and the country each comes from, (60,) texts."""

    X: np.ndarray
    country: np.ndarray


@functools.cache
def load_fermentation() -> Fermentation:
    """The fermentation spectra, read-only.

    Raises:
        InvalidInputError: chemotools is not installed.
    """
    names, train = _numbers("train_spectra.csv")
    _, test = _numbers("fermentation_spectra.csv")
    _, glucose = _numbers("train_hplc.csv")
    columns, hplc = _numbers("fermentation_hplc.csv")
    return Fermentation(
        _shared(np.array([float(name) for name in names])),
        _shared(train),
        _shared(glucose[:, 0]),
        _shared(test),
        _shared(hplc[:, columns.index("time")]),
        _shared(hplc[:, columns.index("glucose")]),
    )


@functools.cache
def load_coffee() -> Coffee:
    """The coffee spectra, read-only.

    Raises:
        InvalidInputError: chemotools is not installed.
    """
    _, spectra = _numbers("coffee_spectra.csv")
    labels = _lines("coffee_labels.csv")[1:]
    return Coffee(_shared(spectra), _shared(np.array(labels)))


def _shared(array: np.ndarray) -> np.ndarray:
    """The array for everybody: contiguous, and nobody's to change."""
    shared = np.ascontiguousarray(array)
    shared.flags.writeable = False
    return shared


def _lines(name: str) -> list[str]:
    try:
        source = resources.files(_PACKAGE)
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            "the spectra come with chemotools, which is not installed",
            hint="pip install 'n4a_store[demo]'",
        ) from error
    text = source.joinpath(name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _numbers(name: str) -> tuple[list[str], np.ndarray]:
    """The header and the table of a CSV file."""
    lines = _lines(name)
    table = np.loadtxt(lines[1:], delimiter=",", ndmin=2)
    return lines[0].split(","), table
