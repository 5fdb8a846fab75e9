"""The tool that measures rates: of the stages that run no model, at a small size."""

import analysis_rates
import pytest

from steplens.planning import UNIT_OF, rate_name
from steplens.planning_studies import RATE_OF


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(analysis_rates, "N_SENTENCES", 40)
    monkeypatch.setattr(analysis_rates, "HIDDEN", 16)


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
    work, counted, how = analysis_rates.STAGES[stage]()
    work()
    assert counted == pytest.approx(units)
    assert "1 thread" in how


def test_every_rate_of_a_study_has_a_unit_and_is_measured():
    own = {rate_name(rule) for rule in RATE_OF}
    assert own <= set(UNIT_OF)
    assert own - {"steer", "decode"} <= set(analysis_rates.STAGES) <= set(UNIT_OF)
