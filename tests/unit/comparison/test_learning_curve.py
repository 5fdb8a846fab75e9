"""The learning curve is that of every subset ranked by scikit-learn, and says where it has no value."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_stores import NEURONS, write_store
from slow_statistics import slow_top as slowly_chosen

from steplens.comparison.compare_step import compare_step
from steplens.comparison.learning_curve import FRACTIONS, RATIO, draw_subsets, learning_curve, weigh
from steplens.comparison.reliability import MEASURES, reliability
from steplens.errors import StoreError
from steplens.files.atomic import write_csv
from steplens.planning import work
from steplens.ranking.rank_condition import rank_condition
from steplens.statistics.relabelling import Examples, draw_halves

LANGUAGES = ["deu", "fra", "jpn"]
TASKS = {"speech": "s2t", "text": "t2t"}
N_SENTENCES, N_NEURONS, K, SEED = 36, 40, 12, 3
N_SUBSETS, N_SPLITS = 3, 4
FEW = NEURONS[:N_NEURONS]
LEFT_OUT = {"deu": [4, 9], "jpn": [7]}
# How many sentences are still there at a step: at the last one too few for small subsets.
STEPS = {1: 1.0, 6: 0.8, 11: 0.3}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Stores of three steps with utterances that are not valid or left out, ties, and their curves."""
    folder = tmp_path_factory.mktemp("curve")
    generator = np.random.default_rng(6)
    left_out = folder / "speech_quality.csv"
    rows = pd.DataFrame(
        [(one, sentence, True) for one, sentences in LEFT_OUT.items() for sentence in sentences],
        columns=["language", "utterance", "left_out"],
    )
    write_csv(rows, left_out)
    leaning = generator.normal(0, 1, (3, N_NEURONS))  # what speech and text share of a language
    stores, values, tables = {}, {}, {}
    for step, share in STEPS.items():
        stores[step] = {"speech": {}, "text": {}}
        for modality, paths in stores[step].items():
            for place, language in enumerate(LANGUAGES):
                # Ids of three languages differ at the ends; one union is drawn from.
                ids = np.arange(place, place + N_SENTENCES - 2)
                activation = generator.normal(leaning[place], 1.5, (len(ids), N_NEURONS))
                activation = np.round(activation, 1)
                valid = generator.random(len(ids)) < share
                activation[~valid] = 1e4
                store = folder / str(step) / modality / f"{language}.zarr"
                told = {"module": "decoder", "task": TASKS[modality], "step": step}
                paths[language] = write_store(store, activation, valid, ids, FEW, **told)
                kept = valid & ~np.isin(ids, LEFT_OUT.get(language, []))
                numbers = activation.astype("f2").astype(float)[kept]
                values[step, modality, language] = ids[kept], numbers
        output = folder / str(step) / "learning_curve.csv"
        learning_curve(
            stores[step]["speech"], stores[step]["text"], step, K, True, N_SUBSETS, N_SPLITS, SEED,
            1, output, left_out, tuple(TASKS.values()),
        )  # fmt: skip
        tables[step] = pd.read_csv(output)
    return folder, stores, values, left_out, tables


def slow_top(values, step, modality, sentences):
    """Top-k sets of every language among some sentences, a neuron at a time; None with too few."""
    parts = []
    for language in LANGUAGES:
        ids, activation = values[step, modality, language]
        parts.append(activation[np.isin(ids, sentences)])
    if min(map(len, parts)) < 2:
        return None
    labels, pooled = np.repeat(range(3), [len(one) for one in parts]), np.concatenate(parts)
    return slowly_chosen(pooled, labels, 3, K)


def slow_ratio(speech, text):
    counts = np.array([[len(one & other) for other in text] for one in speech])
    return counts.trace() / counts.sum()


def slow_shares(halves):
    """By measure, a share a language: ``halves[modality]`` are the sets of the first and the second half."""
    found = {measure: [] for measure in MEASURES}
    chance = K / N_NEURONS
    for place in range(3):
        (s1, s2), (t1, t2) = (
            [half[place] for half in halves[modality]] for modality in ("speech", "text")
        )
        speech, text = len(s1 & s2) / K, len(t1 & t2) / K
        across = (len(s1 & t2) + len(s2 & t1)) / (2 * K)
        corrected = np.nan
        if min(speech, text) > chance:
            corrected = (across - chance) / np.sqrt((speech - chance) * (text - chance))
        for measure, share in zip(MEASURES, (speech, text, across, corrected), strict=True):
            found[measure].append(share)
    return found


def slow_halvings(values, step, subset, n_splits, stream):
    """Which sentences are in the first halves of a subset: what the halving of all examples gives."""
    parts = []
    for modality in ("speech", "text"):
        ids = [values[step, modality, language][0] for language in LANGUAGES]
        ids = [one[np.isin(one, subset)] for one in ids]
        labels = np.repeat(range(3), [len(one) for one in ids])
        parts.append(Examples(modality, LANGUAGES, np.concatenate(ids), labels))
    halves = draw_halves(parts, n_splits, SEED, stream)
    for split in zip(*halves, strict=True):
        first, second = set(), set()
        for one, mask in zip(parts, split, strict=True):
            first |= set(one.sentences[mask].tolist())
            second |= set(one.sentences[~mask].tolist())
        assert not first & second
        yield sorted(first), sorted(second)


@pytest.mark.parametrize("step", STEPS)
def test_every_value_is_that_of_subsets_ranked_by_scikit_learn(run, step):
    _, _, values, _, tables = run
    table = tables[step].set_index(["fraction", "measure"])
    assert list(table.index) == list(itertools.product(FRACTIONS, (RATIO, *MEASURES)))
    assert (table["step"] == step).all()
    assert (table["k"] == K).all()
    n_values = 0
    for fraction, subsets in draw_subsets(np.arange(N_SENTENCES), N_SUBSETS, SEED).items():
        expected = {measure: [] for measure in (RATIO, *MEASURES)}
        n_ratios_left_out = n_shares_left_out = 0
        for number, subset in enumerate(subsets):
            tops = [slow_top(values, step, modality, subset) for modality in TASKS]
            if None in tops:
                n_ratios_left_out += 1
            else:
                expected[RATIO].append([slow_ratio(*tops)])
            how = (N_SPLITS, "halves") if fraction == 1 else (1, f"halves of subset {number}")
            try:
                halvings = list(slow_halvings(values, step, subset, *how))
            except ValueError:
                n_shares_left_out += how[0]
                continue
            for pair in halvings:
                halves = {
                    modality: [slow_top(values, step, modality, half) for half in pair]
                    for modality in TASKS
                }
                for measure, shares in slow_shares(halves).items():
                    expected[measure].append(shares)
        for measure, of_subsets in expected.items():
            row = table.loc[fraction, measure]
            left_out = n_ratios_left_out if measure == RATIO else n_shares_left_out
            assert row["n_sentences"] == len(subsets[0])
            assert row["n_left_out"] == left_out
            assert row["n_subsets"] == len(of_subsets) + left_out
            chance = {RATIO: 1 / 3, "corrected": 0}.get(measure, K / N_NEURONS)
            assert row["chance"] == pytest.approx(chance, abs=1e-8)
            flat = np.array(of_subsets).ravel()
            assert row["n_without"] == np.isnan(flat).sum()
            means = [np.nanmean(one) for one in of_subsets if not np.isnan(one).all()]
            found = row[["value", "value_low", "value_high"]].to_numpy(dtype=float)
            if not means:
                assert np.isnan(found).all()
                continue
            n_values += 1
            assert found == pytest.approx([np.mean(means), min(means), max(means)], abs=1e-8)
    assert n_values >= 4


def test_the_ratio_of_all_sentences_is_figure_4_s_and_their_halves_are_figure_11_s(run, tmp_path):
    _, stores, _, left_out, tables = run
    step = 6
    marks = {one: tmp_path / f"{one}.zarr" / "zarr.json" for one in TASKS}
    for modality, mark in marks.items():
        condition = {"module": "decoder", "task": TASKS[modality], "step": step}
        rank_condition(stores[step][modality], mark, True, 1, left_out, condition=condition)
    names = ("overlap", "overlap_summary", "spearman", "spearman_summary", "sensitivity",
             "stability", "null_ratio")  # fmt: skip
    csvs = {name: tmp_path / f"{name}.csv" for name in names}
    shared = {
        "ranking_speech": marks["speech"], "ranking_text": marks["text"],
        "stores_speech": stores[step]["speech"], "stores_text": stores[step]["text"], "step": step,
        "k": K, "include_step_invariant": True, "seed": SEED, "threads": 1, "tables": csvs,
        "left_out": left_out, "tasks": tuple(TASKS.values()),
    }  # fmt: skip
    compare_step(**shared, ks=[K], n_resamples=1)
    reliability(**shared, n_splits=N_SPLITS, n_shuffles=2)
    whole = tables[step].query("fraction == 1").set_index("measure")
    (ratio,) = pd.read_csv(csvs["overlap_summary"])["diagonal_ratio"]
    assert whole.loc[RATIO, ["value", "value_low", "value_high"]].tolist() == [ratio] * 3
    halves = pd.read_csv(csvs["stability"]).query("language == 'mean'").set_index("measure")
    for measure in MEASURES:
        for end in ("", "_low", "_high"):
            expected = halves.loc[measure, f"share{end}"]
            assert whole.loc[measure, f"value{end}"] == pytest.approx(expected, abs=1e-8)
        assert whole.loc[measure, "n_without"] == halves.loc[measure, "n_without"]


def test_subsets_with_too_few_utterances_are_left_out_and_counted(run):
    """At the last step three of ten sentences are left: an eighth has no language whole."""
    _, _, _, _, tables = run
    first, last = tables[1], tables[11]
    assert (first["n_left_out"] == 0).mean() > 0.5
    eighth = last[last["fraction"] == 1 / 8]
    assert (eighth["n_left_out"] == N_SUBSETS).all()
    assert eighth[["value", "value_low", "value_high"]].isna().all(axis=None)
    assert (eighth["n_without"] == 0).all()


def test_subsets_are_nested_and_of_the_size_of_their_fraction():
    ids = np.random.default_rng(1).permutation(np.repeat(np.arange(100, 160), 3))
    subsets = draw_subsets(ids, 4, SEED)
    assert [len(one[0]) for one in subsets.values()] == [8, 15, 30, 60]
    assert [len(one) for one in subsets.values()] == [4, 4, 4, 1]
    for smaller, larger in itertools.pairwise(FRACTIONS[:-1]):
        for one, other in zip(subsets[smaller], subsets[larger], strict=True):
            assert set(one) < set(other)
    assert set(subsets[1][0]) == set(range(100, 160))
    assert len({tuple(sorted(one)) for one in subsets[1 / 2]}) == 4
    again, other = draw_subsets(ids, 4, SEED), draw_subsets(ids, 4, SEED + 1)
    np.testing.assert_array_equal(again[1 / 4], subsets[1 / 4])
    assert (np.sort(other[1 / 4]) != np.sort(subsets[1 / 4])).any()


def test_of_very_few_sentences_no_subset_is_empty():
    assert [len(one[0]) for one in draw_subsets(np.arange(3), 2, SEED).values()] == [1, 1, 2, 3]


def test_every_step_has_the_same_subsets_in_every_language_and_modality():
    """Whatever is valid there: what counts at a step is what is valid among the same sentences."""
    ids = np.arange(40)
    generator = np.random.default_rng(2)
    found = []
    for _ in range(2):
        parts = []
        for name in TASKS:
            chosen = [generator.permutation(ids)[:30] for _ in LANGUAGES]
            labels = np.repeat(range(3), [len(one) for one in chosen])
            parts.append(Examples(name, LANGUAGES, np.concatenate(chosen), labels))
        curve, weights = weigh(parts, ids, 5, 2, SEED)
        (half,) = (point for point in curve if point.fraction == 1 / 2)
        found.append([set() for _ in half.wholes])
        for sentences, row in zip(found[-1], half.wholes, strict=True):
            inside = [
                set(one.sentences[mask].tolist())
                for one, mask in zip(parts, weights[row], strict=True)
            ]
            sentences |= inside[0] | inside[1]
            for one, mask in zip(parts, weights[row], strict=True):
                assert not {*one.sentences[~mask].tolist()} & sentences
    subsets = draw_subsets(ids, 5, SEED)[1 / 2]
    for of_step in found:
        assert all(one <= set(subset) for one, subset in zip(of_step, subsets, strict=True))


def test_more_sentences_bring_the_ratio_nearer_to_what_was_planted(tmp_path):
    """Speech and text share their neurons wholly; with few sentences these are lost in noise."""
    generator = np.random.default_rng(4)
    stores = {modality: {} for modality in TASKS}
    for modality, paths in stores.items():
        for place, language in enumerate(LANGUAGES):
            values = generator.normal(size=(160, len(NEURONS)))
            values[:, 50 * place : 50 * (place + 1)] += 0.4
            paths[language] = write_store(tmp_path / modality / f"{language}.zarr", values)
    output = tmp_path / "learning_curve.csv"
    learning_curve(stores["speech"], stores["text"], 1, 50, True, 4, 4, SEED, 2, output)
    table = pd.read_csv(output)
    for measure in (RATIO, "speech", "text"):
        values = table.loc[table["measure"] == measure, "value"]
        assert values.is_monotonic_increasing
        assert values.iloc[-1] > values.iloc[0] + 0.2
    corrected = table.loc[table["measure"] == "corrected", "value"]
    assert corrected.iloc[-1] == pytest.approx(1, abs=0.15)


def test_stores_of_another_task_are_refused_and_nothing_is_written(run, tmp_path):
    _, stores, _, left_out, _ = run
    output = tmp_path / "learning_curve.csv"
    with pytest.raises(StoreError, match="task: expected 's2t', got 't2t'"):
        learning_curve(
            stores[1]["text"], stores[1]["speech"], 1, K, True, 2, 2, SEED, 1, output, left_out,
            tuple(TASKS.values()),
        )  # fmt: skip
    assert not output.exists()


def test_the_plan_counts_every_fraction():
    assert len(FRACTIONS) - 1 == work._SMALLER_FRACTIONS
