"""Gini coefficients and Lorenz curves are those of their definitions, on stores too."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_stores import NEURONS

from steplens.errors import StoreError
from steplens.files.atomic import read_parquet
from steplens.store.reading import open_store
from steplens.store.writer import StoreWriter
from steplens.studies.inequality.gini import POINTS, gini, lorenz, sort_magnitudes
from steplens.studies.inequality.measure import cells_of, inequality, measure

CONDITION = {"module": "decoder", "task": "s2t", "language": "deu", "step": 6}


def slow_gini(values):
    """The definition: half of the mean absolute difference, over the mean."""
    values = np.abs(values.astype(np.float64))
    if not values.any():
        return np.nan
    n = len(values)
    return np.abs(values[:, None] - values[None]).sum() / (2 * n * n * values.mean())


def slow_lorenz(values):
    """Share of the total below each percent of the neurons, a neuron may count in part."""
    values = sorted(np.abs(values.astype(np.float64)).tolist())
    curve = []
    for percent in range(101):
        count = percent * len(values) / 100
        whole = int(count + 1e-9)
        part = (count - whole) * values[whole] if whole < len(values) else 0.0
        curve.append((sum(values[:whole]) + part) / sum(values))
    return curve


def fast_gini(values):
    return gini(sort_magnitudes(np.atleast_2d(values)))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 100, 333])
def test_gini_is_half_the_mean_absolute_difference_over_the_mean(n, dtype):
    generator = np.random.default_rng(n)
    for spread in (0, 1, 4):  # all of one size, and over many orders of magnitude
        values = generator.normal(size=(9, n)) * np.exp(spread * generator.normal(size=(9, n)))
        values[1] = np.round(values[1])  # ties, and zeros
        values[2, : n // 2] = -0.0
        values = np.clip(values, -6e4, 6e4).astype(dtype)
        np.testing.assert_allclose(
            fast_gini(values), [slow_gini(row) for row in values], rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("n", [1, 2, 5, 8, 1024])
def test_equal_values_give_exactly_0_and_a_single_one_1_minus_1_over_n(n):
    assert fast_gini(np.full(n, -0.1, np.float16)).tolist() == [0.0]
    one = np.zeros(n, np.float16)
    one[n // 2] = 3
    assert fast_gini(one)[0] == pytest.approx(1 - 1 / n, abs=1e-15)


def test_scale_and_sign_and_order_change_nothing():
    generator = np.random.default_rng(1)
    values = generator.normal(size=500).astype(np.float32)
    expected = fast_gini(values)
    assert fast_gini(values * 1024) == expected  # a power of two: nothing is rounded
    assert fast_gini(-values) == expected
    assert fast_gini(generator.permutation(values)) == expected


def test_float16_is_float32_of_the_same_values():
    values = np.random.default_rng(2).normal(size=(4, 1000)).astype(np.float16)
    one, other = (sort_magnitudes(values.astype(dtype)) for dtype in ("float16", "float32"))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(gini(one), gini(other))
    np.testing.assert_array_equal(lorenz(one), lorenz(other))


def test_the_smallest_and_largest_float16_are_summed_exactly():
    """2^-24 beside 65,504: in float16 the small ones would vanish, in float32 nearly all."""
    values = np.array([2.0**-24] * 5000 + [65504.0] * 5000, np.float16)
    assert fast_gini(values)[0] == pytest.approx(0.5 - 2.0**-24 / 65504, abs=1e-14)


def test_all_zeros_have_no_value():
    zeros = sort_magnitudes(np.array([[0.0, -0.0, 0.0], [1.0, 2.0, 3.0]], np.float16))
    assert np.isnan(gini(zeros)).tolist() == [True, False]
    curves = lorenz(zeros)
    assert np.isnan(curves[0]).all()
    assert np.isfinite(curves[1]).all()


@pytest.mark.parametrize("n", [1, 3, 99, 100, 101, 200, 1234])
def test_lorenz_curves_are_shares_of_the_smallest(n):
    values = np.random.default_rng(n).normal(size=(3, n)).astype(np.float16)
    values[1, ::2] = values[1, 0]  # ties
    curves = lorenz(sort_magnitudes(values))
    assert curves.shape == (3, POINTS)
    for curve, row in zip(curves, values, strict=True):
        np.testing.assert_allclose(curve, slow_lorenz(row), atol=1e-12)
        assert (curve[0], curve[-1]) == (0.0, 1.0)
        assert (np.diff(curve, 2) > -1e-12).all()  # convex
        assert (curve <= np.linspace(0, 1, POINTS) + 1e-12).all()


def test_gini_is_1_minus_twice_the_area_below_the_lorenz_polygon():
    values = np.random.default_rng(3).normal(size=(5, 100)).astype(np.float32)
    ordered = sort_magnitudes(values)  # of 100 neurons the points are those of the polygon
    area = np.trapezoid(lorenz(ordered), dx=0.01, axis=1)
    np.testing.assert_allclose(gini(ordered), 1 - 2 * area, atol=1e-12)


def write(path, activation, valid, dtype="float16", neurons=NEURONS, **told):
    hidden = np.zeros((len(activation), 2, 4), dtype)
    attributes = {"model": "made up", "revision": "r1"} | CONDITION | told
    ids = np.arange(len(activation)) * 3 + 7
    with StoreWriter(path, ids, neurons, ["embedding", "0"], 4, dtype, attributes) as writer:
        writer.write(np.arange(len(activation)), activation.astype(dtype), hidden)
        writer.add("valid", valid)
    return path


def coefficients(path):
    """Of every utterance: gini by (layer, submodule)."""
    table = read_parquet(path)
    return table, [
        dict(zip(map(tuple, table.attrs["of"]), row, strict=True)) for row in table["gini"]
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("include", [True, False])
def test_a_store_is_measured_cell_by_cell(tmp_path, monkeypatch, dtype, include):
    """Windows and blocks that do not divide the utterances; what is not valid may hold anything."""
    monkeypatch.setattr("steplens.studies.inequality.measure.ROW_CHUNK", 5)
    monkeypatch.setattr("steplens.studies.inequality.measure._ROWS_AT_A_TIME", 2)
    generator = np.random.default_rng(4)
    activation = generator.normal(size=(13, len(NEURONS)))
    valid = np.ones(13, bool)
    valid[[2, 5, 6, 7, 8, 9, 10]] = False  # a whole window among them, and the first of one
    activation[2] = np.nan
    activation[0, (NEURONS["layer"] == 1) & (NEURONS["submodule"] == "ffn.fc1")] = 0
    store = write(tmp_path / "deu.zarr", activation, valid, dtype)
    measure(store, tmp_path / "measured.parquet", include, CONDITION)
    table, found = coefficients(tmp_path / "measured.parquet")
    assert table["utterance"].tolist() == [7 + 3 * row for row in range(13)]
    assert table["valid"].tolist() == valid.tolist()
    takes_part = np.ones(len(NEURONS), bool) if include else ~NEURONS["step_invariant"]
    groups = {
        (str(layer), name): (NEURONS["layer"] == layer) & (NEURONS["submodule"] == name)
        for layer, name in itertools.product(range(4), NEURONS["submodule"].cat.categories)
    }
    groups = {key: mask for key, mask in groups.items() if (mask & takes_part).any()}
    groups |= {(str(layer), "all"): (NEURONS["layer"] == layer) for layer in range(4)}
    groups |= {("all", "all"): NEURONS["layer"] >= 0}
    if include:
        groups |= {("step-dependent", "all"): ~NEURONS["step_invariant"]}
    assert table.attrs["n_neurons"] == takes_part.sum()
    stored = activation.astype(dtype)
    for row in range(13):
        assert set(found[row]) == set(groups)
        for key, mask in groups.items():
            expected = slow_gini(stored[row, mask & takes_part]) if valid[row] else np.nan
            assert found[row][key] == pytest.approx(expected, abs=1e-12, nan_ok=True), key
        curve = table["lorenz"][row]
        if valid[row]:
            np.testing.assert_allclose(curve, slow_lorenz(stored[row, takes_part]), atol=1e-12)
        else:
            assert np.isnan(curve).all()
    assert np.isnan(found[0]["1", "ffn.fc1"])
    assert np.isfinite(found[0]["1", "all"])
    for key, value in CONDITION.items():
        assert table.attrs[key] == value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(tmp_path, value):
    activation = np.ones((9, len(NEURONS)))
    column = np.flatnonzero((NEURONS["layer"] == 2) & (NEURONS["submodule"] == "ffn.fc2"))[3]
    activation[4, column] = value
    store = write(tmp_path / "deu.zarr", activation, np.ones(9, bool))
    with pytest.raises(StoreError, match=r"deu\.zarr: utterance 19, layer 2, ffn\.fc2: .* NaN or"):
        measure(store, tmp_path / "measured.parquet", True, CONDITION)
    assert not (tmp_path / "measured.parquet").exists()


def test_a_store_of_something_else_is_refused(tmp_path):
    store = write(tmp_path / "deu.zarr", np.ones((2, len(NEURONS))), np.ones(2, bool), step=7)
    with pytest.raises(StoreError, match="step: expected 6, got 7"):
        measure(store, tmp_path / "measured.parquet", True, CONDITION)


def test_an_encoder_has_no_column_valid(tmp_path):
    activation = np.random.default_rng(5).normal(size=(3, len(NEURONS)))
    path = tmp_path / "deu.zarr"
    places, told = ["embedding", "0"], {"language": "deu"}
    with StoreWriter(path, [1, 2, 3], NEURONS, places, 4, "float16", told) as writer:
        hidden = np.zeros((3, 2, 4), np.float16)
        writer.write(np.arange(3), activation.astype(np.float16), hidden)
    measure(path, tmp_path / "measured.parquet", True, {"language": "deu"})
    table, found = coefficients(tmp_path / "measured.parquet")
    assert table["valid"].all()
    assert found[1]["all", "all"] == pytest.approx(slow_gini(activation.astype(np.float16)[1]))


def test_neurons_of_a_cell_that_are_apart_are_refused(tmp_path):
    mixed = pd.concat([NEURONS[40:], NEURONS[:40]])  # of layer 0, some at the end
    store = write(
        tmp_path / "deu.zarr", np.ones((2, len(NEURONS))), np.ones(2, bool), neurons=mixed
    )
    with pytest.raises(
        StoreError, match=r"layer 0, self_attn\.q_proj: expected its neurons side by"
    ):
        measure(store, tmp_path / "measured.parquet", True, CONDITION)


def test_how_many_rows_go_together_changes_nothing(tmp_path):
    generator = np.random.default_rng(6)
    store = write(tmp_path / "deu.zarr", np.ones((1, len(NEURONS))), np.ones(1, bool))
    cells = cells_of(open_store(store), True)
    activations = generator.normal(size=(6, len(NEURONS))).astype(np.float16)
    together = inequality(activations, cells)
    alone = [inequality(activations[row : row + 1], cells) for row in range(6)]
    for place in (0, 1):
        np.testing.assert_allclose(
            together[place], np.concatenate([one[place] for one in alone]), rtol=1e-13
        )
