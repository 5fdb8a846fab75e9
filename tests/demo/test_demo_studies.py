"""The demo's neighbouring studies against slow, independent computations on its stores.

Nothing of ``steplens.studies`` computes what is expected: scikit-learn, double sums, plain NumPy.
"""

import numpy as np
import pandas as pd
import pytest
import zarr
from conftest import LANGUAGES, ROOT
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from steplens.store.reading import open_store

RUN = ROOT / "results" / "demo"

pytestmark = pytest.mark.demo


def opened(*parts):
    return zarr.open_group(RUN.joinpath(*parts), mode="r")


def decoder(task, language, step):
    """Valid activations of a store as float64, and their sentences."""
    store = opened("decoder", task, language, f"step-{step:02d}.zarr")
    valid = store["valid"][:]
    return store["activation"][:][valid].astype(np.float64), store["utterance"][:][valid]


def test_nothing_is_left_out_so_that_every_valid_utterance_counts():
    assert not pd.read_csv(RUN / "tables" / "speech_quality.csv")["left_out"].any()


@pytest.mark.parametrize(("task", "twin", "step"), [("s2t", "t2t", 6), ("asr", "tr", 1)])
def test_ap_for_the_modality_is_scikit_learns(task, twin, step):
    group = opened("ranking", "modality", task, f"step-{step:02d}", "speech.zarr")
    rows = group.attrs["languages"]
    speech = {code: decoder(task, code, step)[0] for code in LANGUAGES}
    text = {code: decoder(twin, code, step)[0] for code in LANGUAGES}
    columns = np.random.default_rng(step).choice(7680, 40, replace=False)
    for row, codes in (("all", LANGUAGES), ("jpn", ["jpn"])):
        heard = np.concatenate([speech[code] for code in codes])
        read = np.concatenate([text[code] for code in codes])
        labels = np.repeat([1, 0], [len(heard), len(read)])
        ap = group["ap"][rows.index(row)]
        for column in columns:
            values = np.concatenate([heard[:, column], read[:, column]])
            assert ap[column] == pytest.approx(average_precision_score(labels, values), abs=1e-12)


def test_modality_is_told_best_by_cross_attention_keys_and_values():
    """The published finding, in the toy model too: from 5 of 8 of the top k, where 1 in 8 is by chance."""
    neurons = pd.read_csv(RUN / "modality" / "neurons.csv")
    pooled = neurons[neurons["language"] == "all"]
    assert (pooled["invariant_expected"] == 0.125).all()
    assert (pooled["invariant_share"] > 0.625).all()


def test_probes_tell_the_language_as_scikit_learns_own_loop_does():
    """Other folds, so about the same; the embedding of a translation's sixth token tells nothing."""
    states, labels, sentences = [], [], []
    for place, code in enumerate(LANGUAGES):
        store = opened("decoder", "s2t", code, "step-06.zarr")
        valid = store["valid"][:]
        states.append(store["hidden_state"][:, 2][valid])  # embedding, layer 0, layer 1
        labels += [place] * int(valid.sum())
        sentences += store["utterance"][:][valid].tolist()
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    told = cross_val_predict(
        probe, np.concatenate(states).astype("f4"), labels, groups=sentences,
        cv=StratifiedGroupKFold(5),
    )  # fmt: skip
    probes = pd.read_csv(RUN / "modality" / "probes.csv", dtype={"layer": str})
    probes = probes[(probes["task"] == "s2t") & (probes["step"] == 6)]
    mean = probes[probes["language"] == "all"].set_index("layer")
    assert mean.loc["1", "recall"] == pytest.approx((told == np.array(labels)).mean(), abs=0.08)
    assert mean.loc["embedding", "recall"] == pytest.approx(0.2, abs=0.05)


def gini(values):
    """By the double sum."""
    magnitude = np.abs(values)
    differences = np.abs(magnitude[:, None] - magnitude[None]).sum()
    return differences / (2 * len(magnitude) ** 2 * magnitude.mean())


def test_gini_coefficients_are_those_of_double_sums():
    store = opened("decoder", "asr", "deu", "step-11.zarr")
    valid = store["valid"][:]
    layer = store["layer"][:]
    data = open_store(RUN / "decoder" / "asr" / "deu" / "step-11.zarr")
    submodule = data["submodule"].to_numpy().astype(str)
    table = pd.read_csv(RUN / "inequality" / "gini.csv", dtype={"layer": str})
    table = table[(table["module"] == "decoder") & (table["task"] == "asr")]
    table = table[(table["step"] == 11) & (table["language"] == "deu")]
    values = store["activation"][:][valid].astype(np.float64)
    for where, mask in (
        (("1", "ffn.fc1"), (layer == 1) & (submodule == "ffn.fc1")),
        (("2", "all"), layer == 2),
    ):
        expected = np.mean([gini(row[mask]) for row in values])
        row = table[(table["layer"] == where[0]) & (table["submodule"] == where[1])]
        assert row["gini"].item() == pytest.approx(expected, rel=1e-8)
        assert row["n"].item() == valid.sum()


ENDS = ("modality_1", "language_1", "modality_2", "language_2")
PAIRS = [
    ("embedding", ("speech", "spa", "speech", "fra")),
    ("1", ("speech", "deu", "text", "jpn")),
    ("2", ("text", "cmn", "text", "jpn")),
]


def views(layer, ends):
    """States of both views at an encoder layer for the sentences that they have in common, centred."""
    place = ["embedding", "0", "1", "2"].index(layer)
    stores = [
        opened("encoder", *one)
        for one in ((ends[0], f"{ends[1]}.zarr"), (ends[2], f"{ends[3]}.zarr"))
    ]
    _, *rows = np.intersect1d(*(store["utterance"][:] for store in stores), return_indices=True)
    found = [
        store["hidden_state"][:, place][row].astype(np.float64)
        for store, row in zip(stores, rows, strict=True)
    ]
    return [one - one.mean(0) for one in found]


def tabled(layer, ends):
    """A pair's value by measure, whichever view it has first."""
    table = pd.read_csv(RUN / "similarity" / "pairs.csv", dtype={"layer": str})
    table = table[(table["module"] == "encoder") & (table["layer"] == layer)]
    for names in (ENDS, (*ENDS[2:], *ENDS[:2])):
        part = table[(table[list(names)] == list(ends)).all(axis=1)]
        if len(part):
            return part.set_index("measure")["value"]
    return pytest.fail(f"{ends} is not in the table")


@pytest.mark.parametrize(("layer", "ends"), PAIRS)
def test_cka_is_that_of_features_and_of_sums_over_distinct_sentences(layer, ends):
    """Its feature form; debiased, Song et al.'s estimator."""
    one, other = views(layer, ends)

    def hsic(x, y):
        k, m = x @ x.T, y @ y.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        n = len(k)
        return (
            np.trace(k @ m)
            + k.sum() * m.sum() / ((n - 1) * (n - 2))
            - 2 * k.sum(0) @ m.sum(1) / (n - 2)
        ) / (n * (n - 3))

    found = tabled(layer, ends)
    expected = hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))
    assert found["cka_debiased"] == pytest.approx(expected, abs=1e-5)
    norms = [np.linalg.norm(x.T @ y) for x, y in ((one, other), (one, one), (other, other))]
    assert found["cka"] == pytest.approx(norms[0] ** 2 / (norms[1] * norms[2]), abs=1e-5)


@pytest.mark.parametrize(("layer", "ends"), PAIRS)
def test_svcca_and_retrieval_are_those_of_plain_numpy(layer, ends):
    """Singular values of each view, then of the product of what is kept; cosines of all with all."""
    both = views(layer, ends)
    n = len(both[0])
    kept = []
    for view in both:
        left, values, _ = np.linalg.svd(view, full_matrices=False)
        shares = np.cumsum(values**2) / (values**2).sum()
        kept.append(left[:, : min(1 + int((shares < 0.99).sum()), n // 5)])
    correlations = np.linalg.svd(kept[0].T @ kept[1], compute_uv=False)
    found = tabled(layer, ends)
    assert found["svcca"] == pytest.approx(correlations.mean(), abs=1e-5)
    one, other = (view / np.linalg.norm(view, axis=1, keepdims=True) for view in both)
    cosines = one @ other.T
    nearest = [(cosines.argmax(way) == np.arange(n)).mean() for way in (0, 1)]
    assert found["retrieval"] == pytest.approx(np.mean(nearest))


@pytest.mark.parametrize("language", ["deu", "jpn"])
def test_differences_of_gini_are_those_of_the_same_sentence(language):
    """Speech minus text at step 6, sentence by sentence; the interval is about that of a t test."""

    def gini_of_sorted(row):  # the double sum takes minutes for all neurons
        ordered = np.sort(np.abs(row))
        places = np.arange(1, len(row) + 1)
        return ((2 * places - len(row) - 1) * ordered).sum() / (len(row) * ordered.sum())

    found = [
        {one: gini_of_sorted(row) for row, one in zip(*decoder(task, language, 6), strict=True)}
        for task in ("s2t", "t2t")
    ]
    differences = np.array([found[0][one] - found[1][one] for one in found[0].keys() & found[1]])
    paired = pd.read_csv(RUN / "inequality" / "paired.csv")
    paired = paired[(paired["speech_task"] == "s2t") & (paired["step"] == 6)]
    row = paired[(paired["language"] == language) & (paired["layer"] == "all")].iloc[0]
    assert row["n_pairs"] == len(differences)
    assert row["difference"] == pytest.approx(differences.mean(), abs=1e-7)
    half = 2 * differences.std(ddof=1) / np.sqrt(len(differences))
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half, rel=0.15)


def test_the_report_has_a_section_for_each_study():
    html = (RUN / "report.html").read_text(encoding="utf-8")
    for study in ("modality", "inequality", "similarity", "causal"):
        assert f'<h2 id="{study}">' in html
    for number in range(12, 20):
        assert f"<h3>Figure {number}. " in html
