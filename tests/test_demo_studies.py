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

from steplens.store import open_store

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


def test_debiased_cka_is_that_of_sums_over_distinct_sentences():
    """Speech of German and text of Japanese at the encoders' second layer, by Song et al.'s estimator."""
    views = [
        opened("encoder", modality, f"{code}.zarr")["hidden_state"][:, 2].astype(np.float64)
        for modality, code in (("speech", "deu"), ("text", "jpn"))
    ]
    ids = [
        opened("encoder", modality, f"{code}.zarr")["utterance"][:]
        for modality, code in (("speech", "deu"), ("text", "jpn"))
    ]
    common, *rows = np.intersect1d(*ids, return_indices=True)
    one, other = (view[row] for view, row in zip(views, rows, strict=True))

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

    expected = hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))
    pairs = pd.read_csv(RUN / "similarity" / "pairs.csv", dtype={"layer": str})
    ends = {"language_1": "deu", "modality_1": "speech", "language_2": "jpn", "modality_2": "text"}
    found = pairs[(pairs["module"] == "encoder") & (pairs["layer"] == "1")]
    found = found[(found["measure"] == "cka_debiased")]
    for swap in (False, True):
        given = {
            k.replace("1", "x").replace("2", "1").replace("x", "2"): v for k, v in ends.items()
        }
        part = found[
            np.logical_and.reduce([found[k] == v for k, v in (given if swap else ends).items()])
        ]
        if len(part):
            assert part["value"].item() == pytest.approx(expected, abs=1e-5)
            assert part["n"].item() == len(common)
            return
    pytest.fail("the pair is not in the table")


def test_the_report_has_a_section_for_each_study():
    html = (RUN / "report.html").read_text(encoding="utf-8")
    for study in ("modality", "inequality", "similarity", "causal"):
        assert f'<h2 id="{study}">' in html
    for number in range(12, 20):
        assert f"<h3>Figure {number}. " in html
