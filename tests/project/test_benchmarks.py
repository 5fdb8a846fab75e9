"""The benchmark suite's own arithmetic; what it measures is asserted nowhere."""

import importlib
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest

from benchmarks import figure, markdown
from benchmarks.__main__ import STAGES, keep
from benchmarks.timing import COLUMNS, Measurement, in_turns, measurement


def frame(*rows: Measurement) -> pd.DataFrame:
    return pd.DataFrame([astuple(row) for row in rows], columns=COLUMNS)


def test_ratios_are_taken_round_by_round():
    """A round in which everything took twice as long changes no ratio."""
    row = measurement(
        "ranking", "case", np.array([1.0, 2.0, 4.0]),
        baseline="slow", baseline_seconds=np.array([10.0, 20.0, 40.0]),
        limit="bare", limit_seconds=np.array([0.5, 1.0, 1.6]), at_least=9,
    )  # fmt: skip
    assert (row.times_faster_low, row.times_faster, row.times_faster_high) == (10, 10, 10)
    assert (row.times_limit_low, row.times_limit, row.times_limit_high) == (2, 2, 2.5)
    assert (row.seconds, row.met) == (2.0, True)


@pytest.mark.parametrize(("aim", "met"), [(2.0, True), (1.9, False)])
def test_an_aim_is_met_or_missed_by_the_median(aim, met):
    row = measurement(
        "capture", "case", np.array([2.0, 2.0, 9.0]),
        limit="bare", limit_seconds=np.ones(3), at_most=aim,
    )  # fmt: skip
    assert row.met is met


def test_every_way_is_called_once_before_and_once_a_round():
    calls = []
    ways = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = in_turns(ways, rounds=4)
    assert {name: len(one) for name, one in seconds.items()} == dict.fromkeys("abc", 4)
    assert calls[:3] == list("abc")
    assert [calls[3 + 3 * number] for number in range(4)] == list("abca")  # each goes first in turn
    assert sorted(calls) == sorted("abc" * 5)


def test_new_figures_replace_those_of_the_same_case_and_leave_the_others(tmp_path):
    table = tmp_path / "bench.csv"
    keep(frame(Measurement("speech", "b", 1.0), Measurement("ranking", "a", 1.0)), table)
    keep(frame(Measurement("ranking", "a", 2.0), Measurement("ranking", "c", 3.0)), table)
    found = pd.read_csv(table)
    assert found[["stage", "case", "seconds"]].to_numpy().tolist() == [
        ["ranking", "a", 2.0], ["ranking", "c", 3.0], ["speech", "b", 1.0],
    ]  # fmt: skip


def test_the_table_and_the_figure_are_drawn_from_the_file(tmp_path):
    rows = [
        measurement("ranking", "fast", np.ones(2), baseline="slow", baseline_seconds=np.full(2, 7.0),
                    at_least=9),
        measurement("steering", "fixed", np.ones(2), limit="bare", limit_seconds=np.full(2, 0.8)),
    ]  # fmt: skip
    keep(frame(*rows), tmp_path / "bench.csv")
    table = pd.read_csv(tmp_path / "bench.csv")
    markdown.write(table, tmp_path / "bench.md")
    text = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert "| fast | 1 | **7** times as fast as slow (7 to 7) |  | baseline / 9: missed |" in text
    assert "| fixed | 1 |  | **1.25** times bare (1.25 to 1.25) |  |" in text
    figure.draw(table, tmp_path)
    assert (tmp_path / "bench.png").stat().st_size > 10_000


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_measured(stage):
    assert callable(importlib.import_module(f"benchmarks.stages.{stage}").measure)
