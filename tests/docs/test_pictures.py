"""The pictures of the benchmarks say what the results say."""

from __future__ import annotations

from benchmarks.peers.pictures import PICTURES, draw


def test_a_picture_has_a_bar_for_each_peer_and_marks_our_own() -> None:
    ratios = {"balanced": {"ingest": [4.0, 2.0]}, "lmdb": {"ingest": [5.0]}, "git": {"load": [1.0]}}
    found = draw(PICTURES[0], ratios)
    assert found.index("n4a_store balanced") < found.index("LMDB")  # the best stands first
    assert found.count("<rect") == 2
    assert found.count("#1f77b4") == 1
    assert ">3.00<" in found


def test_the_same_results_give_the_same_picture() -> None:
    ratios = {"lmdb": {"bytes": [1.01]}, "balanced": {"bytes": [0.69]}}
    backwards = dict(reversed(ratios.items()))
    assert draw(PICTURES[2], ratios) == draw(PICTURES[2], backwards)
