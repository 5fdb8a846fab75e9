"""Gaps, trees and tables: means and intervals counted out by hand, and the order that was planted."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_pairs import LANGUAGES, made_pairs
from made_states import write_states

from steplens.files.atomic import read_parquet, write_parquet
from steplens.statistics.bootstrap import draw_counts
from steplens.studies.similarity.gaps import GAPS, GROUPS, gaps_of
from steplens.studies.similarity.languages import language_trees, linkage_of, tree_of
from steplens.studies.similarity.layer import MEASURES
from steplens.studies.similarity.measure import similarity
from steplens.studies.similarity.tables import similarity_tables

ENCODER = {"module": "encoder"}
OF_ENCODERS = ("encoder", "", None)
SETTINGS = {"variance": 0.99, "sentences_per_component": 5, "shuffles": 2, "seed": 1}


def slow_groups(pairs, drawn, name):
    """Means of the four kinds of pairs over a list of languages, each as often as it stands there."""
    sums = {group: [] for group in GROUPS}
    values = {}
    for row in pairs.to_dict("records"):
        ends = (row["modality_1"], row["language_1"]), (row["modality_2"], row["language_2"])
        values[ends] = values[ends[::-1]] = row[name]
    for language in drawn:
        sums[GROUPS[0]].append(values[("speech", language), ("text", language)])
    for one, other in itertools.permutations(drawn, 2):
        if one == other:
            continue
        sums[GROUPS[1]].append(values[("speech", one), ("speech", other)])
        sums[GROUPS[2]].append(values[("text", one), ("text", other)])
        sums[GROUPS[3]].append(values[("speech", one), ("text", other)])
    means = {
        group: np.mean([x for x in several if np.isfinite(x)]) if np.isfinite(several).any() else np.nan
        for group, several in sums.items()
    }  # fmt: skip
    modality = 1 - means[GROUPS[0]]
    language = 1 - (means[GROUPS[1]] + means[GROUPS[2]]) / 2
    return [*means.values(), modality, language, modality - language]


@pytest.mark.parametrize("missing", [(), (0, 3, 9)])
def test_means_and_intervals_are_those_counted_by_hand(missing):
    pairs = made_pairs(LANGUAGES, 3, missing)
    found = gaps_of(pairs, 40, 7).set_index("group")
    assert list(found.index) == [*GROUPS, *GAPS]
    counts = draw_counts(4, 40, 7, "similarity of languages")
    for name in ("value", "corrected"):
        expected = slow_groups(pairs, LANGUAGES, name)
        np.testing.assert_allclose(found[name], expected, atol=1e-12)
        draws = np.array(
            [slow_groups(pairs, np.repeat(LANGUAGES, count).tolist(), name) for count in counts]
        )
        for group, column in zip(found.index, draws.T, strict=True):
            ends = np.percentile(column[np.isfinite(column)], [2.5, 97.5])
            np.testing.assert_allclose(
                found.loc[group, [f"{name}_low", f"{name}_high"]], ends, atol=1e-12
            )
    assert (found["n_languages"] == 4).all()
    assert found.loc["cross_modal_same_language", "n_pairs"] == 4 - (3 in missing)
    assert (found["n_fewest"] == 50).all()
    n = found["n_pairs"]
    assert n["language_gap"] == n["cross_lingual_speech"] + n["cross_lingual_text"]


def test_two_languages_have_gaps_and_no_interval_and_one_has_a_modality_gap():
    two = gaps_of(made_pairs(LANGUAGES[:2]), 20, 1).set_index("group")
    assert np.isfinite(two["value"]).all()
    assert two[["value_low", "corrected_high"]].isna().all(axis=None)
    one = gaps_of(made_pairs(LANGUAGES[:1]), 20, 1).set_index("group")
    known = one.index[np.isfinite(one["value"])]
    assert set(known) == {"cross_modal_same_language", "modality_gap"}


def test_linkage_is_by_the_average():
    distances = np.array([[0, 1, 4, 6], [1, 0, 5, 7], [4, 5, 0, 3], [6, 7, 3, 0]], dtype=float)
    merges = linkage_of(distances)
    assert [sorted(pair) for pair in merges[:, :2].tolist()] == [[0, 1], [2, 3], [4, 5]]
    np.testing.assert_allclose(merges[:, 2], [1, 3, (4 + 6 + 5 + 7) / 4])


def planted(tmp_path, languages, family_of, n=400, hidden=16):
    """Stores whose states are a shared part, one of the family, of the language, and of the modality.

    In layer 0 modalities are further apart than languages, in layer 1 it is the reverse.
    """
    generator = np.random.default_rng(11)

    def part():
        return generator.normal(size=(n, hidden))

    shared = part()
    families = {one: part() for one in dict.fromkeys(family_of.values())}
    own = {one: part() for one in languages}
    modal = {one: part() for one in ("speech", "text")}
    stores = {"speech": {}, "text": {}}
    for modality, language in itertools.product(stores, languages):
        layers = []
        for of_language, of_modality in ((0.0, 0.0), (0.4, 1.2), (1.2, 0.4)):
            together = shared + of_language * (families[family_of[language]] + own[language])
            layers.append(together + of_modality * modal[modality] + 0.3 * part())
        states = np.stack(layers, axis=1)
        told = {"module": f"{modality}_encoder", "modality": modality}
        path = tmp_path / modality / f"{language}.zarr"
        stores[modality][language] = write_states(path, states, np.arange(n), **told)
    return stores


@pytest.fixture(scope="module")
def planted_tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    families = {"deu": "west", "nld": "west", "cmn": "east", "jpn": "east"}
    stores = planted(folder, LANGUAGES, families)
    part = folder / "encoder.parquet"
    similarity(stores["speech"], stores["text"], ENCODER, SETTINGS, 1, part)
    level_of = {one: "high" if one in ("deu", "cmn") else "low" for one in LANGUAGES}
    names = ("pairs", "gaps", "lengths", "languages", "resources")
    tables = {name: folder / f"{name}.csv" for name in names}
    similarity_tables({OF_ENCODERS: part}, 20, 1, level_of, tables)
    return {name: pd.read_csv(path) for name, path in tables.items()}, read_parquet(part)


def test_gaps_have_the_order_that_was_planted(planted_tables):
    gaps = planted_tables[0]["gaps"].set_index(["layer", "measure", "group"])["corrected"]
    for measure in MEASURES:
        wider = gaps[:, measure, "modality_minus_language"]
        # Neighbours are found in spite of much noise: where all are found there is no gap to order.
        if measure != "retrieval":
            assert wider["0"] > 0.05
            assert wider["1"] < -0.05
        assert wider["0"] >= wider["1"]
        assert gaps["embedding", measure, "modality_gap"] < 0.5


def test_the_tree_is_the_one_that_was_planted(planted_tables):
    table = planted_tables[0]["languages"]
    for modality in ("speech", "text"):
        merges = table[(table["modality"] == modality) & (table["kind"] == "merge")]
        pairs = [{row.one, row.other} for row in merges.itertuples()]
        assert {frozenset(pair) for pair in pairs[:2]} == {
            frozenset({"deu", "nld"}), frozenset({"cmn", "jpn"})
        }  # fmt: skip
        assert pairs[2] == {"#1", "#2"}
        assert merges["size"].tolist() == [2, 2, 4]


def test_distances_are_means_over_layers_and_the_tree_comes_back(planted_tables):
    tables, pairs = planted_tables
    table = tables["languages"]
    of = pairs[(pairs["measure"] == "cka_debiased") & pairs["layer"].isin(["0", "1"])]
    of = of[(of["modality_1"] == "text") & (of["modality_2"] == "text")]
    languages, linkage = tree_of(table, "text")
    assert languages == LANGUAGES
    distances = np.zeros((4, 4))
    for (one, other), part in of.groupby(["language_1", "language_2"]):
        assert len(part) == 2
        i, j = languages.index(one), languages.index(other)
        distances[i, j] = distances[j, i] = 1 - part["value"].mean()
        row = table[
            (table["modality"] == "text") & (table["one"] == one) & (table["other"] == other)
        ]
        assert row[row["kind"] == "distance"]["distance"].iloc[0] == pytest.approx(distances[i, j])
    np.testing.assert_allclose(linkage, linkage_of(distances), atol=1e-7)


def test_no_tree_is_made_of_missing_distances():
    pairs = made_pairs(LANGUAGES, missing=(1,))
    table = language_trees(pairs)
    assert (table[table["modality"] == "speech"]["kind"] == "distance").all()
    assert tree_of(table, "speech")[1] is None
    assert (table[table["modality"] == "text"]["kind"] == "merge").sum() == 3
    assert language_trees(pairs[pairs["layer"] == "9"]).empty


def test_tables_hold_all_conditions_and_levels_their_own_languages(planted_tables):
    tables, pairs = planted_tables
    assert len(tables["pairs"]) == len(pairs)
    assert "by" not in tables["gaps"]
    assert tables["lengths"].empty
    resources = tables["resources"].set_index(["level", "layer", "measure", "group"])
    assert set(resources.index.get_level_values(0)) == {"high", "low"}
    row = resources.loc["high", "1", "cka", "cross_lingual_text"]
    of = pairs[(pairs["layer"] == "1") & (pairs["measure"] == "cka")]
    of = of[
        (of["modality_1"] == "text") & (of["language_1"] == "deu") & (of["language_2"] == "cmn")
    ]
    assert row["value"] == pytest.approx(of["value"].iloc[0])
    assert row["n_pairs"] == 1


def test_a_language_without_a_level_is_in_none(planted_tables, tmp_path):
    """And without any level the table is empty, with its columns."""
    folder = tmp_path
    part = folder / "pairs.parquet"
    write_parquet(planted_tables[1], part)
    names = ("pairs", "gaps", "lengths", "languages", "resources")
    tables = {name: folder / f"{name}.csv" for name in names}
    similarity_tables({OF_ENCODERS: part}, 20, 1, {"deu": "5"}, tables)
    alone = pd.read_csv(tables["resources"])
    assert set(alone["n_languages"]) == {1}
    assert alone.loc[alone["group"] == "language_gap", "value"].isna().all()
    assert alone.loc[alone["group"] == "modality_gap", "value"].notna().all()
    similarity_tables({OF_ENCODERS: part}, 20, 1, {}, tables)
    empty = pd.read_csv(tables["resources"])
    assert empty.empty
    assert list(empty.columns) == list(alone.columns)
