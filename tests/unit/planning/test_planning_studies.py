"""What the neighbouring studies add to a plan, against what they do."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import LANGUAGES, ROOT

from steplens.config.run import parse_config
from steplens.models.neurons import neuron_table
from steplens.planning.model import PUBLISHED, Model
from steplens.planning.plan import folders
from steplens.planning.studies import RATE_OF, RULES, study_bytes, study_units
from steplens.planning.work import STAGES, stage_of
from steplens.ranking.selection import Scores
from steplens.ranking.table import Ranking
from steplens.run.layout import RunLayout
from steplens.studies.causal.decoder import ModalityNeurons, trials
from steplens.studies.inequality.measure import measure

LARGE = Model("seamless-m4t-v2-large", PUBLISHED["seamless-m4t-v2-large"], "")
COUNTS = {"deu": 10, "spa": 40}
TOKENS = {"deu": 5.0, "spa": 7.0}


def config(**more):
    settings = {
        "languages": ["deu", "spa"], "steps": [1, 6], "corpus": {"n_utterances": 40},
        "steering": {"n_utterances": 2}, "causal": {"ks": [10, 20], "n_utterances": 20, "n_random": 3},
        "decoding": {"max_new_tokens": 16},
    }  # fmt: skip
    return parse_config(settings | more)


def units_of(settings):
    """With v2 large's layers and 1,000,000 ranked neurons."""
    return study_units(settings, LARGE, COUNTS, 1_000_000, TOKENS)


def test_units_by_hand():
    units = units_of(config())
    # Two pairs of tasks, two steps; 50 utterances of both tasks, once pooled and once by language.
    assert units["rank_modality"] == pytest.approx(2 * 2 * 2 * 2 * 50)
    # 10 and 20 sentences; of each k 3 + 2 x 3 sets, up to 16 tokens, four tasks.
    assert units["causal_decoder"] == 4 * 30 * 2 * 9 * 16
    encoder = 2 * 2 * 5 * (10 * 5.0 + 20 * 7.0)
    assert units["causal_speech_encoder"] == units["causal_text_encoder"] == encoder
    # Embedding, 24 layers, and the adapter in speech; four tasks at two steps; 50 x 1,024 states.
    assert units["probe_encoder"] == pytest.approx((26 + 25) * 0.0512)
    assert units["probe_decoder"] == pytest.approx(4 * 2 * 25 * 0.0512)
    assert units["measure_inequality_encoder"] == pytest.approx(50 * (589_824 + 368_640) / 1e6)
    assert units["measure_inequality"] == pytest.approx(4 * 2 * 50)


def test_similarity_counts_pairs_of_views():
    """Two languages in two modalities are four views and have six pairs; 25 sentences on average."""
    units = units_of(config(similarity={"length_bins": 1, "shuffles": 1}))
    one_layer = (6 + 5.5 * 4) * 25**2 / 1e6
    assert units["similarity_encoders"] == pytest.approx(26 * one_layer)
    assert units["similarity_decoder"] == pytest.approx(2 * 2 * 25 * one_layer)
    binned = units_of(config(similarity={"length_bins": 3, "shuffles": 1}))
    assert binned["similarity_encoders"] == pytest.approx(1.5 * 26 * one_layer)
    assert binned["similarity_decoder"] == units["similarity_decoder"]
    shuffled = units_of(config(similarity={"length_bins": 1, "shuffles": 3}))
    more = 6 * 0.34 * 25**2 / 1e6
    assert shuffled["similarity_encoders"] == pytest.approx(26 * (one_layer + more))


def test_sets_are_those_that_the_study_fixes():
    settings = json.loads((ROOT / "resources/demo/seamless-m4t-v2-demo/config.json").read_text())
    neurons = neuron_table(settings, "decoder")
    ap = np.random.default_rng(1).random((len(LANGUAGES), len(neurons)))
    ranking = Ranking(list(LANGUAGES), ap, ap.astype("f4"), np.full(len(ap), 9), neurons)
    own = ModalityNeurons("speech", Scores(ap[0]), ap[1])
    one = config().causal
    made = trials(ranking, "deu", ap[2], one.ks, one.n_random, 1, own)
    assert len(made) == len(one.ks) * (3 + 2 * one.n_random)
    assert len(trials(ranking, "deu", ap[2], one.ks, one.n_random, 1)) == len(one.ks) * (
        2 + one.n_random
    )


def test_a_study_that_is_not_asked_for_costs_nothing():
    assert study_units(config(studies=[]), LARGE, COUNTS, 10, TOKENS) == {}
    of = {
        "modality": {"rank_modality", "probe_encoder", "probe_decoder"},
        "inequality": {"measure_inequality", "measure_inequality_encoder"},
        "similarity": {"similarity_encoders", "similarity_decoder"},
    }
    for study, rules in of.items():
        assert set(units_of(config(studies=[study]))) == rules
    causal = {"causal_decoder", "causal_speech_encoder", "causal_text_encoder"}
    both = units_of(config(studies=["modality", "causal"]))
    assert set(both) == causal | of["modality"]
    assert study_bytes(config(studies=["similarity"]), LARGE, [5, 7], 12, 10) == {}


def test_rankings_by_modality_are_counted_row_by_row():
    # Two pairs, two steps, speech and text; all languages and two by themselves.
    found = study_bytes(config(studies=["modality"]), LARGE, [5, 7], 12.0, 1000)
    assert found == {"rank_modality": 2 * 2 * 2 * 3 * 1000 * 12}


@pytest.mark.demo
@pytest.mark.parametrize("invariant", [True, False])
def test_inequality_takes_as_much_as_its_tables(tmp_path, invariant):
    """Measured on a store of the demo, and all tables of the demo together."""
    settings = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    settings["ranking"] = {"include_step_invariant": invariant}
    demo = json.loads((ROOT / "resources/demo/seamless-m4t-v2-demo/config.json").read_text())
    found = study_bytes(parse_config(settings), Model("", demo, ""), [60] * 5, 12.0, 1000)
    store = ROOT / "results" / "demo" / "decoder" / "asr" / "deu" / "step-01.zarr"
    measure(store, tmp_path / "one.parquet", invariant, {"task": "asr"})
    one = found["measure_inequality"] / (4 * 3 * 5)
    assert (tmp_path / "one.parquet").stat().st_size == pytest.approx(one, rel=0.1)
    if invariant:
        folder = ROOT / "results" / "demo" / "inequality"
        for rule, name in (
            ("measure_inequality_encoder", "encoder"),
            ("measure_inequality", "decoder"),
        ):
            there = sum(path.stat().st_size for path in (folder / name).rglob("*.parquet"))
            assert there == pytest.approx(found[rule], rel=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_of_a_study_has_its_stage(rule):
    assert stage_of(rule) == "neighbouring studies"


def test_the_rules_are_those_of_the_rules_files():
    found = set()
    for study in ("modality", "inequality", "similarity", "causal"):
        text = (ROOT / "workflow" / "rules" / "studies" / f"{study}.smk").read_text(
            encoding="utf-8"
        )
        found |= set(re.findall(r"^rule (\w+):", text, flags=re.M))
        found |= set(re.findall(r"^use rule \w+ as (\w+) with:", text, flags=re.M))
    assert found == {*RULES, "rank_modality"}
    assert stage_of("rank_modality") == "rank"
    assert set(RATE_OF) <= found
    assert "neighbouring studies" in STAGES


def test_what_a_study_wrote_is_on_disk_under_its_stage():
    """Its folder has its name; rankings by modality lie with the others."""
    studies = parse_config({}).studies
    of_stages = folders(RunLayout(Path("run")))
    assert set(of_stages["neighbouring studies"]) == {Path("run", study) for study in studies}
    assert list(of_stages) == [stage for stage in STAGES if stage != "fetch"]
