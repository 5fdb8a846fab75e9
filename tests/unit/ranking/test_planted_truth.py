"""Neurons that are planted into stores are found again, and so is what speech and text share of them.

Noise of standard deviation 1 fills the stores. A planted neuron lies 20 higher for the utterances of its
language, so that its AP is 1 and that of no other neuron is. Speech and text share known parts of the
planted sets: within a language, and between a language and the next one.
"""

import numpy as np
import pandas as pd
import pytest
from made_stores import NEURONS, write_store

from steplens.comparison.compare_step import compare_step
from steplens.comparison.location import locate
from steplens.comparison.reliability import MEASURES, reliability
from steplens.files.atomic import write_csv
from steplens.ranking.rank_condition import rank_condition
from steplens.ranking.selection import top_k
from steplens.ranking.table import open_ranking

LANGUAGES = ["deu", "fra", "cmn", "jpn"]
N_LANGUAGES, N_UTTERANCES, K, WIDE, SEED = 4, 48, 40, 400, 11
N_NEURONS = len(NEURONS)
# By step: the share of a set that speech and text of one language have in common, the share that speech
# of a language has in common with text of the next one, and the layers with planted neurons.
PLANTED = {1: (0.6, 0.2, (2, 3)), 6: (0.25, 0.25, (0, 1)), 11: (0.0, 0.1, (1, 3))}
TASKS = {"speech": "s2t", "text": "t2t"}
NOTHING = 16  # a step where nothing is planted
STEPS = [*PLANTED, NOTHING]
TABLES = ("overlap", "overlap_summary", "spearman", "spearman_summary", "sensitivity")
RELIABILITY = ("stability", "null_ratio")
N_SHUFFLES = 20


def plant(generator, same, following, layers):
    """Columns of each language's neurons in speech and in text: (4, K) each."""
    columns = np.flatnonzero(NEURONS["layer"].isin(layers))
    drawn = generator.permutation(columns)[: 2 * N_LANGUAGES * K].reshape(2, N_LANGUAGES, K)
    speech, text = drawn
    n_same, n_following = round(same * K), round(following * K)
    text[:, :n_same] = speech[:, :n_same]
    text[:, n_same : n_same + n_following] = np.roll(speech, 1, axis=0)[:, K - n_following :]
    return {"speech": speech, "text": text}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Stores, rankings and comparisons of all steps through the stages' own functions."""
    folder = tmp_path_factory.mktemp("planted")
    generator = np.random.default_rng(SEED)
    spoilt = {language: 3 + place for place, language in enumerate(LANGUAGES)}
    left_out = folder / "speech_quality.csv"
    rows = pd.DataFrame(
        [(language, one, True) for language, one in spoilt.items()],
        columns=["language", "utterance", "left_out"],
    )
    write_csv(rows, left_out)
    planted, rankings, tables = {}, {}, {name: [] for name in (*TABLES, *RELIABILITY)}
    for step in STEPS:
        if step != NOTHING:
            planted[step] = plant(generator, *PLANTED[step])
        stores, marks = {"speech": {}, "text": {}}, {}
        for modality, paths in stores.items():
            condition = {"module": "decoder", "task": TASKS[modality], "step": step}
            for place, language in enumerate(LANGUAGES):
                values = generator.normal(size=(N_UTTERANCES, N_NEURONS))
                if step in planted:
                    values[:, planted[step][modality][place]] += 20
                # What must not count says the opposite.
                valid = generator.random(N_UTTERANCES) > 0.15
                values[~valid] = -values[~valid]
                values[spoilt[language]] = -values[spoilt[language]]
                path = folder / str(step) / modality / f"{language}.zarr"
                paths[language] = write_store(path, values, valid, **condition)
            marks[modality] = folder / str(step) / f"{modality}-ranking.zarr" / "zarr.json"
            rank_condition(
                stores[modality], marks[modality], True, 2, left_out, condition=condition
            )
            rankings[step, modality] = open_ranking(marks[modality])
        csvs = {name: folder / str(step) / f"{name}.csv" for name in tables}
        shared = {
            "ranking_speech": marks["speech"], "ranking_text": marks["text"],
            "stores_speech": stores["speech"], "stores_text": stores["text"], "step": step, "k": K,
            "include_step_invariant": True, "seed": SEED, "threads": 2, "left_out": left_out,
            "tasks": tuple(TASKS.values()),
        }  # fmt: skip
        compare_step(
            **shared, ks=[K, WIDE], n_resamples=20, tables={name: csvs[name] for name in TABLES}
        )
        reliability(
            **shared, n_splits=3, n_shuffles=N_SHUFFLES,
            tables={name: csvs[name] for name in RELIABILITY},
        )  # fmt: skip
        for name, parts in tables.items():
            parts.append(pd.read_csv(csvs[name]))
    return planted, rankings, {name: pd.concat(parts) for name, parts in tables.items()}


def of_step(table, step):
    return table[table["step"] == step]


@pytest.mark.parametrize("modality", ["speech", "text"])
@pytest.mark.parametrize("step", PLANTED)
def test_the_planted_neurons_are_found_exactly_with_their_medians(run, step, modality):
    planted, rankings, _ = run
    ranking = rankings[step, modality]
    for place, columns in enumerate(top_k(ranking.ap, K)):
        assert set(columns.tolist()) == set(planted[step][modality][place].tolist())
        assert (ranking.ap[place, columns] == 1).all()
    assert (ranking.ap == 1).sum() == N_LANGUAGES * K
    for place in range(N_LANGUAGES):
        own = planted[step][modality][place]
        # The median of 30 or more normal values has a standard deviation below 0.23.
        np.testing.assert_allclose(ranking.median[place, own], 20, atol=1.2)
        others = [other for other in range(N_LANGUAGES) if other != place]
        np.testing.assert_allclose(ranking.median[np.ix_(others, own)], 0, atol=1.2)


@pytest.mark.parametrize("step", PLANTED)
def test_they_lie_in_the_layers_where_they_were_planted(run, step):
    planted, rankings, _ = run
    for modality in ("speech", "text"):
        found = locate(rankings[step, modality], K).rename(columns={"count": "n_top"})
        by_layer = found.groupby(["language", "layer"])["n_top"].sum()
        for place, language in enumerate(LANGUAGES):
            layers = NEURONS["layer"].to_numpy()[planted[step][modality][place]]
            expected = np.bincount(layers, minlength=4).tolist()
            assert by_layer[language].tolist() == expected
            assert sum(expected[layer] for layer in PLANTED[step][2]) == K


@pytest.mark.parametrize("step", PLANTED)
def test_overlap_and_ratio_are_those_that_were_planted(run, step):
    """Within a language its share of k, with the next its share, else nothing; the ratio by formula."""
    same, following, _ = PLANTED[step]
    _, _, tables = run
    expected = K * (
        same * np.eye(N_LANGUAGES) + following * np.roll(np.eye(N_LANGUAGES), 1, axis=1)
    )
    matrix = of_step(tables["overlap"], step).pivot(
        index="speech_language", columns="text_language", values="overlap"
    )
    np.testing.assert_array_equal(matrix.loc[LANGUAGES, LANGUAGES], np.rint(expected))
    (row,) = of_step(tables["overlap_summary"], step).itertuples()
    assert row.diagonal_ratio == pytest.approx(same / (same + following), abs=1e-8)
    # Of 24 matchings, only one has this diagonal; where more is shared with the next one, two have.
    assert row.p == pytest.approx({1: 1 / 24, 6: 2 / 24, 11: 1.0}[step], abs=1e-8)
    assert row.ci_low <= row.diagonal_ratio <= row.ci_high


def test_where_nothing_is_planted_there_is_chance(run):
    """Top 400 of 2,304 at random: a cell has 69.4 +- 6.9, the ratio a standard deviation of 0.011."""
    planted, rankings, tables = run
    assert NOTHING not in planted
    assert all((rankings[NOTHING, modality].ap < 1).all() for modality in ("speech", "text"))
    sweep = of_step(tables["sensitivity"], NOTHING).set_index("k")
    assert sweep.loc[WIDE, "diagonal_ratio"] == pytest.approx(1 / N_LANGUAGES, abs=5 * 0.011)
    rho = of_step(tables["spearman"], NOTHING)["rho"]
    assert rho.abs().max() < 5 / np.sqrt(N_NEURONS)


@pytest.mark.parametrize("step", PLANTED)
def test_rank_correlation_rises_where_neurons_are_shared_and_nowhere_else(run, step):
    """Planted neurons are few: of a language's own pair it is highest where it shares most."""
    same, following, _ = PLANTED[step]
    _, _, tables = run
    rho = of_step(tables["spearman"], step).pivot(
        index="speech_language", columns="text_language", values="rho"
    )
    rho = rho.loc[LANGUAGES, LANGUAGES].to_numpy()
    own = np.diag(rho).mean()
    next_one = np.diag(np.roll(rho, -1, axis=1)).mean()
    rest = np.mean([np.diag(np.roll(rho, -shift, axis=1)).mean() for shift in (2, 3)])
    if same > following:
        assert own > next_one > rest
    if same < following:
        assert next_one > own
    if same == following:
        assert min(own, next_one) > rest


@pytest.mark.parametrize("step", PLANTED)
def test_halves_agree_on_all_that_was_planted_and_share_what_was_shared(run, step):
    """Halves find the same sets, so that nothing is to be corrected but what chance would share."""
    same, _, _ = PLANTED[step]
    _, _, tables = run
    found = of_step(tables["stability"], step).set_index(["measure", "language"])["share"]
    for measure in MEASURES:
        expected = 1 if measure in ("speech", "text") else same
        if measure == "corrected":
            expected = (same - K / N_NEURONS) / (1 - K / N_NEURONS)
        for language in (*LANGUAGES, "mean"):
            assert found[measure, language] == pytest.approx(expected, abs=1e-8)


def test_halves_of_noise_agree_by_chance(run):
    """Share k / N = 1.7 %; mean of 12 pairs of halves with a standard deviation of 0.6 %."""
    _, _, tables = run
    found = of_step(tables["stability"], NOTHING).set_index(["measure", "language"])
    for measure in ("speech", "text", "speech_text"):
        assert found.loc[(measure, "mean"), "share"] == pytest.approx(K / N_NEURONS, abs=0.03)
        assert found.loc[(measure, "mean"), "chance"] == pytest.approx(K / N_NEURONS, abs=1e-8)


@pytest.mark.parametrize("step", STEPS)
def test_shuffled_labels_give_chance(run, step):
    """Speech and text shuffled apart: 1 / n_languages, whatever is planted, by symmetry of the labels.

    The bound: five standard errors, at most 0.5 / sqrt(20) each (no ratio's deviation exceeds 0.5).
    """
    _, _, tables = run
    null = of_step(tables["null_ratio"], step).set_index("null")
    draws = ["apart"] if step != NOTHING else ["apart", "together"]
    for name in draws:
        row = null.loc[name]
        spread = (row["null_ratio_high"] - row["null_ratio_low"]) / 3.92
        error = 5 * min(max(spread, 0.02), 0.5) / np.sqrt(N_SHUFFLES)
        assert row["null_ratio"] == pytest.approx(1 / N_LANGUAGES, abs=error)
