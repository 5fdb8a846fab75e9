"""How far results move when ties are broken in another way, on rankings and outputs that are made up."""

import numpy as np
import pandas as pd
import pytest
from conftest import write_table
from made_stores import NEURONS

from steplens.ranking.table import Ranking, write_ranking
from steplens.run.layout import TIE_TABLES
from steplens.settings import Selection, tie_rules
from steplens.steering.tie_counts import control_ties
from steplens.steering.tie_sensitivity import tie_sensitivity
from steplens.studies.causal.ties import causal_ties

LANGUAGES = ["deu", "jpn"]
K = 50


def made_ranking(path, task, tied):
    """Of each language 30 neurons are best and ``tied`` more are equal; separation prefers the last."""
    generator = np.random.default_rng(3)
    ap = generator.uniform(0.1, 0.5, (2, len(NEURONS))).round(6)
    for row, first in enumerate((0, 300)):
        ap[row, first : first + 30] = 1.0
        ap[row, first + 30 : first + 30 + tied] = 0.9
    separation = np.tile(np.arange(len(NEURONS), dtype=float), (2, 1))
    condition = {"module": "decoder", "task": task, "step": 1}
    made = Ranking(
        LANGUAGES, ap, ap.astype("f4"), np.array([9, 9]), NEURONS, {}, {}, separation, condition
    )
    write_ranking(path, made, condition)
    return path, made


def outputs(path, task, texts):
    """One output per rule: ``texts`` by (ties, seed)."""
    rows = [
        {"ties": one.ties, "ties_seed": one.seed, "task": task, "step": 1, "source": "deu",
         "target": "jpn", "utterance": 4, "text": texts(one)}
        for one in tie_rules(Selection())
    ]  # fmt: skip
    write_table(pd.DataFrame(rows), path, task=task, source="deu")
    return path


def test_every_rule_is_tried_once_and_the_run_s_own_is_among_them():
    assert len(tie_rules(Selection())) == 2 + 5
    own = Selection("random", "submodule", seed=77)
    found = tie_rules(own)
    assert found[0] == own
    assert len(found) == 3 + 5
    assert {one.scope for one in found} == {"submodule"}


def test_ranges_are_over_all_rules_and_name_the_run_s_own_value(tmp_path):
    paths = {}
    for task in ("s2t", "t2t"):
        paths[task], _ = made_ranking(tmp_path / f"{task}.zarr", task, tied=100)
    spoken = {"separation": "本", "column": "本 a", "random": "a b"}
    texts = {
        ("asr", "deu"): outputs(tmp_path / "asr.parquet", "asr", lambda one: spoken[one.ties]),
        ("tr", "deu"): outputs(tmp_path / "tr.parquet", "tr", lambda one: "本 a a a"),
    }
    tables = {name: tmp_path / f"{name}.csv" for name in TIE_TABLES}
    rankings = {1: (paths["s2t"], paths["t2t"])}
    tie_sensitivity(texts, rankings, tables, K, Selection(), min_source_rate=0.1)
    table = pd.read_csv(tmp_path / "ranges.csv").set_index(["measure", "task"])
    asr, tr = table.loc[("rate", "asr")], table.loc[("rate", "tr")]
    assert asr[["value", "low", "high", "n_rules"]].tolist() == [1, 0, 1, 7]
    assert tr[["value", "low", "high"]].tolist() == [0.25] * 3
    # Lots give no rate in asr, and so no effect ratio.
    ratio = table.loc["ratio"].iloc[0]
    assert ratio[["value", "low", "high", "n_rules"]].tolist() == [0.25, 0.25, 0.5, 2]
    shared = pd.read_csv(tmp_path / "diagonal_ratio.csv").set_index("ties")
    assert shared.loc[["separation", "column"], "diagonal_ratio"].tolist() == [1, 1]
    assert (shared[["decided_by_tie", "tied"]].to_numpy() == [20, 100]).all()
    # By lot, speech and text take 20 of the 100 each for itself: few of them are the same ones.
    assert shared.loc["random", "diagonal_ratio"].le(1).all()


def test_ties_of_control_neurons_are_counted_at_both_ends(tmp_path):
    _, made = made_ranking(tmp_path / "asr.zarr", "asr", tied=100)
    table = control_ties(made, K, Selection()).set_index(["language", "end"])
    for language in LANGUAGES:
        top = table.loc[(language, "top")]
        assert top[["k", "ap_at_k", "decided_by_tie", "tied"]].tolist() == pytest.approx(
            [K, 0.9, 20, 100]
        )
        assert table.loc[(language, "bottom"), "decided_by_tie"] == 0


def test_ties_of_the_causal_study_are_counted_for_every_set(tmp_path):
    """Language sets of encoder and decoder, and the modality's, which is the row of all languages."""
    generator = np.random.default_rng(8)
    paths, made = {}, {}
    for name, rows, condition in (
        ("encoder", LANGUAGES, {"module": "text_encoder"}),
        ("language", LANGUAGES, {"module": "decoder", "task": "tr", "step": 6}),
        ("modality", ["all", *LANGUAGES],
         {"module": "decoder", "task": "tr", "step": 6, "label": "text"}),
    ):  # fmt: skip
        ap = generator.integers(0, 9, (len(rows), len(NEURONS))) / 9
        counts = np.full(len(rows), 9)
        made[name] = Ranking(rows, ap, ap.astype("f4"), counts, NEURONS, {}, {}, None, condition)
        paths[name] = tmp_path / f"{name}.zarr"
        write_ranking(paths[name], made[name], condition)
    causal_ties(
        {"text_encoder": paths["encoder"]}, {"tr": (paths["language"], paths["modality"])}, 6,
        [10, 300], tmp_path / "ties.csv", Selection("column"),
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "ties.csv")
    assert (table["ties"] == "column").all()
    assert len(table) == 2 * (2 + 2 + 1)
    of = {("text", "language"): "encoder", ("tr", "language"): "language"}
    for row in table.itertuples():
        ranking = made[of.get((row.task, row.neurons), "modality")]
        ap = np.sort(ranking.ap[ranking.row(row.language)])[::-1]
        last = ap[row.k - 1]
        assert row.ap_at_k == pytest.approx(last)
        assert row.tied == (ap == last).sum()
        assert row.decided_by_tie == row.k - (ap > last).sum()
        assert row.step == (0 if row.module == "text_encoder" else 6)
