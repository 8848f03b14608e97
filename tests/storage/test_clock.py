"""Dates that can be shown everywhere, and those that cannot."""

from __future__ import annotations

import pytest

from n4a_store.storage.clock import fits_in_utc


@pytest.mark.parametrize(
    ("stamp", "fits"),
    [
        ("9999-12-31T23:59:59-14:00", False),
        ("99991231T235959-0001", False),
        ("0001-01-01T00:00:00+14:00", False),
        ("9999-12-31T23:59:59+00:00", True),
        ("9999-12-31T23:59:59Z", True),
        ("0001-01-01T00:00:00-14:00", True),
        ("2026-11-23T00:00:00+14:00", True),
        ("9999 is no date", True),
        ("9999-99-99", True),
        ("", True),
    ],
)
def test_a_date_has_a_place_in_utc_or_not(stamp: str, fits: bool) -> None:
    """Text that is no date is shown as it is."""
    assert fits_in_utc(stamp) is fits
