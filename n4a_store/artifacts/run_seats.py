"""The seats of one run: its pipelines are trained side by side, each in a seat of its own.

A seat is kept for the pipeline after it, so that a run makes as many as it trains at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

from n4a_store.repo.seat import Seat
from n4a_store.repo.store import Store

__all__ = ["RunSeats"]


class RunSeats:
    """See the module."""

    def __init__(self) -> None:
        self._seats: list[Seat] = []

    def free(self, store: Store, used: Iterable[Seat]) -> Seat:
        """A seat that is none of those ``used``, taken now where there is none.

        Raises:
            BackendError: No lease can be taken.
        """
        busy = {id(seat) for seat in used}
        free = (seat for seat in self._seats if seat.free and id(seat) not in busy)
        seat = next(free, None)
        if seat is None:
            seat = store.seat()
            self._seats.append(seat)
        return seat

    def leave(self) -> None:
        """Leave all of them, whatever becomes of one."""
        with ExitStack() as leaving:
            for seat in self._seats:
                leaving.callback(seat.leave)
