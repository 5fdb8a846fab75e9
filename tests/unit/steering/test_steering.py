"""Stage steer on a small model: all steps in one job, and what of it is done again when.

Outputs are compared with those of one sentence at a time, one plain hook a neuron, by transformers.
"""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import made_by
from slow_generation import one_thread, slow_intervention, transformers_generate  # noqa: F401

from steplens.errors import StoreError
from steplens.files.atomic import write_parquet
from steplens.generation.decode import Decoder
from steplens.languages.repetition import longest_repeat
from steplens.models.neurons import neuron_table
from steplens.models.provenance import provenance
from steplens.ranking.table import Ranking, open_ranking, write_ranking
from steplens.recording.encode import encode
from steplens.steering import steer as steering
from steplens.steering.kept_outputs import SteeredOutputs, n_generated
from steplens.steering.steer import steer, trials
from steplens.store.reading import open_store, read_states

LANGUAGES = ["deu", "spa", "jpn"]
MOST = 7
STEPS = (1, 6)
TEXTS = ["der koch", "jeden tag im sommer", "im winter", "das neue buch"]


@pytest.fixture(scope="module")
def inputs(source, tmp_path_factory):
    """An encoder store of four sentences, and random rankings of three steps."""
    folder = tmp_path_factory.mktemp("inputs")
    corpus = {"utterance": [41, 42, 43, 44], "raw_transcription": TEXTS, "text": TEXTS}
    write_parquet(pd.DataFrame(corpus | {"split": "test"}), folder / "corpus.parquet")
    encode(
        source, "text", "deu", folder / "corpus.parquet", folder / "none.parquet",
        folder / "deu.zarr", "float32", batch_size=4, made_by=made_by(source),
    )  # fmt: skip
    neurons = neuron_table(Decoder(source, MOST).model.config, "decoder")
    generator = np.random.default_rng(1)
    shape = (len(LANGUAGES), len(neurons))
    for step in (1, 6, 11):
        median = 2 * generator.normal(size=shape).astype(np.float32)
        ranking = Ranking(
            LANGUAGES, generator.random(shape), median, np.full(len(LANGUAGES), 9), neurons, {},
            provenance(source, made_by(source), {}),
        )  # fmt: skip
        condition = {"module": "decoder", "task": "asr", "step": step}
        write_ranking(folder / f"step-{step:02d}.zarr", ranking, condition)
    return folder


@pytest.fixture
def run(inputs, source, tmp_path):
    """Runs the stage into a folder; returns the bytes of its tables."""

    def call(steps=STEPS, folder=tmp_path, code="a", **changes):
        options = {
            "k": 20, "n_utterances": 4, "n_random": 1, "seed": 1, "max_new_tokens": MOST,
            "batch_size": 10, "made_by": made_by(source, code),
        } | changes  # fmt: skip
        outputs = {step: folder / f"step-{step:02d}.parquet" for step in steps}
        rankings = {step: inputs / f"step-{step:02d}.zarr" for step in steps}
        steer(source, "tr", "deu", rankings, inputs / "deu.zarr", outputs, **options)
        return {step: path.read_bytes() for step, path in outputs.items()}

    return call


def test_every_output_is_that_of_its_sentence_alone(run, source, inputs, tmp_path):
    """Two steps, two targets, three conditions each, four sentences, in batches of ten."""
    run()
    decoder = Decoder(source, MOST)
    states = read_states(open_store(inputs / "deu.zarr"))
    n_different = set()
    for step in STEPS:
        table = pd.read_parquet(tmp_path / f"step-{step:02d}.parquet")
        assert (table[["source", "task", "step"]] == ["deu", "tr", step]).all(axis=None)
        planned = trials(open_ranking(inputs / f"step-{step:02d}.zarr"), "deu", 20, 1, 1)
        rows = iter(table.itertuples())
        for trial in planned:
            for utterance, own in zip((41, 42, 43, 44), states, strict=True):
                row = next(rows)
                key = row.target, row.control, row.seed, row.neurons_of, row.utterance
                assert key == (trial.target, trial.control, trial.seed, trial.neurons_of, utterance)
                with slow_intervention(decoder, [(slice(0, 1), trial.fixed)]):
                    tokens, ended = transformers_generate(
                        decoder, *decoder.to_device([own]), "deu", MOST
                    )
                expected = len(tokens[0]), ended[0], longest_repeat(tokens[0])
                assert (row.n_tokens, row.ended, row.longest_repeat) == expected
                assert row.text == decoder.text(tokens[0])
                n_different.add(row.text)
        assert next(rows, None) is None
    assert len(n_different) > 5  # else the test shows little


def test_a_step_more_generates_that_step_alone(run, generated, tmp_path):
    """The tables of the others are the same to the byte; a step less generates nothing."""
    before = run()
    assert generated == [10, 10, 10, 10, 8]
    generated.clear()
    after = run((1, 6, 11))
    assert sum(generated) == 24
    assert {step: after[step] for step in STEPS} == before
    assert n_generated(tmp_path / ".parts") == 24
    generated.clear()
    assert run((6,)) == {6: before[6]}
    assert run((1, 6, 11)) == after
    assert generated == []
    assert n_generated(tmp_path / ".parts") == 0


def test_a_pair_more_generates_its_outputs_alone(run, generated, tmp_path):
    """Two steps, one target, three conditions, four sentences; another target's rows stay as they are."""
    whole = run(folder=tmp_path / "whole")
    generated.clear()
    run(targets=["jpn"])
    assert sum(generated) == 2 * 3 * 4
    one = pd.read_parquet(tmp_path / "step-06.parquet")
    assert set(one["target"]) == {"jpn"}
    assert set(one.query("control == 'other_language'")["neurons_of"]) == {"spa"}
    generated.clear()
    assert run(targets=["jpn", "spa"]) == whole
    assert sum(generated) == 2 * 3 * 4
    both = pd.read_parquet(tmp_path / "step-06.parquet").query("target == 'jpn'")
    pd.testing.assert_frame_equal(both.reset_index(drop=True), one)
    generated.clear()
    run(targets=["jpn"])
    assert generated == []


def test_what_is_new_in_a_step_is_generated_alone(run, generated):
    """Another random control, or fewer sentences; with another k all but nothing is the same."""
    run()
    generated.clear()
    run(n_random=2)
    assert sum(generated) == 2 * 2 * 4
    generated.clear()
    run(n_utterances=3)
    assert generated == []
    run(k=21)
    assert sum(generated) == 48


def test_with_nothing_to_generate_no_model_is_loaded(run, monkeypatch):
    """A job that only writes tables takes no GPU."""
    before = run()

    def refuse(*_args):
        raise AssertionError("loaded")

    monkeypatch.setattr(Decoder, "__init__", refuse)
    assert run() == before


@pytest.mark.parametrize("change", [{"code": "b"}, {"max_new_tokens": 6}])
def test_outputs_of_another_code_or_limit_are_removed(run, generated, tmp_path, change):
    """And all are generated anew."""
    run()
    generated.clear()
    run(**change)
    assert sum(generated) == 48
    assert len([one for one in (tmp_path / ".parts").iterdir() if one.is_dir()]) == 1


def test_an_interrupted_job_goes_on_where_it_was(run, generated, monkeypatch, tmp_path):
    """Finished batches are not generated again, and the tables are those of a job without a stop."""
    whole = run(folder=tmp_path / "whole")
    generated.clear()
    greedy = Decoder.greedy

    def stopped(self, *inputs):
        if len(generated) == 3:
            raise KeyboardInterrupt
        return greedy(self, *inputs)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "greedy", stopped)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not list(tmp_path.glob("*.parquet"))
    generated.clear()
    assert run() == whole
    assert sum(generated) == 18


def test_a_damaged_part_is_generated_again(run, generated, tmp_path, caplog):
    """As is what an interrupted write left; the job says so."""
    before = run()
    generated.clear()
    part = next((tmp_path / ".parts").glob("*/part-*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    (part.parent / ".partial-1-part-000009.parquet").write_bytes(b"")
    assert run() == before
    assert sum(generated) == 48
    assert caplog.text.count("its outputs are generated again") == 2
    assert len(list(part.parent.iterdir())) == 1


def test_a_batch_that_does_not_fit_is_halved(run, monkeypatch, tmp_path):
    """With the same tables, whatever the batch."""
    before = run(folder=tmp_path / "before")
    greedy = Decoder.greedy

    def full(self, states, *rest):
        if len(states) > 5:
            raise torch.OutOfMemoryError("no room")
        return greedy(self, states, *rest)

    monkeypatch.setattr(Decoder, "greedy", full)
    assert run() == before


def test_parts_become_one(tmp_path):
    """Each output once, and of two the later."""
    rows = [
        {"fixed": "f", "utterance": n, "n_tokens": n, "ended": True, "longest_repeat": 0, "text": str(n)}
        for n in range(3)
    ]  # fmt: skip
    known = SteeredOutputs(tmp_path, {"code": "a"})
    known.add(rows[:2])
    known.add(rows[1:])
    again = SteeredOutputs(tmp_path, {"code": "a"})
    assert [again["f", n] for n in range(3)] == rows
    again.close()
    assert len(list(tmp_path.glob("*/*.parquet"))) == 1
    assert ("f", 2) in SteeredOutputs(tmp_path, {"code": "a"})
    assert ("f", 2) not in SteeredOutputs(tmp_path, {"code": "b"})


def test_importing_the_stage_loads_no_torch():
    """What a job without anything to generate spares."""
    import subprocess
    import sys

    code = "import sys, steplens.steering.steer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "torch" not in vars(steering)


def test_neurons_of_another_model_are_not_looked_for(run, inputs, source, tmp_path):
    """A ranking of a checkpoint with as many neurons, or with others, is refused by its path."""
    ranking = open_ranking(inputs / "step-06.zarr")
    told = provenance(source, {"model": {"checkpoint": "other"}, "code": "a"}, {})
    strange = dataclasses.replace(ranking, attributes=told)
    condition = {"module": "decoder", "task": "asr", "step": 6}
    write_ranking(tmp_path / "step-06.zarr", strange, condition)
    kept = inputs / "step-06.zarr"
    kept.rename(tmp_path / "kept")
    (tmp_path / "step-06.zarr").rename(kept)
    try:
        with pytest.raises(StoreError, match=r"step-06\.zarr: model: expected a store made by"):
            run()
    finally:
        shutil.rmtree(kept)
        (tmp_path / "kept").rename(kept)
