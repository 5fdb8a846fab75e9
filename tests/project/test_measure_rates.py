"""The tools that measure: stages that run no model, at a small size, and what is made of several rounds."""

import pytest

from benchmarks.full_size import tables, together
from benchmarks.rates import analysis
from benchmarks.rates.measure import rounds_of
from steplens.planning.rates import Rate
from steplens.planning.studies import RATE_OF
from steplens.planning.work import UNIT_OF, rate_name


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(analysis, "N_SENTENCES", 40)
    monkeypatch.setattr(analysis, "HIDDEN", 16)


@pytest.mark.parametrize(
    ("stage", "units"),
    {
        "rank": 200 * 2048 / 1e6,
        "compare": 200 * 256 * 50 / 1e6,
        "inequality": 8 * 491_520 / 1e6,
        "probe": 200 * 16 / 1e6,
        "similarity": (45 + 5.5 * 10) * 40**2 / 1e6,
    }.items(),
)
def test_a_stage_without_a_model_is_run_and_counted(small, stage, units):
    work, counted, how = analysis.STAGES[stage]()
    work()
    assert counted == pytest.approx(units)
    assert "1 thread" in how


def test_every_rate_of_a_study_has_a_unit_and_is_measured():
    own = {rate_name(rule) for rule in RATE_OF}
    assert own <= set(UNIT_OF)
    assert own - {"steer", "decode"} <= set(analysis.STAGES) <= set(UNIT_OF)


def rate(seconds, stage="rank", load=1.0):
    return Rate(stage, "any", "CPU x", UNIT_OF[stage], seconds, load, "measured", "here")


def test_of_two_rounds_the_smaller_is_kept_and_both_are_named():
    """Each row as soon as it is known, so that an interrupted round leaves those before it."""
    rounds = iter(
        [[rate(0.104), rate(2.0, "probe")], [rate(0.10119, load=0.5), rate(2.5, "probe")]]
    )
    found = list(rounds_of(lambda: next(rounds), 2))
    assert [(one.stage, one.seconds_per_unit) for one in found] == [
        ("rank", 0.104), ("probe", 2.0), ("rank", 0.10119), ("probe", 2.0),
    ]  # fmt: skip
    assert [one.source for one in found] == [
        "here",
        "here",
        "here; two measurements: 0.104 and 0.101",
        "here; two measurements: 2 and 2.5",
    ]
    assert found[2].load_seconds == 0.5


def test_a_page_shows_the_seconds_of_every_round():
    """And the most of memory and bytes."""
    loads = [
        {"needed_bytes": 5e6, "read_bytes": 6e6, "other_bytes": 1e6, "peak_bytes": peak,
         "load_seconds": seconds, "first_read_seconds": 1.0}
        for seconds, peak in ((33.14, 7e6), (34.0, 9e6))
    ]  # fmt: skip
    stages = [
        {"seconds": seconds, "read_bytes": 6e6, "peak_bytes": 8e6, "store_bytes": 6000}
        for seconds in (20.0, 21.26)
    ]
    numbers = {
        "loads": {"decoder": together(loads)},
        "stages": {"capture": together(stages)},
        "check_seconds": [0.1, 0.114],
        "checkpoint_bytes": 9e9,
        "shapes": {},
        "padding": {},
    }
    page = tables(numbers)
    assert "| decoder | 5 | 6 | 1.00 | 33.1 / 34.0 | 1.0 / 1.0 | 9 |" in page
    assert "| capture | 20.0 / 21.3 | 6 | 8 | 2 |" in page
    assert "| check before any job | 0.10 / 0.11 s |" in page
