"""Large studies: memory does not grow with the number of neurons, and the jobs are those of the formula."""

import re
import tracemalloc

import pytest
from finished_demo import planned

from benchmarks.load import __main__ as load
from benchmarks.load.store import STAGES, Size, Taken, exceeding, write_stores
from benchmarks.load.study import CONFIG_FILE, write_project
from steplens.store.groups import NEURON_CHUNK

SMALL = Size(neurons=2 * NEURON_CHUNK, utterances=200, languages=3)
LARGE = Size(neurons=5 * NEURON_CHUNK, utterances=200, languages=3)
# A neuron may take so many bytes: its row of the table, AP, medians, and ranks of both modalities.
NEURON_BYTES = {"rank_s2t": 500, "compare": 900}
BLOCK_BYTES = 2 * NEURON_CHUNK * SMALL.utterances * SMALL.languages


def test_the_tool_measures_every_stage_and_fails_over_the_limit(tmp_path, capsys):
    """Each in a process of its own, whose memory no stage can have."""
    status = load.main(
        ["store", "--folder", str(tmp_path), "--neurons", "2000", "--utterances", "20",
         "--languages", "3", "--resamples", "2", "--limit", "0.001"]
    )  # fmt: skip
    printed = capsys.readouterr().out
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| \d+% \|$", printed, re.M)
    assert [name for name, *_ in rows] == list(STAGES)
    for name, seconds, processor_seconds, peak_gb in rows:
        assert float(seconds) > 0, name
        assert float(processor_seconds) > 0, name
        assert 0.05 < float(peak_gb) < 1.5, name
    assert status == 1
    for name in ("overlap_summary", "sensitivity", "stability", "null_ratio"):
        assert (tmp_path / "tables" / f"{name}.csv").exists()


def test_only_what_is_over_the_limit_fails():
    taken = [Taken("rank_s2t", 1, 1, 6_000_000_000), Taken("compare", 1, 1, 6_000_000_001)]
    assert exceeding(taken, 6) == ["compare"]
    assert exceeding(taken, 7) == []


@pytest.fixture(scope="module")
def peaks(tmp_path_factory) -> dict[str, list[int]]:
    """The most memory that a stage held of Python's and NumPy's, for few and for many neurons."""
    folder = tmp_path_factory.mktemp("load")
    options = {"threads": 1, "resamples": 1}
    found: dict[str, list[int]] = {name: [] for name in NEURON_BYTES}
    for size in (SMALL, LARGE):
        write_stores(folder, size)
        for name in STAGES:  # libraries are loaded, and rankings made, before memory is counted
            if name == "rank_t2t" or (size is SMALL and name in found):
                STAGES[name](folder, size, **options)
        for name, peak in found.items():
            tracemalloc.start()
            STAGES[name](folder, size, **options)
            peak.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    return found


@pytest.mark.parametrize("stage", list(NEURON_BYTES))
def test_the_blocks_in_memory_do_not_grow_with_the_neurons(peaks, stage):
    """Three blocks more may not be held: one is slack, and a neuron's own bytes come on top."""
    small, large = peaks[stage]
    allowed = NEURON_BYTES[stage] * (LARGE.neurons - SMALL.neurons)
    assert large - small < allowed + BLOCK_BYTES
    assert large > BLOCK_BYTES, "nothing was read: no test"


def test_thirty_languages_and_eight_steps_are_planned(tmp_path):
    """Every language and step has its jobs, and nothing has a job for each pair of languages."""
    languages, steps, tasks = 30, 8, 4
    write_project(tmp_path, languages, steps, n_utterances=4, n_steered=1)
    per_language = {
        "corpus": 1, "speech_espeak": 1, "encode_speech": 1, "encode_text": 1, "decode": tasks,
        "capture": tasks * steps, "steer": 2,
    }  # fmt: skip
    per_step = {"rank_decoder": tasks, "compare_step": 1, "reliability": 1, "learning_curve": 1}
    once = {
        "rank_encoder": 2, "gather_comparison": 8, "figure": 10,
        **dict.fromkeys(
            ("speech_quality", "locate", "count_valid", "count_ties", "summarize_steering", "tables",
             "table5", "recognition", "report"), 1,
        ),
    }  # fmt: skip
    expected = {rule: n * languages for rule, n in per_language.items()}
    expected |= {rule: n * steps for rule, n in per_step.items()} | once
    assert planned(tmp_path, "--configfile", str(tmp_path / CONFIG_FILE)) == expected
