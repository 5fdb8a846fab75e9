"""Processes that die, hang or are killed: noticed at once, named, and nothing else is lost."""

import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial

import dying
import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import ROOT
from speech_stage import CHECKS, GERMAN, files

from steplens.errors import WorkerDied, WorkerError
from steplens.files.atomic import write_parquet
from steplens.jobs import workers
from steplens.jobs.workers import Worker, each
from steplens.speech.engines import espeak
from steplens.speech.engines.apart import SpeakerApart
from steplens.speech.engines.engine import Request
from steplens.speech.speak import synthesize_corpus

# eSpeak NG 1.52 with the German voice writes beyond a buffer at these.
CRASHES = "Das Wort heißt auf Hindi: ---नमस्ते"


def told(start, questions, at_a_time=2, seconds=60.0):
    """Answers to questions, or how their workers ended, in words."""
    found = each(start, questions, at_a_time, seconds, "speaker")
    return [str(one) if isinstance(one, WorkerDied) else one[0] for one in found]


def gone(pid):
    """Whether a process has ended, within a second or two."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


DEATHS = {
    "crash": "died of signal 11 (SIGSEGV)",
    "kill": "died of signal 9 (SIGKILL)",
    "leave": "ended by itself with status 3",
}


@pytest.mark.parametrize("at_a_time", [1, 3])
@pytest.mark.parametrize("place", [0, 2, 4], ids=["first", "middle", "last"])
@pytest.mark.parametrize(("how", "words"), DEATHS.items(), ids=DEATHS)
def test_a_death_is_told_in_its_place_and_the_others_are_answered(how, words, place, at_a_time):
    questions = ["a", "b", "c", "d", "e"]
    questions[place] = how
    expected = [words if one == how else one for one in questions]
    assert told(dying.start, questions, at_a_time) == expected


@pytest.mark.parametrize("how", ["hang", "half an answer"])
def test_what_hangs_is_killed_at_the_limit(how):
    """Also where it stopped within an answer."""
    found = told(dying.start, ["a", how, "b"], seconds=2.0)
    assert found == ["a", "gave nothing within 2 s, and was killed", "b"]


def test_time_between_two_answers_is_not_the_workers():
    """A slow consumer, or Ctrl-Z, makes nobody late."""
    answers = each(dying.start, ["a", "b", "c"], 2, 1.0)
    for _ in range(3):
        assert not isinstance(next(answers), WorkerDied)
        time.sleep(1.5)


def test_every_question_dying_is_answered_while_they_are_few():
    assert told(dying.start, ["crash"] * 9) == [DEATHS["crash"]] * 9


def test_deaths_in_succession_are_no_accidents():
    """Rather than thousands of faults, each after its limit of time; an answer between them counts."""
    with pytest.raises(WorkerError, match=r"lost at 10 questions .*signal 9 \(SIGKILL\).*mem_mb"):
        told(dying.start, ["a", *["kill"] * 30])
    assert len(told(dying.start, [*["kill"] * 9, "a"] * 2)) == 20


def test_a_worker_that_dies_as_it_starts_is_started_anew(tmp_path):
    """No question is blamed for it."""
    for fresh_start in (1, 2):
        start = partial(dying.start, tmp_path / str(fresh_start), fresh_start)
        assert told(start, ["a", "b"]) == ["a", "b"]


def test_workers_that_die_whenever_they_start_are_an_error(tmp_path):
    start = partial(dying.start, tmp_path / "starts", 1_000)
    with pytest.raises(WorkerError, match=r"died of signal 9 .* as it started, 3 times"):
        told(start, ["a", "b"], 1)
    assert (tmp_path / "starts").stat().st_size == 3


def test_an_error_is_raised_with_its_trace():
    with pytest.raises(KeyError, match="broken on purpose") as caught:
        told(dying.start, ["a", "raise", "b"])
    assert "dying.py" in caught.value.__notes__[0]


@pytest.mark.parametrize("fresh", [False, True], ids=["fork", "fresh"])
def test_a_worker_answers_again_and_again(fresh):
    worker, description = Worker(dying.start, fresh=fresh).started(60)
    assert description == "ready"
    for question in ("a", "b" * 1_000_000):  # more than a pipe holds
        worker.ask(question, 60)
        ((answer, pid),) = worker.answers(60)
        assert answer == question
        assert pid == worker._pid != os.getpid()
    worker.ask("crash", 60)
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        list(worker.answers(60))
    worker.close()
    assert gone(pid)


def children():
    """Process ids of the children of this process."""
    return {child.pid for child in psutil.Process().children()}


def test_closing_early_leaves_no_process():
    before = children()  # of other tests: the helper processes of joblib and torch stay
    answers = each(dying.start, ["a", "hang", "hang", "hang"], 3, 60.0)
    _, pid = next(answers)
    started = children() - before
    assert len(started) >= 2
    answers.close()
    assert gone(pid)
    assert not [one for one in started if not gone(one)]


JOB = """
import sys, time
sys.path[:0] = [{package!r}, {tests!r}]
import dying
from steplens.jobs.workers import Worker, each
worker, _ = Worker(dying.start, fresh=True).started(120)
worker.ask("hang", 60)
fork, _ = Worker(dying.start, ["hang"]).started(60)
print(worker._pid, fork._pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_killed_leaves_no_orphans(signal_number):
    code = JOB.format(package=str(ROOT / "workflow"), tests=str(ROOT / "tests" / "support"))
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pids = [int(one) for one in job.stdout.readline().split()]
    assert len(pids) == 2
    job.send_signal(signal_number)
    job.communicate(timeout=30)
    assert all(map(gone, pids))


def test_log_records_of_a_worker_reach_the_log(caplog):
    worker, _ = Worker(partial(_logs_as_it_starts, "seen"), fresh=True).started(60)
    worker.close()
    assert "seen" in caplog.text


def _logs_as_it_starts(words):
    logging.getLogger("steplens.elsewhere").warning("%s", words)
    return dying.start()


# eSpeak NG


def stage(folder, texts):
    corpus = pd.DataFrame({"utterance": range(len(texts)), "raw_transcription": texts})
    write_parquet(corpus.assign(text="x", recordings="[]"), folder / "corpus.parquet")
    output = folder / "speech" / "deu.parquet"
    settings = {"words_per_minute": 200}
    checks = CHECKS | {"max_attempts": 1}
    synthesize_corpus(
        folder / "corpus.parquet", GERMAN, "espeak", settings, checks, {}, 1, 1, output
    )
    return pd.read_parquet(output)


TEXTS = ["Heute kauft der Koch Brot.", "Es regnet im Garten.", "Guten Tag, Herr Müller."]


@pytest.mark.parametrize("places", [[1], [3], [0, 1], [0, 1, 2, 3]], ids=str)
def test_a_text_that_crashes_espeak_is_unusable_and_the_others_are_spoken(tmp_path, places):
    """In the middle, at the end, and all; the others' audio is that of a corpus without it."""
    stage(tmp_path / "undisturbed", [*TEXTS, TEXTS[0]])
    texts = [CRASHES if n in places else one for n, one in enumerate([*TEXTS, TEXTS[0]])]
    table = stage(tmp_path / "crashing", texts)
    assert set(np.flatnonzero(table["unusable"])) == set(places)
    fault = "the speaker died of signal 11 (SIGSEGV)"
    assert set(table["problem"][places]) <= {fault, fault.replace("11 (SIGSEGV)", "6 (SIGABRT)")}
    for n in set(range(4)) - set(places):
        audio = [tmp_path / run / "speech/deu" / f"{n}.wav" for run in ("undisturbed", "crashing")]
        assert audio[0].read_bytes() == audio[1].read_bytes()
    first = files(tmp_path / "crashing" / "speech")
    (tmp_path / "crashing/speech/deu.parquet").unlink()
    stage(tmp_path / "crashing", texts)
    assert files(tmp_path / "crashing" / "speech") == first


def test_a_speaker_killed_from_outside_is_named(tmp_path, monkeypatch):
    """As the kernel does for want of memory; the next run makes what is missing, to the byte."""
    undisturbed = stage(tmp_path / "undisturbed", TEXTS)
    fork, killed = workers._fork, []

    def fork_and_kill(*arguments):
        pid = fork(*arguments)
        killed.append(pid)
        if len(killed) == 2:
            os.kill(pid, signal.SIGSTOP)  # so that it cannot have answered before
            monkeypatch.setattr(workers, "_fork", fork)
            os.kill(pid, signal.SIGKILL)
        return pid

    monkeypatch.setattr(workers, "_fork", fork_and_kill)
    table = stage(tmp_path / "killed", TEXTS)
    # Killed before it had the sentence or after: another speaks it, or it has the fault.
    assert set(table["problem"]) <= {"", "the speaker died of signal 9 (SIGKILL)"}
    (tmp_path / "killed/speech/deu.parquet").unlink()
    assert stage(tmp_path / "killed", TEXTS).equals(undisturbed)
    assert files(tmp_path / "killed/speech") == files(tmp_path / "undisturbed/speech")


def test_a_speaker_that_hangs_has_a_limit_of_time(tmp_path, monkeypatch):
    """A text of an hour, for which so little time is given that it cannot be enough."""
    monkeypatch.setattr(espeak, "_SECONDS", 0.3)
    hour = "Heute kauft der alte Lehrer im Dorf einen roten Apfel. " * 2000
    table = stage(tmp_path, [TEXTS[0], hour, TEXTS[1]])
    assert table["problem"].tolist() == [
        "", "the speaker gave nothing within 0.3 s, and was killed", "",
    ]  # fmt: skip


# Engines that hold a model


def speaker(folder, seconds=60.0):
    return SpeakerApart(partial(dying.start_speaker, str(folder)), seconds)


def spoken(engine, *texts):
    """First sample, which tells the batch and the utterance, or the fault, of each."""
    takes = engine.speak([Request(n, text, 0) for n, text in enumerate(texts)])
    return [take.fault or round(float(take.wave[0]), 1) for take in takes]


def test_a_batch_is_spoken_again_whole_after_a_kill(tmp_path):
    """So that samples are those of an undisturbed synthesis."""
    engine = speaker(tmp_path)
    pid = engine._worker._pid
    assert spoken(engine, "a", "b", "c") == [3.0, 3.1, 3.2]
    os.kill(pid, signal.SIGKILL)
    assert spoken(engine, "a", "b", "c") == [3.0, 3.1, 3.2]
    assert spoken(engine, "a", "kill 1", "c") == [3.0, 3.1, 3.2]
    engine.close()


def test_only_what_kills_a_speaker_again_has_a_fault(tmp_path):
    engine = speaker(tmp_path)
    died = "the speaker died of signal 11 (SIGSEGV)"
    assert spoken(engine, "a", "crash", "c", "d") == [4.0, died, 1.2, 1.3]
    assert spoken(engine, "a", "b") == [2.0, 2.1]
    engine.close()


def test_a_speaker_of_batches_has_a_limit_of_time(tmp_path):
    engine = speaker(tmp_path, seconds=1.0)
    late = "the speaker gave nothing within 1 s, and was killed"
    assert spoken(engine, "a", "hang", "c") == [3.0, late, 1.2]
    engine.close()


def test_an_engine_that_always_dies_is_an_error(tmp_path):
    engine = speaker(tmp_path)
    with pytest.raises(WorkerError, match="lost at 10 questions"):
        spoken(engine, *["kill"] * 12)
    engine.close()
