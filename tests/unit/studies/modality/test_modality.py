"""Modality-selective neurons: rankings against scikit-learn, ties, where they lie, and probes."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_stores import NEURONS, write_store
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from steplens.errors import StoreError
from steplens.files.atomic import write_csv
from steplens.ranking.rank_condition import rank_condition
from steplens.ranking.table import Ranking, open_condition, open_ranking
from steplens.statistics.bootstrap import SentenceDraws
from steplens.studies.modality.probes import (
    N_RESAMPLES,
    _recalls,
    assign_folds,
    out_of_fold,
    places_of,
    probe_language,
)
from steplens.studies.modality.ranking import rank_modality
from steplens.studies.modality.tables import (
    STRONG_AP,
    count_neurons,
    locate_shared,
    modality_tables,
    overlap_with_language,
    shared_membership,
)

LANGUAGES = ("deu", "cmn", "fra")
STEP = 6
N = 24
PLACES = ["embedding", "0", "1", "2", "3", "adapter"]
HIDDEN = (len(PLACES), 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Stores of s2t and t2t: values with many ties, other utterances valid in each, planted neurons."""
    folder = tmp_path_factory.mktemp("modality")
    generator = np.random.default_rng(3)
    left_out = folder / "speech_quality.csv"
    rows = [(code, number, number == 3) for code in LANGUAGES for number in range(N)]
    write_csv(pd.DataFrame(rows, columns=["language", "utterance", "left_out"]), left_out)
    stores, values, valid = {}, {}, {}
    for task in ("s2t", "t2t"):
        stores[task] = {}
        for place, code in enumerate(LANGUAGES):
            activation = generator.integers(-4, 5, (N, len(NEURONS))) / 4
            activation[:, 7] += 10 * (task == "s2t")
            activation[:, 9] += 10 * (task == "t2t" and code == "cmn")
            mask = generator.random(N) > 0.2
            hidden = generator.normal(size=(N, *HIDDEN))
            hidden[:, 2:] += 4 * np.eye(HIDDEN[1])[place]
            path = folder / task / f"{code}.zarr"
            told = {"module": "decoder", "task": task, "step": STEP, "language": code}
            write_store(path, activation, mask, hidden=hidden, places=PLACES, **told)
            stores[task][code] = path
            kept = mask & (np.arange(N) != 3)
            values[task, code] = activation[kept].astype(np.float16)
            valid[task, code] = kept
    outputs = {m: folder / "ranked" / f"{m}.zarr" / "zarr.json" for m in ("speech", "text")}
    rank_modality(stores, STEP, outputs, True, 1, left_out)
    languages = {}
    for task, of in stores.items():
        languages[task] = folder / "ranked" / f"{task}.zarr" / "zarr.json"
        condition = {"module": "decoder", "task": task, "step": STEP}
        rank_condition(of, languages[task], True, 1, left_out, condition)
    return {
        "stores": stores, "outputs": outputs, "values": values, "valid": valid,
        "languages": languages, "left_out": left_out, "folder": folder,
    }  # fmt: skip


@pytest.mark.parametrize("modality", ["speech", "text"])
def test_ap_is_that_of_scikit_learn_pooled_and_by_language(run, modality):
    ranking = open_ranking(run["outputs"][modality], label=modality, step=STEP)
    assert ranking.languages == ["all", *LANGUAGES]
    own, other = ("s2t", "t2t") if modality == "speech" else ("t2t", "s2t")
    for row, codes in enumerate([LANGUAGES, *([code] for code in LANGUAGES)]):
        positives = np.concatenate([run["values"][own, code] for code in codes])
        negatives = np.concatenate([run["values"][other, code] for code in codes])
        labels = np.repeat([1, 0], [len(positives), len(negatives)])
        both = np.concatenate([positives, negatives]).astype(float)
        for column in (0, 7, 9, 100, 1791):
            expected = average_precision_score(labels, both[:, column])
            assert ranking.ap[row, column] == pytest.approx(expected, abs=1e-12)
        np.testing.assert_array_equal(
            ranking.median[row], np.median(positives.astype("f4"), axis=0)
        )
        assert ranking.n_valid[row] == len(positives)
    planted = ranking.ap[:, 7] if modality == "speech" else ranking.ap[2, 9]
    assert (planted == 1).all()


def test_both_tasks_must_have_the_languages_in_one_order(run, tmp_path):
    turned = {task: dict(reversed(of.items())) if task == "t2t" else of
              for task, of in run["stores"].items()}  # fmt: skip
    outputs = {modality: tmp_path / f"{modality}.zarr" for modality in ("speech", "text")}
    with pytest.raises(
        ValueError, match="languages: expected the same in both tasks, got deu, cmn"
    ):
        rank_modality(turned, STEP, outputs, True, 1)
    swapped = dict(reversed(run["stores"].items()))
    with pytest.raises(ValueError, match="expected one of speech and one of text, got t2t, s2t"):
        rank_modality(swapped, STEP, outputs, True, 1)
    with pytest.raises(StoreError, match="step: expected 7, got 6"):
        rank_modality(run["stores"], 7, outputs, True, 1)


def test_stores_of_two_models_are_refused(run, tmp_path):
    stores = {"s2t": run["stores"]["s2t"], "t2t": dict(run["stores"]["t2t"])}
    for code in LANGUAGES:
        stores["t2t"][code] = write_store(
            tmp_path / f"{code}.zarr", np.ones((N, len(NEURONS))), np.ones(N, bool), model="another",
            module="decoder", task="t2t", step=STEP,
        )  # fmt: skip
    outputs = {modality: tmp_path / f"out-{modality}.zarr" for modality in ("speech", "text")}
    with pytest.raises(ValueError, match=r"model: expected made up as in .*deu.zarr, got another"):
        rank_modality(stores, STEP, outputs, True, 1)


@pytest.mark.parametrize("k", [1, 3, 5, 8, 9])
def test_tied_neurons_share_the_last_places_as_a_draw_by_lot_would(k):
    ap = np.array([0.5, 1.0, 0.5, 1.0, 0.2, 0.5, 1.0, 0.5, 0.1])
    share = shared_membership(ap, k)
    assert share.sum() == pytest.approx(k)
    # All orders of the neurons, stably sorted: how often each is among the first k.
    counts, orders = np.zeros(len(ap)), 0
    generator = np.random.default_rng(0)
    for _ in range(4000):
        order = generator.permutation(len(ap))
        counts[order[np.argsort(-ap[order], kind="stable")[:k]]] += 1
        orders += 1
    np.testing.assert_allclose(share, counts / orders, atol=0.03)
    with pytest.raises(ValueError, match="k: expected 1 to 9"):
        shared_membership(ap, 10)


def _ranking(ap, languages):
    median = np.zeros(ap.shape, np.float32)
    return Ranking(languages, ap, median, np.full(len(ap), N), NEURONS, {}, {})


def test_location_counts_the_top_by_cell_and_shares_ties():
    generator = np.random.default_rng(4)
    ap = generator.random((2, len(NEURONS)))
    ap[1] = 0.5  # all tied: every cell gets what chance gives
    table = locate_shared(_ranking(ap, ["all", "deu"]), 100)
    assert (table.groupby("language")["count"].sum() - 100).abs().max() < 1e-9
    tied = table[table["language"] == "deu"]
    np.testing.assert_allclose(tied["count"], tied["expected"])
    best = NEURONS.iloc[np.argsort(-ap[0])[:100]]
    for (layer, submodule), part in best.groupby(["layer", "submodule"], observed=True):
        row = table[(table["language"] == "all") & (table["layer"] == layer)]
        assert row.loc[row["submodule"] == submodule, "count"].item() == pytest.approx(len(part))


def test_neurons_are_counted_by_how_well_they_tell():
    """Seven share three places: three of them are step-invariant, and come last by column."""
    invariant = NEURONS["step_invariant"].to_numpy()
    own, plain = np.flatnonzero(invariant), np.flatnonzero(~invariant)
    plain = plain[plain < own[0]]
    ap = np.full((1, len(NEURONS)), 0.3)
    ap[0, plain[:5]], ap[0, plain[5:7]] = 1.0, STRONG_AP
    ap[0, plain[7:9]] = ap[0, own[:3]] = 0.94
    row = count_neurons(_ranking(ap, ["all"]), 10).iloc[0]
    assert (row["n_perfect"], row["n_strong"], row["ap_at_k"], row["best_ap"]) == (5, 7, 0.94, 1)
    assert row["invariant_share"] == pytest.approx(3 * (3 / 5) / 10)
    assert row["invariant_expected"] == pytest.approx(invariant.mean())


def test_overlap_with_a_language_is_that_of_sets_and_p_that_of_draws():
    generator = np.random.default_rng(5)
    modality, language = generator.random((1, len(NEURONS))), generator.random((2, len(NEURONS)))
    language[1, :40] = modality[0, :40] = 2 + 9 * generator.random(40)
    table = overlap_with_language(
        _ranking(modality, ["all"]), _ranking(language, ["deu", "cmn"]), 50
    )
    best = set(np.argsort(-modality[0])[:50])
    for row, ap in zip(table.itertuples(), language, strict=True):
        assert row.shared == len(best & set(np.argsort(-ap)[:50]))
        assert row.rho == pytest.approx(spearmanr(modality[0], ap).statistic)
    assert table["shared"].iloc[1] >= 40
    drawn = [
        len(best & set(generator.choice(len(NEURONS), 50, replace=False))) for _ in range(4000)
    ]
    reached = np.mean(np.array(drawn) >= table["shared"].iloc[0])
    assert table["p"].iloc[0] == pytest.approx(reached, abs=0.03)
    assert table["expected"].iloc[0] == pytest.approx(np.mean(drawn), abs=0.1)


def test_tables_hold_every_condition(run, tmp_path):
    conditions = [
        (task, STEP, run["outputs"][modality], run["languages"][task])
        for task, modality in (("s2t", "speech"), ("t2t", "text"))
    ]
    tables = {name: tmp_path / f"{name}.csv" for name in ("neurons", "location", "overlap")}
    modality_tables(conditions, 20, tables)
    neurons = pd.read_csv(tables["neurons"])
    assert list(zip(neurons["task"], neurons["language"], strict=True)) == list(
        itertools.product(("s2t", "t2t"), ("all", *LANGUAGES))
    )
    perfect = neurons.set_index(["task", "language"])["n_perfect"]
    assert perfect["s2t", "all"] >= 1
    assert perfect["t2t", "cmn"] >= 1
    assert perfect["t2t", "all"] == 0
    wrong = [("s2t", STEP, run["outputs"]["text"], run["languages"]["s2t"])]
    with pytest.raises(StoreError, match="task: expected 's2t', got 't2t'"):
        modality_tables(wrong, 20, tables)
    fewer = tmp_path / "fewer.zarr"
    told = {"module": "decoder", "task": "s2t", "step": STEP}
    rank_condition(run["stores"]["s2t"], fewer, False, 1, run["left_out"], told)
    with pytest.raises(StoreError, match=r"neurons: expected those of .*speech\.zarr"):
        modality_tables([("s2t", STEP, run["outputs"]["speech"], fewer)], 20, tables)


def test_sentences_stay_together_in_folds_of_even_size():
    sentences = np.repeat(np.arange(25), 3)
    folds = assign_folds(sentences, 5, seed=1)
    for sentence in range(25):
        assert len(set(folds[sentences == sentence])) == 1
    assert (np.bincount(folds) == 15).all()
    assert not np.array_equal(folds, assign_folds(sentences, 5, seed=2))
    assert len(set(assign_folds(sentences, 26, seed=1))) == 25


def test_the_probe_is_scikit_learns_with_groups():
    generator = np.random.default_rng(6)
    labels, sentences = np.tile(np.arange(3), 30), np.repeat(np.arange(30), 3)
    # Dimensions of very different size, and a penalty that decides.
    states = (generator.normal(size=(90, 5)) + 0.8 * np.eye(5)[labels]) * 3.0 ** np.arange(5)
    splits = list(GroupKFold(5).split(states, labels, sentences))
    fold = np.empty(90, int)
    for number, (_, held) in enumerate(splits):
        fold[held] = number

    def told(scaler, c):
        probe = make_pipeline(scaler, LogisticRegression(C=c, max_iter=1000))
        return cross_val_predict(probe, states, labels, cv=splits)

    found = out_of_fold(states, labels, fold, 200.0)
    np.testing.assert_array_equal(found, told(StandardScaler(), 1 / 200))
    assert (found != told(StandardScaler(), 200.0)).any()
    assert (found != told(FunctionTransformer(), 1 / 200)).any()


def test_intervals_draw_whole_sentences_and_count_languages_alike():
    """Against the repeated rows of every draw; of one language there are fewer utterances."""
    generator = np.random.default_rng(8)
    sentences = np.concatenate([np.arange(12), np.arange(4, 12)])
    labels = np.repeat([0, 1], [12, 8])
    right = generator.random(20) < 0.6
    counts = SentenceDraws(np.arange(12), 1000, 3).of(np.arange(12))
    weights = counts[:, sentences]
    rows = list(_recalls(right, labels, weights, ["deu", "jpn"]))
    drawn = []
    for count in counts:
        repeated = [np.repeat(right[labels == n], count[sentences[labels == n]]) for n in (0, 1)]
        drawn.append([one.mean() for one in repeated])
    drawn = np.array(drawn)
    means = [right[:12].mean(), right[12:].mean()]
    expected = [*zip(means, drawn.T, (12, 8), strict=True), (np.mean(means), drawn.mean(1), 20)]
    for (_, recall, low, high, n), (value, draws, count) in zip(rows, expected, strict=True):
        assert (recall, n) == (pytest.approx(value), count)
        assert (low, high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])))


def test_a_probe_learns_nothing_from_what_is_said():
    """Were sentences split between folds, a language could be told by its odd one out."""
    generator = np.random.default_rng(7)
    sentences = np.repeat(np.arange(60), 3)
    labels = np.tile(np.arange(3), 60)
    states = generator.normal(size=(60, 8))[sentences] + 0.01 * generator.normal(size=(180, 8))
    told = out_of_fold(states, labels, assign_folds(sentences, 5, 1), 1.0)
    assert (told == labels).mean() < 0.5


def test_layers_are_probed_by_name_beside_their_best_neuron(run, tmp_path):
    condition = {"module": "decoder", "task": "s2t", "step": STEP}
    output = tmp_path / "probes.csv"
    probe_language(
        run["stores"]["s2t"], run["languages"]["s2t"], condition, output, 4, 1.0, 1, run["left_out"]
    )
    table = pd.read_csv(output, dtype={"layer": str}).set_index(["layer", "language"])
    assert list(dict.fromkeys(table.index.get_level_values(0))) == PLACES
    mean = table.xs("all", level="language")
    assert (mean.loc[["embedding", "0"], "recall"] < 0.7).all()  # nothing was planted there
    assert (mean.loc[["1", "2", "3", "adapter"], "recall"] > 0.95).all()
    assert (table["recall_low"] <= table["recall"]).all()
    assert (table["recall"] <= table["recall_high"]).all()
    for code in LANGUAGES:
        assert table.loc[("1", code), "n"] == run["valid"]["s2t", code].sum()
    ranking = open_ranking(run["languages"]["s2t"])
    own = ranking.neurons["layer"].to_numpy() == 2
    best = ranking.ap[ranking.row("cmn"), own].max()
    assert table.loc[("2", "cmn"), "best_neuron_ap"] == pytest.approx(best)
    assert mean.loc["2", "best_neuron_ap"] == pytest.approx(ranking.ap[:, own].max(1).mean())
    assert np.isnan(mean.loc["adapter", "best_neuron_ap"])


def test_intervals_of_a_layer_are_those_of_one_draw_of_all_stored_sentences(run, tmp_path):
    """Valid or not: other steps and tasks then have the same draws. Whole sentences, as they repeat."""
    condition = {"module": "decoder", "task": "t2t", "step": STEP}
    stores, output = run["stores"]["t2t"], tmp_path / "probes.csv"
    probe_language(stores, run["languages"]["t2t"], condition, output, 4, 1.0, 2, run["left_out"])
    table = pd.read_csv(output, dtype={"layer": str}).set_index(["layer", "language"])
    opened = open_condition(stores, True, run["left_out"], **condition)
    sentences = [np.flatnonzero(run["valid"]["t2t", code]) for code in LANGUAGES]
    fold = assign_folds(np.concatenate(sentences), 4, 2)
    name, states = next(places_of(opened))
    right = out_of_fold(states, opened.labels, fold, 1.0) == opened.labels
    right = np.split(right, np.cumsum([len(one) for one in sentences])[:-1])
    drawn = []
    for counts in SentenceDraws(np.arange(N), N_RESAMPLES, 2).of(np.arange(N)):
        sample = np.repeat(np.arange(N), counts)
        values = [dict(zip(*one, strict=True)) for one in zip(sentences, right, strict=True)]
        drawn.append([np.mean([one[s] for s in sample if s in one]) for one in values])
    drawn = np.array(drawn)
    for code, draws in (*zip(LANGUAGES, drawn.T, strict=True), ("all", drawn.mean(1))):
        ends = np.percentile(draws, [2.5, 97.5])
        row = table.loc[(name, code)]
        assert [row["recall_low"], row["recall_high"]] == pytest.approx(ends, abs=1e-8)


def test_a_ranking_of_other_stores_is_no_ranking_of_these(run, tmp_path):
    condition = {"module": "decoder", "task": "t2t", "step": STEP}
    stores = dict(run["stores"]["t2t"])
    stores["deu"] = write_store(tmp_path / "deu.zarr", np.ones((N, len(NEURONS))), np.ones(N, bool),
                                hidden=np.ones((N, *HIDDEN)), **condition)  # fmt: skip
    with pytest.raises(StoreError, match="digest: expected"):
        probe_language(stores, run["languages"]["t2t"], condition, tmp_path / "p.csv", 4, 1.0, 1)
