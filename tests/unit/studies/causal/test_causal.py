"""Which neurons the causal study fixes, and its stages, on a small model.

Outputs are compared with those of one sentence at a time, one plain hook a neuron, by transformers.
"""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from causal_inputs import LANGUAGES, STEP, UTTERANCES, made_ranking, write_inputs
from conftest import made_by
from made_stores import NEURONS, write_store
from slow_fixed_encoder import slowly_fixed
from slow_generation import one_thread, slow_intervention, transformers_generate  # noqa: F401

from steplens.config.run import parse_config
from steplens.errors import ConfigError, StoreError
from steplens.files.atomic import write_csv
from steplens.generation.decode import Decoder
from steplens.languages.repetition import longest_repeat
from steplens.ranking.selection import Scores, top_k
from steplens.ranking.table import Ranking, open_ranking, write_ranking
from steplens.settings import DEFAULT_SELECTION
from steplens.steering.kept_outputs import n_generated
from steplens.store.reading import open_store, read_states
from steplens.studies.causal import decoder as causal
from steplens.studies.causal import encoder as causal_encoder
from steplens.studies.causal.fixed_encoder import FixedEncoder
from steplens.studies.causal.medians import encoder_medians
from steplens.studies.causal.trials import ModalityNeurons, trials

MOST = 7


def some_ranking(seed=3):
    generator = np.random.default_rng(seed)
    shape = (3, len(NEURONS))
    median = generator.normal(size=shape).astype(np.float32)
    return Ranking(LANGUAGES, generator.random(shape), median, np.full(3, 9), NEURONS)


def columns_of(fixed):
    """Positions of the fixed neurons among all."""
    keys = ["layer", "submodule", "unit"]
    place = {key: n for n, key in enumerate(NEURONS[keys].itertuples(index=False, name=None))}
    return [place[key] for key in fixed.table[keys].itertuples(index=False, name=None)]


def test_the_sets_are_the_best_of_the_own_language_of_the_next_and_of_the_modality():
    """With the neutral medians, the modality's with those of the other one; random ones match each."""
    ranking = some_ranking()
    generator = np.random.default_rng(1)
    neutral, ap, value = generator.normal(size=(3, len(NEURONS))).astype(np.float32)
    plan = trials(
        ranking, "jpn", neutral, [5, 40], 2, 1, ModalityNeurons("speech", Scores(ap), value)
    )
    found = [(one.k, one.neurons, one.matched_to, one.seed, one.neurons_of) for one in plan]
    for k in (5, 40):
        assert [one[1:] for one in found if one[0] == k] == [
            ("language", "none", 0, "jpn"),
            ("random", "language", 1, ""),
            ("random", "language", 2, ""),
            ("modality", "none", 0, "speech"),
            ("random", "modality", 1, ""),
            ("random", "modality", 2, ""),
            ("other_language", "none", 0, "deu"),
        ]
    by_name = {(one.k, one.neurons, one.matched_to, one.seed): one.fixed for one in plan}
    expected = {"language": ranking.ap[2], "modality": ap, "other_language": ranking.ap[0]}
    cells = ["layer", "submodule"]
    for k in (5, 40):
        for kind, order in expected.items():
            fixed = by_name[k, kind, "none", 0]
            assert columns_of(fixed) == sorted(np.argsort(-order)[:k])
            values = value if kind == "modality" else neutral
            np.testing.assert_array_equal(fixed.table["value"], values[columns_of(fixed)])
        for kind in ("language", "modality"):
            own = by_name[k, kind, "none", 0]
            drawn = [by_name[k, "random", kind, number] for number in (1, 2)]
            for one in drawn:
                sizes = [table.table.groupby(cells, observed=True).size() for table in (own, one)]
                pd.testing.assert_series_equal(*sizes)
                values = value if kind == "modality" else neutral
                np.testing.assert_array_equal(one.table["value"], values[columns_of(one)])
            assert columns_of(drawn[0]) != columns_of(drawn[1])
            assert not set(columns_of(drawn[0])) & set(columns_of(own))


def test_another_k_or_another_random_set_moves_none_of_the_others():
    """So that only what is new is generated."""
    ranking, neutral = some_ranking(), np.zeros(len(NEURONS), np.float32)

    def digests(ks, n_random):
        return {one.fixed.digest for one in trials(ranking, "deu", neutral, ks, n_random, 1)}

    assert digests([5, 40], 2) < digests([5, 20, 40], 2) < digests([5, 20, 40], 3)
    assert len(digests([5, 20, 40], 3)) == 3 * 5


def test_more_neurons_than_there_are_are_refused():
    """Before a model is loaded."""
    ranking, neutral = some_ranking(), np.zeros(len(NEURONS), np.float32)
    with pytest.raises(ValueError, match=f"causal.ks: expected at most {len(NEURONS)}.*got 99999"):
        trials(ranking, "deu", neutral, [5, 99999], 1, 1)


def test_medians_are_those_of_all_languages_together(tmp_path):
    """Without the utterances that are left out; an even number has the mean of the middle two."""
    generator = np.random.default_rng(2)
    stores, parts = {}, []
    for language, n in (("deu", 5), ("spa", 7)):
        activation = generator.normal(size=(n, len(NEURONS))).astype(np.float16)
        path = tmp_path / f"{language}.zarr"
        stores[language] = write_store(path, activation, module="text_encoder")
        parts.append(activation[1:] if language == "spa" else activation)
    left_out = pd.DataFrame({"language": ["spa"], "utterance": [0], "left_out": [True]})
    write_csv(left_out, tmp_path / "left_out.csv")
    output = tmp_path / "medians.zarr" / "zarr.json"
    encoder_medians(stores, "text_encoder", output, 1, tmp_path / "left_out.csv")
    found = open_ranking(output, module="text_encoder")
    together = np.concatenate(parts).astype(np.float64)
    np.testing.assert_allclose(found.median[0], np.median(together, axis=0), rtol=1e-6)
    assert (found.languages, found.n_valid.tolist()) == (["all"], [11])


@pytest.fixture(scope="module")
def inputs(source, tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"), source)


@pytest.fixture
def run(inputs, source, tmp_path):
    """Runs the stage of the decoder or of an encoder into a folder; returns its tables."""

    def call(module="decoder", folder=tmp_path, code="a", **changes):
        rankings = inputs / "rankings"
        options = {
            "language": "deu", "output_language": "eng", "ks": [10, 30], "n_utterances": 3,
            "n_random": 1, "seed": 1, "max_new_tokens": MOST, "made_by": made_by(source, code),
            "ranking": rankings / f"{module}.zarr",
        } | changes  # fmt: skip
        if module == "decoder":
            outputs = {"tr": folder / "tr.parquet"}
            causal.causal_decoder(
                source, task="tr", step=STEP, own_modality=rankings / "text.zarr",
                other_modality=rankings / "speech.zarr", encoder_store=inputs / "text.zarr",
                output=outputs["tr"], batch_size=10, **options,
            )  # fmt: skip
        else:
            modality = module.removesuffix("_encoder")
            tasks = ("s2t", "asr") if modality == "speech" else ("t2t", "tr")
            outputs = {task: folder / f"{task}.parquet" for task in tasks}
            spoken = inputs / "speech" / "deu.parquet"
            causal_encoder.causal_encoder(
                source, modality=modality, corpus=inputs / "corpus.parquet",
                speech=spoken if modality == "speech" else None,
                medians=rankings / f"medians-{module}.zarr", outputs=outputs,
                encode_batch_size=5, decode_batch_size=12, **options,
            )  # fmt: skip
        return {task: pd.read_parquet(path) for task, path in outputs.items()}

    return call


def decoder_plan(inputs, language="deu", ks=(10, 30), n_random=1):
    rankings = inputs / "rankings"
    own, other = (open_ranking(rankings / f"{name}.zarr") for name in ("text", "speech"))
    modality = ModalityNeurons("text", own.scores(DEFAULT_SELECTION).row(0), other.median[0])
    ranking = open_ranking(rankings / "decoder.zarr")
    return trials(ranking, language, own.median[0], ks, n_random, 1, modality)


def test_every_output_of_the_decoder_is_that_of_its_sentence_alone(run, source, inputs):
    """All trials in batches of ten."""
    table = run()["tr"]
    assert (table[["module", "task", "step", "language"]] == ["decoder", "tr", STEP, "deu"]).all(
        axis=None
    )
    decoder = Decoder(source, MOST)
    states = read_states(open_store(inputs / "text.zarr"))
    rows = iter(table.itertuples())
    for trial in decoder_plan(inputs):
        for utterance, own in zip(UTTERANCES[:3], states, strict=False):
            row = next(rows)
            key = (row.neurons, row.matched_to, row.k, row.seed, row.neurons_of, row.utterance)
            assert key == (trial.neurons, trial.matched_to, trial.k, trial.seed, trial.neurons_of,
                           utterance)  # fmt: skip
            with slow_intervention(decoder, [(slice(0, 1), trial.fixed)]):
                tokens, ended = transformers_generate(
                    decoder, *decoder.to_device([own]), "deu", MOST
                )
            assert row.text == decoder.text(tokens[0])
            found = row.n_tokens, row.ended, row.longest_repeat
            assert found == (len(tokens[0]), ended[0], longest_repeat(tokens[0]))
    assert next(rows, None) is None
    assert table["text"].nunique() > 5  # else the test shows little


@pytest.mark.parametrize("module", ["speech_encoder", "text_encoder"])
def test_every_output_of_an_encoder_is_that_of_its_sentence_alone(run, source, inputs, module):
    """Encoded with slow hooks and decoded for both tasks, one sentence at a time."""
    tables = run(module)
    rankings, modality = inputs / "rankings", module.removesuffix("_encoder")
    neutral = open_ranking(rankings / f"medians-{module}.zarr").median[0]
    plan = trials(open_ranking(rankings / f"{module}.zarr"), "deu", neutral, [10, 30], 1, 1)
    sentences = pd.read_parquet(inputs / "corpus.parquet")
    spoken = inputs / "speech" / "deu.parquet"
    encoder = FixedEncoder(source, modality, "deu", sentences, spoken)
    decoder = Decoder(source, MOST)
    for task, table in tables.items():
        target = "eng" if task in ("s2t", "t2t") else "deu"
        rows = iter(table.itertuples())
        for trial in plan:
            for place in range(3):
                row = next(rows)
                with slowly_fixed(encoder, trial.fixed):
                    states = encoder.states([place], [None])
                inputs_of = decoder.to_device(states)
                tokens, _ = transformers_generate(decoder, *inputs_of, target, MOST)
                assert (row.utterance, row.neurons, row.k) == (
                    UTTERANCES[place], trial.neurons, trial.k)  # fmt: skip
                assert row.text == decoder.text(tokens[0])
        assert next(rows, None) is None
        assert table["text"].nunique() > 1


@pytest.mark.parametrize("module", ["decoder", "text_encoder"])
def test_another_k_and_more_utterances_generate_only_what_is_new(run, generated, tmp_path, module):
    """And a smaller job nothing; no model is loaded for that."""
    n_sets, n_tasks = (5, 1) if module == "decoder" else (3, 2)
    before = run(module)
    assert sum(generated) == 2 * n_sets * 3 * n_tasks
    generated.clear()
    after = run(module, ks=[10, 20, 30])
    assert sum(generated) == n_sets * 3 * n_tasks
    for task, table in before.items():
        kept = after[task][after[task]["k"] != 20].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, table)
    generated.clear()
    run(module, n_utterances=4)
    assert sum(generated) == 2 * n_sets * n_tasks
    generated.clear()
    assert len(run(module, ks=[20], n_utterances=2)) == n_tasks
    assert generated == []
    assert n_generated(tmp_path / ".parts" / "tr") == 0


def test_outputs_of_another_length_of_speech_are_not_taken(run, generated):
    """All are generated anew, and then found."""
    natural = run("speech_encoder")["asr"]
    n_outputs = sum(generated)
    generated.clear()
    fixed = run("speech_encoder", fixed_seconds=1.0)["asr"]
    assert sum(generated) == n_outputs > 0
    assert (fixed["text"] != natural["text"]).any()
    generated.clear()
    run("speech_encoder", fixed_seconds=1.0)
    assert generated == []


def test_with_nothing_to_generate_no_model_is_loaded(run, monkeypatch):
    """A job that only writes tables takes no GPU."""
    before = run("text_encoder")

    def refuse(*_args):
        raise AssertionError("loaded")

    for one in (Decoder, FixedEncoder):
        monkeypatch.setattr(one, "__init__", refuse)
    for task, table in run("text_encoder").items():
        pd.testing.assert_frame_equal(table, before[task])


def test_an_interrupted_encoder_job_goes_on_where_it_was(run, generated, monkeypatch, tmp_path):
    """What one of the two tasks has already is not decoded again."""
    whole = run("text_encoder", folder=tmp_path / "whole")
    generated.clear()
    greedy = Decoder.greedy

    def stopped(self, *inputs):
        if len(generated) == 1:
            raise KeyboardInterrupt
        return greedy(self, *inputs)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "greedy", stopped)
        with pytest.raises(KeyboardInterrupt):
            run("text_encoder")
    generated.clear()
    for task, table in run("text_encoder").items():
        pd.testing.assert_frame_equal(table, whole[task])
    assert sum(generated) == 2 * 18 - 12


def test_without_cross_attention_every_sentence_is_the_same(run, inputs, source, tmp_path):
    """Planted: all outputs of the decoder's cross-attention are the language's neurons.

    Fixed, nothing of the input reaches the output, whatever the values.
    """
    ranking = open_ranking(inputs / "rankings" / "decoder.zarr")
    planted = (ranking.neurons["submodule"] == "cross_attention.out_proj").to_numpy()
    k = int(planted.sum())
    ap = np.where(planted, 1.0, 0.5 * ranking.ap)
    ap[1:] = ranking.ap[1:]
    made = Ranking(LANGUAGES, ap, ranking.median, ranking.n_valid, ranking.neurons, {},
                   ranking.attributes)  # fmt: skip
    write_ranking(tmp_path / "planted.zarr", made, {"task": "tr", "step": STEP})
    table = run(ranking=tmp_path / "planted.zarr", ks=[k], n_utterances=4)["tr"]
    texts = table.loc[table["neurons"] == "language", "text"]
    assert (len(texts), texts.nunique()) == (4, 1)
    decoder = Decoder(source, MOST)
    states = decoder.to_device(read_states(open_store(inputs / "text.zarr")))
    free = {decoder.text(tokens) for tokens in decoder.greedy(*states, "deu")[0]}
    assert len(free) > 1


def test_rankings_of_another_model_or_other_neurons_are_refused(run, inputs, source, tmp_path):
    """By the path of the ranking, before anything is generated."""
    ranking = open_ranking(inputs / "rankings" / "decoder.zarr")
    strange = Ranking(LANGUAGES, ranking.ap, ranking.median, ranking.n_valid, ranking.neurons, {},
                      ranking.attributes | {"made_by": {"model": {"checkpoint": "other"}}})  # fmt: skip
    write_ranking(tmp_path / "strange.zarr", strange, {"task": "tr", "step": STEP})
    with pytest.raises(StoreError, match=r"strange\.zarr: model: expected a store made by"):
        run(ranking=tmp_path / "strange.zarr")
    fewer = made_ranking(LANGUAGES, ranking.neurons[:-1], source, np.random.default_rng(1))
    write_ranking(tmp_path / "fewer.zarr", fewer, {"task": "tr", "step": STEP})
    with pytest.raises(
        ValueError, match=r"text\.zarr: neurons: expected the \d+ that .*fewer\.zarr"
    ):
        run(ranking=tmp_path / "fewer.zarr")
    with pytest.raises(StoreError, match="task: expected 'tr', got 'asr'"):
        run(ranking=inputs / "rankings" / "speech.zarr")


def test_importing_the_stages_loads_no_torch():
    """What a job without anything to generate spares."""
    names = ["decoder", "encoder", "medians", "summary"]
    code = "import sys, " + ", ".join(f"steplens.studies.causal.{name}" for name in names)
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_best_neurons_are_those_of_selection():
    """Ties in order of columns, as everywhere (D6)."""
    ap = np.ones((3, len(NEURONS)))
    ranking = Ranking(LANGUAGES, ap, ap.astype(np.float32), np.full(3, 9), NEURONS)
    plan = trials(ranking, "deu", ap[0], [12], 1, 1)
    assert columns_of(plan[0].fixed) == top_k(ap[0], 12).tolist() == list(range(12))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"causal": {"step": 4}}, "causal.step: expected one of steps, 1, 6, 11, got 4"),
        ({"causal": {"ks": [50, 0]}}, "causal.ks: expected numbers of neurons from 1 on, got 0"),
        ({"causal": {"ks": [50, 50]}}, "causal.ks: expected each once, got 50 repeatedly"),
        ({"causal": {"ks": []}}, "causal.ks: .*at least 1"),
        ({"causal": {"n_random": 0}}, "causal.n_random: .*1.*got 0"),
        ({"studies": ["causal"]}, "studies: causal replaces the neurons that modality finds"),
    ],
)
def test_settings_that_cannot_be_run_are_refused_at_once(settings, message):
    """In one line that names the key."""
    with pytest.raises(ConfigError, match=message):
        parse_config(settings)


def test_settings_of_a_study_that_is_not_asked_for_are_not_held_against_a_run():
    """And numbers of neurons come in order."""
    assert parse_config({"studies": [], "causal": {"step": 4}}).causal.step == 4
    assert parse_config({"causal": {"ks": [200, 50]}}).causal.ks == [50, 200]
