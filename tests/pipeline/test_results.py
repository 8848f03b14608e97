"""Rows of results: choosing, ranking, tables; and the bar that shows a run's progress."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.progress import Progress, terminal_bar
from n4a_store.pipeline.results import ResultRow, Results, rank_models
from n4a_store.pipeline.run_result import Outcome, PipelineOutcome, RunResult


def row(pipeline: str, fold: int | None, rmse: float | None, **more: Any) -> ResultRow:
    fields: dict[str, Any] = {
        "run_id": "r",
        "pipeline_id": pipeline,
        "branch_path": (0,),
        "branch_names": ("snv",),
        "step_index": 3,
        "model": "pls",
        "class_name": "PLSRegression",
        "task": "regression",
        "fold_id": fold,
        "partition": "val",
        "n": 7,
        "rmse": rmse,
    }
    return ResultRow(**{**fields, **more})


ROWS = Results(
    [
        row("a", 0, 1.0),
        row("a", 1, 3.0),
        row("b", 0, 2.0),
        row("b", 1, 2.0),
        row("c", 0, 0.1, feeds_stack=True),
        row("d", None, 0.1, partition="train"),
        row("d", None, 0.1, partition="test"),
        row("e", 0, float("nan")),
    ]
)


def test_the_lowest_mean_wins_ties_go_to_the_earliest_and_unvalidated_models_come_last() -> None:
    assert [(s.pipeline_id, s.validated) for s in rank_models(ROWS)] == [
        ("a", True),
        ("b", True),
        ("e", True),
        ("d", False),
    ]
    assert rank_models(ROWS)[0].score == 2.0


def test_the_highest_accuracy_wins() -> None:
    labels = {"task": "classification", "rmse": None}
    rows = [row("a", 0, **labels, accuracy=0.5), row("b", 0, **labels, accuracy=0.9)]
    assert rank_models(rows)[0].pipeline_id == "b"
    with pytest.raises(InvalidInputError, match="cannot be ranked"):
        rank_models([*rows, *ROWS])


def test_rows_are_selected_by_their_fields() -> None:
    assert len(ROWS.select(pipeline_id="a")) == 2
    assert ROWS.select(pipeline_id="a", fold_id=1) == [ROWS[1]]
    with pytest.raises(InvalidInputError, match="no field 'fold'"):
        ROWS.select(fold=1)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_where_a_library_is_installed(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = getattr(ROWS, f"to_{library}")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InvalidInputError, match=f"{library} is not installed"):
        convert()
    monkeypatch.setitem(sys.modules, library, SimpleNamespace(DataFrame=dict))
    table = convert()
    assert table["pipeline_id"] == [r.pipeline_id for r in ROWS]
    assert set(table["branch_path"]) == {"0"}
    assert set(table["branch_names"]) == {"snv"}


def test_a_run_in_which_all_failed_says_why() -> None:
    outcomes = (PipelineOutcome("p", Outcome.FAILED, "step 2: no"),)
    result = RunResult("r", "d", outcomes, Results())
    assert (result.id, result.pipelines, result.failures) == ("r", (), {"p": "step 2: no"})
    with pytest.raises(InvalidInputError, match="p: step 2: no"):
        _ = result.best


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_shown_on_a_terminal_only() -> None:
    assert terminal_bar(io.StringIO()) is None
    screen = Terminal()
    show = terminal_bar(screen)
    assert show is not None
    show(Progress(1, 2, PipelineOutcome("p", Outcome.FAILED, "no")))
    show(Progress(2, 2, PipelineOutcome("q", Outcome.COMPLETE)))
    text = screen.getvalue()
    assert "1/2 pipelines, 1 failed" in text
    assert text.count("\n") == 1
    assert text.endswith("2/2 pipelines, 1 failed, 0 s left \n")
    assert "\r[" + "#" * 30 + "]" in text
