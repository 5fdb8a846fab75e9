"""Two sources of speech on made-up stores: what they share is what was planted."""

import numpy as np
import pandas as pd
import pytest
from small_left_out import write_left_out
from small_stores import NEURONS, write_store

from steplens.comparison.measures import overlap_matrix
from steplens.comparison.speech_sources import compare_sources
from steplens.ranking.rank_condition import rank_condition
from steplens.ranking.scores.ap import average_precision

LANGUAGES = ("deu", "fra", "jpn")
N_ROWS, N_NEURONS = 12, len(NEURONS)
K = 30  # neurons of a language
OWN = {language: np.arange(K) + K * i for i, language in enumerate(LANGUAGES)}


def speak(seed, shared=K):
    """Activations in which each language has K neurons of its own, above all noise.

    The first ``shared`` are those of OWN; the others lie behind those of all languages, so that no two
    languages have one in common.
    """
    generator = np.random.default_rng(seed)
    found = {}
    for i, language in enumerate(LANGUAGES):
        rows = generator.normal(size=(N_ROWS, N_NEURONS))
        elsewhere = 3 * K + K * i + np.arange(K - shared)
        rows[:, np.concatenate([OWN[language][:shared], elsewhere])] += 20
        found[language] = rows.astype("f2")
    return found


def compare(folder, sources, left_out=None, k=K, n_resamples=30, step=6, **changes):
    """Summary by pair, and the overlap table."""
    left_out = left_out or {}
    stores, rankings, tables = {}, {}, {}
    for source, of_language in sources.items():
        stores[source] = {
            language: write_store(folder / source / f"{language}.zarr", rows)
            for language, rows in of_language.items()
        }
        tables[source] = write_left_out(folder / f"{source}.csv", left_out.get(source, {}))
        rankings[source] = folder / source / "ranking.zarr" / "zarr.json"
        rank_condition(stores[source], rankings[source], True, 1, tables[source])
    arguments = {
        "module": "decoder", "task": "s2t", "step": step, "k": k, "include_step_invariant": True,
        "n_resamples": n_resamples, "seed": 1, "threads": 1,
    }  # fmt: skip
    compare_sources(
        rankings, stores, tables, **arguments | changes,
        summary_csv=folder / "summary.csv", overlap_csv=folder / "overlap.csv",
    )  # fmt: skip
    summary = pd.read_csv(folder / "summary.csv", keep_default_na=False)
    return summary.set_index(["one", "other"]), pd.read_csv(folder / "overlap.csv")


def test_a_source_shares_everything_with_itself(tmp_path):
    summary, overlap = compare(tmp_path, {"xtts": speak(1), "recorded": speak(1)})
    row = summary.loc["xtts", "recorded"]
    assert row["shared"] == 1
    assert row["rho"] == pytest.approx(1)
    assert row["shared_low"] == row["shared_high"] == 1
    assert row["p"] == pytest.approx(1 / 6)
    same = overlap["one_language"] == overlap["other_language"]
    assert (overlap.loc[same, "overlap"] == K).all()


@pytest.mark.parametrize("shared", [0, 10, 30])
def test_the_planted_share_is_found(tmp_path, shared):
    """To the neuron: each language's K stand out from the noise in both sources."""
    summary, overlap = compare(
        tmp_path, {"xtts": speak(1), "recorded": speak(2, shared)}, n_resamples=2
    )
    row = summary.loc["xtts", "recorded"]
    assert row["shared"] == pytest.approx(shared / K)
    found = overlap.pivot(index="one_language", columns="other_language", values="overlap")
    assert found.to_numpy().tolist() == (shared * np.eye(3, dtype=int)).tolist()
    if shared:
        assert row["diagonal_ratio"] == 1
        assert row["chance"] == pytest.approx(1 / 3)


def test_every_two_sources_are_compared_and_intervals_hold_the_estimates(tmp_path):
    """Of noise, so that resamples differ."""
    generator = np.random.default_rng(5)
    common = {code: generator.normal(size=(N_ROWS, N_NEURONS)) for code in LANGUAGES}
    noise = {
        source: {
            code: (rows + generator.normal(size=rows.shape)).astype("f2")
            for code, rows in common.items()
        }
        for source in ("xtts", "recorded", "text")
    }
    summary, overlap = compare(tmp_path, noise)
    assert summary.index.tolist() == [("xtts", "recorded"), ("xtts", "text"), ("recorded", "text")]
    for measure in ("shared", "diagonal_ratio", "rho"):
        assert (summary[f"{measure}_low"] < summary[measure]).all()
        assert (summary[measure] < summary[f"{measure}_high"]).all()
    assert (summary[["module", "task", "step", "k"]] == ["decoder", "s2t", 6, K]).all().all()
    assert len(overlap) == 3 * len(LANGUAGES) ** 2
    for pair, part in overlap.groupby(["one", "other"], sort=False):
        matrix = part["overlap"].to_numpy().reshape(3, 3)
        assert summary.loc[pair, "shared"] == pytest.approx(matrix.trace() / (3 * K))
        assert summary.loc[pair, "diagonal_ratio"] == pytest.approx(matrix.trace() / matrix.sum())


def test_an_utterance_that_one_source_leaves_out_counts_in_neither(tmp_path):
    """Both are ranked by the same sentences."""
    generator = np.random.default_rng(6)
    sources = {
        source: {code: generator.normal(size=(9, N_NEURONS)).astype("f2") for code in LANGUAGES}
        for source in ("xtts", "recorded")
    }
    # The table of test_left_out knows 7 to 11 utterances a language.
    left_out = {"xtts": {"deu": [1, 3]}, "recorded": {"deu": [3, 4], "jpn": [8]}}
    summary, _ = compare(tmp_path, sources, left_out, n_resamples=2)
    keep = {"deu": [0, 2, 5, 6, 7, 8], "fra": list(range(9)), "jpn": list(range(8))}
    aps = []
    for of_language in sources.values():
        rows = np.concatenate([of_language[code][keep[code]] for code in LANGUAGES])
        labels = np.repeat(range(len(LANGUAGES)), [len(keep[code]) for code in LANGUAGES])
        aps.append(average_precision(rows, labels))
    matrix = overlap_matrix(*np.round(aps, 12), K)
    assert summary["shared"].tolist() == [pytest.approx(matrix.trace() / (3 * K))]


def test_the_encoder_is_compared_without_text(tmp_path):
    """Two sources, step 0, no task; its stores know no step."""
    summary, overlap = compare(
        tmp_path, {"xtts": speak(1), "recorded": speak(2)}, n_resamples=2,
        module="speech_encoder", task="", step=0,
    )  # fmt: skip
    assert len(summary) == 1
    assert summary.iloc[0][["module", "task", "step"]].tolist() == ["speech_encoder", "", 0]
    assert summary.iloc[0]["shared"] == 1
    assert len(overlap) == len(LANGUAGES) ** 2


def test_without_a_usable_resample_the_intervals_are_missing(tmp_path):
    """And the estimates are not."""
    summary, _ = compare(tmp_path, {"xtts": speak(1), "recorded": speak(2)}, n_resamples=0)
    assert summary["shared"].tolist() == [1]
    assert (summary[["shared_low", "rho_high"]] == "").all().all()
