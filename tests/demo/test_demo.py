"""The demo proves the chain: its results against slow, independent computations, and what it shows.

Nothing of ``steplens.ranking``, ``comparison``, ``recording`` or ``hooks`` is used to compute the expected
values: plain hooks during transformers' own generate, scikit-learn, sets, SciPy.
"""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import LANGUAGES, ROOT
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

RUN = ROOT / "results" / "demo"
CHECKPOINT = ROOT / "resources" / "demo" / "seamless-m4t-v2-demo"
STEPS = (1, 6, 11)

pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def settings():
    import yaml

    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def decoder_store(task, language, step):
    from steplens.store.reading import open_store

    return open_store(RUN / "decoder" / task / language / f"step-{step:02d}.zarr")


def stacked(task, step):
    """Valid activations of all languages and their labels: float32 (n, n_neurons), (n,)."""
    parts, labels = [], []
    for number, language in enumerate(LANGUAGES):
        store = decoder_store(task, language, step)
        valid = store["valid"].to_numpy()
        parts.append(store["activation"].to_numpy()[valid])
        labels += [number] * int(valid.sum())
    return np.concatenate(parts), np.array(labels)


def slow_ap(task, step):
    """AP by its definition, neuron by neuron, ties as one threshold: (n_languages, n_neurons)."""
    values, labels = stacked(task, step)
    found = np.empty((len(LANGUAGES), values.shape[1]))
    for column, scores in enumerate(values.astype(np.float64).T):
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
        for number in range(len(LANGUAGES)):
            hits = np.cumsum(labels[order] == number)[ends]
            found[number, column] = np.sum(np.diff(hits, prepend=0) * hits / (ends + 1)) / hits[-1]
    return found


@pytest.fixture(scope="module")
def ap():
    """AP of s2t and t2t at one step, to 12 decimals: sums in another order differ in their last bits."""
    return {task: slow_ap(task, 6).round(12) for task in ("s2t", "t2t")}


def top_set(scores, k):
    """Top k by AP, equal AP by column, as a set."""
    return set(sorted(range(len(scores)), key=lambda column: (-scores[column], column))[:k])


def test_asr_is_exact_for_nine_sentences_in_ten_of_every_language():
    """On sentences that the model has never seen."""
    scores = pd.read_csv(RUN / "tables" / "recognition.csv")
    asr = scores[scores["task"] == "asr"].set_index("language")["exact_match"]
    assert sorted(asr.index) == sorted(LANGUAGES)
    assert (asr >= 0.90).all(), asr.to_dict()


def test_no_token_is_unknown_and_those_that_are_read_are_counted():
    """As transformers' own tokenizer has them."""
    from transformers import SeamlessM4TTokenizer

    tokenizer = SeamlessM4TTokenizer.from_pretrained(CHECKPOINT)
    scores = pd.read_csv(RUN / "tables" / "recognition.csv").set_index(["task", "language"])
    for language in LANGUAGES:
        tokenizer.src_lang = language
        texts = pd.read_parquet(RUN / "corpus" / f"{language}.parquet")["text"]
        n_read = sum(len(tokenizer(text).input_ids) for text in texts)
        for task in ("t2t", "tr"):
            assert scores.loc[(task, language), "n_unknown_input"] == 0
            assert scores.loc[(task, language), "n_input_tokens"] == n_read
        for task in ("s2t", "asr"):
            assert np.isnan(scores.loc[(task, language), "n_input_tokens"])
        assert (scores["n_unknown_output"] == 0).all()
        assert (scores["n_output_tokens"] > 0).all()


def test_nine_sentences_in_ten_reach_step_11():
    """In every language and task; and the counts are those of the stores."""
    counts = pd.read_csv(RUN / "comparison" / "valid_counts.csv")
    for row in counts.itertuples():
        assert row.n_valid >= 0.9 * row.n_utterances, row
        assert row.n_valid == int(decoder_store(row.task, row.language, row.step)["valid"].sum())


def test_stores_hold_what_hooks_see_during_generation(settings):
    """Plain hooks, transformers' generate on the whole model, one utterance at a time."""
    import soundfile
    import torch
    from transformers import (
        SeamlessM4TFeatureExtractor,
        SeamlessM4TTokenizer,
        SeamlessM4Tv2ForSpeechToText,
        SeamlessM4Tv2ForTextToText,
    )

    extractor = SeamlessM4TFeatureExtractor.from_pretrained(CHECKPOINT)
    tokenizer = SeamlessM4TTokenizer.from_pretrained(CHECKPOINT)
    speech_model = SeamlessM4Tv2ForSpeechToText.from_pretrained(
        CHECKPOINT, dtype=torch.float32
    ).eval()
    text_model = SeamlessM4Tv2ForTextToText.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    options = {"num_beams": 1, "do_sample": False,
               "max_new_tokens": settings["decoding"]["max_new_tokens"]}  # fmt: skip
    for task, language, step in (("s2t", "deu", 6), ("tr", "jpn", 11), ("asr", "cmn", 1)):
        store = decoder_store(task, language, step)
        table = pd.read_parquet(RUN / "corpus" / f"{language}.parquet").set_index("utterance")
        spoken = pd.read_parquet(RUN / "speech" / f"{language}.parquet").set_index("utterance")
        model = speech_model if task in ("s2t", "asr") else text_model
        names = list(dict.fromkeys(store["submodule"].to_numpy()))
        n_layers = int(store["layer"].max()) + 1
        paths = [f"layers.{layer}.{name}" for layer in range(n_layers) for name in names]
        calls: dict[str, list] = {}

        def keep(path, calls=calls):
            def hook(_module, _args, output):
                calls.setdefault(path, []).append(output[0].clone())

            return hook

        handles = [
            model.text_decoder.get_submodule(path).register_forward_hook(keep(path))
            for path in paths
        ]
        target = "eng" if task in ("s2t", "t2t") else language
        for row in (0, 7):
            calls.clear()
            utterance = int(store["utterance"][row])
            with torch.no_grad():
                if task in ("s2t", "asr"):
                    wave, rate = soundfile.read(
                        RUN / "speech" / spoken["path"][utterance], dtype="float32"
                    )
                    inputs = extractor(wave, sampling_rate=rate, return_tensors="pt")
                    # The extractor pads to an even number of frames; alone there is nothing to pad.
                    n = int(inputs["attention_mask"].sum())
                    inputs = {name: value[:, :n] for name, value in inputs.items()}
                else:
                    tokenizer.src_lang = language
                    inputs = tokenizer(table["text"][utterance], return_tensors="pt")
                model.generate(**inputs, tgt_lang=target, **options)
            slow = np.concatenate(
                [
                    (calls[path][0].mean(0) if "cross_attention.k" in path or "cross_attention.v" in path
                     else calls[path][step - 1][-1]).numpy()
                    for path in paths
                ]
            )  # fmt: skip
            kept = store["activation"][row].to_numpy().astype(np.float64)
            # float16 in the store, and 1e-3 between the two feature extractors.
            np.testing.assert_allclose(kept, slow, atol=5e-3 * np.abs(slow).max(), rtol=2e-3)
        for handle in handles:
            handle.remove()


def test_ap_by_its_definition_is_scikit_learns(ap):
    """On some hundred neurons: it takes a minute for all."""
    for task, found in ap.items():
        values, labels = stacked(task, 6)
        for column in np.random.default_rng(1).choice(values.shape[1], 100, replace=False):
            scores = values[:, column].astype(np.float64)
            expected = [average_precision_score(labels == n, scores) for n in range(len(LANGUAGES))]
            np.testing.assert_allclose(found[:, column], expected, rtol=0, atol=1.5e-12)


def test_rankings_equal_ap_by_its_definition(ap):
    """AP of every decoder neuron for every language, ties included; medians as NumPy has them."""
    from steplens.ranking.table import open_ranking

    for task in ("s2t", "t2t"):
        ranking = open_ranking(RUN / "ranking" / "decoder" / task / "step-06.zarr")
        np.testing.assert_allclose(ranking.ap, ap[task], rtol=0, atol=1.5e-12)
        values, labels = stacked(task, 6)
        for number in range(len(LANGUAGES)):
            median = np.median(values[labels == number].astype(np.float64), axis=0)
            np.testing.assert_allclose(ranking.median[number], median, rtol=1e-6)


def test_overlap_ratio_and_p_equal_sets_and_brute_force(ap, settings):
    """Figure 4 at step 6, from Python sets and all permutations."""
    import itertools

    k = settings["comparison"]["k"]
    sets = {task: [top_set(scores, k) for scores in ap[task]] for task in ap}
    matrix = np.array([[len(one & other) for other in sets["t2t"]] for one in sets["s2t"]])
    table = pd.read_csv(RUN / "comparison" / "overlap.csv").query("step == 6")
    wide = table.pivot(index="speech_language", columns="text_language", values="overlap")
    np.testing.assert_array_equal(wide.loc[list(LANGUAGES), list(LANGUAGES)], matrix)
    row = pd.read_csv(RUN / "comparison" / "overlap_summary.csv").query("step == 6").iloc[0]
    assert row["diagonal_ratio"] == pytest.approx(np.trace(matrix) / matrix.sum())
    traces = [
        sum(matrix[i, j] for i, j in enumerate(matching))
        for matching in itertools.permutations(range(len(LANGUAGES)))
    ]
    assert row["p"] == pytest.approx(np.mean([trace >= np.trace(matrix) for trace in traces]))
    assert row["ci_low"] < row["diagonal_ratio"] < row["ci_high"]


def test_spearman_maps_equal_scipy(ap):
    """Figure 5 at step 6, over all neurons."""
    table = pd.read_csv(RUN / "comparison" / "spearman.csv").query("step == 6")
    wide = table.pivot(index="speech_language", columns="text_language", values="rho")
    for i, one in enumerate(LANGUAGES):
        for j, other in enumerate(LANGUAGES):
            expected = spearmanr(ap["s2t"][i], ap["t2t"][j]).statistic
            assert wide.loc[one, other] == pytest.approx(expected, abs=1e-6)


def test_steering_moves_the_output_language_in_each_direction():
    """At some step, more than unsteered and than random neurons, the interval above zero."""
    effects = pd.read_csv(RUN / "steering" / "effects.csv").query("task == 'asr'")
    for direction in ("Latin to CJK", "CJK to Latin"):
        part = effects[effects["direction"] == direction].set_index(["step", "baseline"])
        proven = [
            step
            for step in STEPS
            if all(
                part.loc[(step, baseline), "ci_low"] > 0
                and part.loc[(step, baseline), "difference"] > 0
                for baseline in ("unsteered", "random")
            )
        ]
        assert proven, part.to_string()
        assert (part["n_pairs"] == 6).all()


def test_the_learning_curve_ends_in_the_ratio_and_the_stability_of_all_sentences():
    table = pd.read_csv(RUN / "comparison" / "learning_curve.csv")
    assert table.groupby("fraction")["n_sentences"].unique().map(list).tolist() == [
        [8], [15], [30], [60],
    ]  # fmt: skip
    assert sorted(table["step"].unique()) == list(STEPS)
    ends = table[table["fraction"] == 1].set_index(["step", "measure"])["value"]
    ratios = pd.read_csv(RUN / "comparison" / "overlap_summary.csv").set_index("step")
    halves = pd.read_csv(RUN / "comparison" / "stability.csv").query("language == 'mean'")
    for step in STEPS:
        assert ends[step, "diagonal_ratio"] == pytest.approx(ratios.loc[step, "diagonal_ratio"])
        for row in halves[halves["step"] == step].itertuples():
            assert ends[step, row.measure] == pytest.approx(row.share, abs=1e-8)


def test_control_rates_equal_a_count_by_hand():
    """Every steered asr rate of table 1 again, from the texts, with ranges of code points."""
    import re

    latin = re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏ]+")
    cjk = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff]")
    table = pd.read_csv(RUN / "tables" / "table1.csv").query("task == 'asr'")
    for row in table.itertuples():
        texts = pd.read_parquet(
            RUN / "steering" / "texts" / "asr" / row.source / f"step-{row.step:02d}.parquet"
        )
        texts = texts[(texts["target"] == row.target) & (texts["control"] == "steered")]["text"]
        n_latin = sum(len(latin.findall(text)) for text in texts)
        n_cjk = sum(len(cjk.findall(text)) for text in texts)
        target = n_cjk if row.target in ("cmn", "jpn") else n_latin
        if n_latin + n_cjk:
            assert row.steered == pytest.approx(target / (n_latin + n_cjk), abs=1e-6)
            assert row.steered_ci_low - 1e-9 <= row.steered <= row.steered_ci_high + 1e-9


def test_stores_say_where_they_come_from():
    """Model, versions, precision, attention and a digest among the root attributes."""
    attributes = json.loads(
        (RUN / "decoder" / "asr" / "deu" / "step-06.zarr" / "zarr.json").read_text()
    )["attributes"]
    assert attributes["model"] == "resources/demo/seamless-m4t-v2-demo"
    assert attributes["attention"] == "sdpa"
    assert attributes["task"] == "asr"
    assert attributes["step"] == 6
    assert len(attributes["digest"]) == 64
    assert {"torch", "transformers", "compute_dtype", "versions"} <= set(attributes)


def test_every_result_of_the_design_is_there():
    """CSV, figure and table by their public names."""
    for number in range(2, 9):
        for kind in ("svg", "png"):
            assert (RUN / "figures" / f"figure{number}.{kind}").stat().st_size > 2_000
    for number in range(1, 6):
        assert len(pd.read_csv(RUN / "tables" / f"table{number}.csv"))
    page = (RUN / "report.html").read_text()
    for heading in [f"Figure {n}" for n in range(2, 7)] + [f"Table {n}" for n in range(1, 6)]:
        assert heading in page
    assert len(list((RUN / "benchmarks").rglob("*.tsv"))) > 100
