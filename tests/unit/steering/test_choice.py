"""Which neurons steering fixes, and to what, on random rankings."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steplens.models.neurons import neuron_table
from steplens.ranking.table import Ranking
from steplens.settings import Selection
from steplens.steering.choice import control_columns, matched_random_columns, replacement
from steplens.steering.steer import other_language, trials


@pytest.fixture(scope="module")
def neurons(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    return neuron_table(config, "decoder")


@pytest.fixture(scope="module")
def ranking(neurons):
    generator = np.random.default_rng(5)
    languages = ["deu", "spa", "fra", "cmn", "jpn"]
    shape = (len(languages), len(neurons))
    median = generator.normal(size=shape).astype(np.float32)
    return Ranking(languages, generator.random(shape), median, np.full(5, 9), neurons)


def test_control_neurons_are_the_top_and_the_bottom(ranking):
    """Top k and bottom k by AP, each neuron once."""
    order = np.argsort(ranking.ap[3])
    expected = sorted([*order[:20], *order[-20:]])
    assert control_columns(ranking, "cmn", 20).tolist() == expected


def equal_but_one(ranking):
    ap = np.full(ranking.ap.shape, 0.5)
    ap[:, 7] = 0.9
    return replace(ranking, ap=ap, separation=np.zeros(ap.shape))


@pytest.mark.parametrize("ties", ["separation", "column", "random"])
def test_ties_at_both_ends_still_give_twice_k_neurons(ranking, ties):
    found = control_columns(equal_but_one(ranking), "cmn", 30, Selection(ties))
    assert len(np.unique(found)) == 60
    assert 7 in found


def test_a_neuron_wanted_at_both_ends_of_its_submodule_is_refused(ranking):
    """Five neurons share k = 3 and 1 of 8: of the three, the middle one would be top and bottom."""
    odd = ranking.neurons.iloc[:8].assign(layer=[0, 0, 0, 1, 1, 1, 1, 1])
    few = replace(ranking, neurons=odd, ap=ranking.ap[:, :8], separation=ranking.separation[:, :8])
    assert len(control_columns(few, "cmn", 2, Selection(scope="submodule"))) == 4
    with pytest.raises(
        ValueError, match="expected top and bottom k to be 8 different neurons of cmn, got 7"
    ):
        control_columns(few, "cmn", 4, Selection(scope="submodule"))


def test_more_than_half_of_all_neurons_is_refused(ranking):
    with pytest.raises(ValueError, match=r"at most 432 \(half the neurons"):
        control_columns(ranking, "cmn", len(ranking.neurons) // 2 + 1)


def test_random_neurons_match_layer_and_submodule_and_avoid_the_chosen(ranking):
    """Same count in each cell; disjoint where the cell is large enough; seeded."""
    chosen = control_columns(ranking, "jpn", 40)
    drawn = matched_random_columns(ranking, chosen, 1)
    keys = ["layer", "submodule"]

    def cells(columns):
        return ranking.neurons.iloc[columns].groupby(keys, observed=True).size()

    pd.testing.assert_series_equal(cells(drawn), cells(chosen))
    assert not set(drawn) & set(chosen)
    assert (drawn == matched_random_columns(ranking, chosen, 1)).all()
    assert (drawn != matched_random_columns(ranking, chosen, 2)).any()


def test_a_full_cell_falls_back_on_chosen_neurons(ranking):
    """With more than half of a submodule chosen, the rest of the draw comes from the chosen."""
    first = np.arange(20)  # of 32 units of the first submodule
    drawn = matched_random_columns(ranking, first, 3)
    assert len(set(drawn)) == 20
    assert set(range(20, 32)) <= set(drawn)


def test_values_are_the_medians_of_the_target(ranking):
    """Whoever's neurons they are (D8)."""
    columns = control_columns(ranking, "spa", 10)
    fixed = replacement(ranking, columns, "fra").table
    np.testing.assert_array_equal(fixed["value"], ranking.median[2, columns])
    own = ranking.neurons.iloc[columns]
    assert fixed["unit"].tolist() == own["unit"].tolist()
    assert fixed["submodule"].tolist() == own["submodule"].tolist()


def test_each_target_has_its_neurons_and_its_controls(ranking):
    """Steered, n random, and another language's, for every language but the source."""
    plan = trials(ranking, "deu", 10, 3, seed=1)
    for target in ("spa", "fra", "cmn", "jpn"):
        mine = [trial for trial in plan if trial.target == target]
        assert [trial.control for trial in mine] == ["steered"] + ["random"] * 3 + [
            "other_language"
        ]
        assert mine[0].neurons_of == target
        assert mine[-1].neurons_of not in ("deu", target)
        # At most as many: top and bottom neurons that coincide by chance are fixed once.
        assert len({len(trial.fixed) for trial in mine[:4]}) == 1
    assert "deu" not in {trial.target for trial in plan}


def test_fewer_targets_leave_the_others_as_they_are(ranking):
    """In the same order, with the same random neurons and the same other language."""
    whole = [one for one in trials(ranking, "deu", 10, 2, 1) if one.target in ("jpn", "fra")]
    chosen = trials(ranking, "deu", 10, 2, 1, targets=["jpn", "fra"])
    assert [(one.target, one.control, one.neurons_of, one.fixed.digest) for one in chosen] == [
        (one.target, one.control, one.neurons_of, one.fixed.digest) for one in whole
    ]
    assert trials(ranking, "deu", 10, 2, 1, targets=[]) == []


def test_the_other_language_is_neither_source_nor_target():
    """The next after the target, around the list; none with two languages."""
    languages = ["deu", "spa", "fra"]
    assert other_language(languages, "deu", "fra") == "spa"
    assert other_language(languages, "spa", "fra") == "deu"
    assert other_language(["deu", "jpn"], "deu", "jpn") is None
