"""Random neurons are drawn several times: the range over draws stands beside what is pooled (D8)."""

import numpy as np
import pandas as pd
import pytest
from slow_outcomes import LANGUAGES, N_RESAMPLES, OUTCOMES, SEED, condition, slow_rate

from steplens.steering import outcomes as measures


@pytest.fixture(scope="module")
def rated():
    return measures.rate_draws(OUTCOMES, LANGUAGES, measures.Draws(OUTCOMES, N_RESAMPLES, SEED))


def by_seed(*key):
    """The rate of every seed by itself."""
    part = condition(*key)
    return {seed: slow_rate(one) for seed, one in part.groupby("seed")}


def test_a_rate_stands_beside_the_lowest_and_the_highest_seed(rated):
    table = measures.control_rates(rated)
    assert set(table["n_seeds"]) == {1, 2}
    for row in table.itertuples():
        rates = by_seed(row.task, row.step, row.source, row.target, row.control)
        assert row.n_seeds == len(rates) == (2 if row.control == "random" else 1)
        assert (row.seed_low, row.seed_high) == pytest.approx(
            (min(rates.values()), max(rates.values()))
        )
        assert row.seed_low <= row.rate <= row.seed_high  # pooled tokens lie between


def test_an_effect_has_the_range_of_the_mean_difference_against_each_seed(rated):
    found = measures.effects(rated, LANGUAGES)
    for row in found.itertuples():
        source_script, target_script = row.direction.split(" to ")
        pairs = [
            (one, other)
            for one in ("deu", "fra", "jpn")
            for other in ("deu", "fra", "jpn")
            if one != other
            and (LANGUAGES[one].script, LANGUAGES[other].script) == (source_script, target_script)
        ]
        differences = pd.DataFrame(
            [
                {
                    seed: by_seed(row.task, row.step, *pair, "steered")[0] - rate
                    for seed, rate in by_seed(row.task, row.step, *pair, row.baseline).items()
                }
                for pair in pairs
            ]
        ).mean()
        assert row.n_seeds == len(differences)
        assert (row.seed_low, row.seed_high) == pytest.approx(
            (differences.min(), differences.max())
        )
        if row.n_seeds == 1:
            assert row.seed_low == pytest.approx(row.difference)


def test_a_seed_without_a_token_in_either_script_has_no_rate():
    outcomes = OUTCOMES.copy()
    outcomes.loc[(outcomes["control"] == "random") & (outcomes["seed"] == 1), "text"] = "…"
    rated = measures.rate_draws(outcomes, LANGUAGES, measures.Draws(outcomes, 20, SEED))
    table = measures.control_rates(rated)
    random = table[table["control"] == "random"]
    np.testing.assert_allclose(random["seed_low"], random["rate"])
    np.testing.assert_allclose(random["seed_high"], random["rate"])
