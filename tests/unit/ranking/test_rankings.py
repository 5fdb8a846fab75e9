"""A condition's ranking equals scikit-learn on its pooled valid rows; location counts its top k."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from small_stores import NEURONS, write_store

from steplens.comparison.location import locate
from steplens.ranking.rank_condition import rank_condition
from steplens.ranking.table import open_condition, open_ranking
from steplens.store.reading import open_store

INVARIANT = NEURONS["step_invariant"].to_numpy()
SIZES = {"deu": 9, "fra": 7, "jpn": 11}


@pytest.fixture
def condition(tmp_path):
    """Stores of three languages, and their activations with NaN in rows that are not valid."""
    generator = np.random.default_rng(1)
    stores, activations, masks = {}, {}, {}
    for language, size in SIZES.items():
        activation = generator.integers(-9, 10, (size, len(NEURONS))).astype(np.float16)
        valid = np.arange(size) % 4 != 1
        activation[~valid] = np.nan
        stores[language] = write_store(tmp_path / f"{language}.zarr", activation, valid)
        activations[language], masks[language] = activation, valid
    return stores, activations, masks


def ranked(stores, folder, include_step_invariant=True):
    mark = folder / "ranking.zarr" / "zarr.json"
    rank_condition(stores, mark, include_step_invariant, threads=1)
    return open_ranking(mark)


def slow_ranking(activations, masks):
    """AP and medians, a language and a neuron at a time, over the rows that are valid."""
    rows = {code: activations[code][masks[code]].astype(np.float64) for code in activations}
    pooled = np.concatenate(list(rows.values()))
    language = np.repeat(list(rows), [len(part) for part in rows.values()])
    ap = [
        [average_precision_score(language == code, column) for column in pooled.T] for code in rows
    ]
    return np.array(ap), np.array([np.median(part, axis=0) for part in rows.values()])


def test_ap_and_medians_are_those_of_the_pooled_valid_rows(condition, tmp_path):
    stores, activations, masks = condition
    ranking = ranked(stores, tmp_path)
    ap, medians = slow_ranking(activations, masks)
    np.testing.assert_allclose(ranking.ap, ap, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ranking.median, medians)
    assert ranking.languages == list(SIZES)
    assert ranking.n_valid.tolist() == [mask.sum() for mask in masks.values()]
    assert ranking.row("jpn") == 2


def test_the_ranking_keeps_the_neuron_table_and_the_digests_of_its_stores(condition, tmp_path):
    stores, _, _ = condition
    ranking = ranked(stores, tmp_path)
    for name in NEURONS:
        np.testing.assert_array_equal(ranking.neurons[name], NEURONS[name])
    assert open_store(tmp_path / "ranking.zarr").attrs["store_digests"] == {
        code: open_store(path).attrs["digest"] for code, path in stores.items()
    }


@pytest.mark.parametrize("most_bytes", [1, 2 * 16 * 50, 10**9])
def test_blocks_within_a_limit_of_memory_change_nothing(
    condition, tmp_path, monkeypatch, most_bytes
):
    """Many small blocks or one: the same ranking, to the bit, and every neuron once."""
    stores = condition[0]
    expected = ranked(stores, tmp_path / "whole")
    monkeypatch.setattr("steplens.ranking.table._BLOCK_BYTES", most_bytes)
    opened = open_condition(stores, True)
    widths = [block.shape[1] for _, block in opened.blocks()]
    assert sum(widths) == len(NEURONS)
    assert (len(widths) == 1) == (most_bytes > 10**6)
    found = ranked(stores, tmp_path / "parts")
    np.testing.assert_array_equal(found.ap, expected.ap)
    np.testing.assert_array_equal(found.median, expected.median)


def test_without_step_invariant_neurons_exactly_their_columns_are_gone(condition, tmp_path):
    stores, activations, masks = condition
    ranking = ranked(stores, tmp_path, include_step_invariant=False)
    ap, medians = slow_ranking(activations, masks)
    np.testing.assert_allclose(ranking.ap, ap[:, ~INVARIANT], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ranking.median, medians[:, ~INVARIANT])
    for name in NEURONS:
        np.testing.assert_array_equal(ranking.neurons[name], NEURONS[name][~INVARIANT])


def test_a_store_without_valid_counts_every_row(tmp_path):
    """Encoder stores have no steps: every utterance is valid."""
    generator = np.random.default_rng(2)
    activations = {
        code: generator.normal(size=(n, len(NEURONS))).astype("f2") for code, n in SIZES.items()
    }
    stores = {code: write_store(tmp_path / f"{code}.zarr", a) for code, a in activations.items()}
    ranking = ranked(stores, tmp_path)
    everything = {code: np.ones(n, bool) for code, n in SIZES.items()}
    np.testing.assert_allclose(
        ranking.ap, slow_ranking(activations, everything)[0], rtol=0, atol=1e-12
    )
    assert ranking.n_valid.tolist() == list(SIZES.values())


def test_a_language_with_too_few_valid_utterances_is_refused_by_name(condition, tmp_path):
    stores, activations, _ = condition
    one = np.arange(SIZES["fra"]) == 0
    write_store(stores["fra"], activations["fra"], one)
    with pytest.raises(ValueError, match=r"fra\.zarr: fra has 1 valid utterances, expected .* 2"):
        ranked(stores, tmp_path)


def test_stores_of_different_models_are_refused(condition, tmp_path):
    stores, activations, masks = condition
    write_store(stores["jpn"], activations["jpn"], masks["jpn"], model="other")
    with pytest.raises(ValueError, match=r"jpn\.zarr: model: expected demo as in .*, got other"):
        ranked(stores, tmp_path)


def test_stores_of_different_neurons_are_refused(condition, tmp_path):
    stores, _, _ = condition
    n = len(NEURONS) // 2
    write_store(stores["jpn"], np.ones((4, n), "f2"), neurons=NEURONS[:n])
    with pytest.raises(
        ValueError, match=rf"jpn\.zarr: neurons: expected {2 * n} as in .*, got {n}"
    ):
        ranked(stores, tmp_path)


@pytest.mark.parametrize("include_step_invariant", [True, False])
@pytest.mark.parametrize("k", [1, 25, 60])
def test_location_counts_the_top_k_by_layer_and_submodule(
    condition, tmp_path, k, include_step_invariant
):
    """Counts and what chance would give both sum to k; each count is that of a plain loop."""
    ranking = ranked(condition[0], tmp_path, include_step_invariant)
    found = locate(ranking, k).rename(columns={"count": "n_top"})  # a tuple has a method count
    sums = found.groupby("language", sort=False)[["n_top", "expected"]].sum()
    assert sums.index.tolist() == list(SIZES)
    np.testing.assert_allclose(sums, k)
    neurons = list(ranking.neurons.itertuples(index=False))
    for row in found.itertuples():
        ap = ranking.ap[ranking.row(row.language)]
        best = sorted(range(len(ap)), key=lambda column, ap=ap: (-ap[column], column))[:k]
        here = [(neurons[c].layer, neurons[c].submodule) for c in best]
        assert row.n_top == here.count((row.layer, row.submodule))
        assert row.n_units == (16 if row.submodule == "ffn.fc1" else 8)
        assert row.expected == pytest.approx(k * row.n_units / len(neurons))
        assert row.step_invariant == row.submodule.endswith(
            ("cross_attention.k_proj", "cross_attention.v_proj")
        )
