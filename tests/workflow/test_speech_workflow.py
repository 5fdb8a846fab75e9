"""Speech through Snakemake itself: XTTS with its gate and resynthesis, and recorded against synthetic."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from small_xtts import write_small_xtts

from steplens.corpus.sentences import choose_sentences
from steplens.files.audio import write_wav
from steplens.files.records import read_record
from steplens.languages.table import load_languages
from steplens.speech.engines.espeak import synthesize

LANGUAGES = ("deu", "cmn")
N_UTTERANCES = 6
N_SPOKEN = 2  # by XTTS: seconds each, even a small one
XTTS_RUN = ("run=xtts", "speech={engine: xtts}", f"corpus={{n_utterances: {N_SPOKEN}}}")
FLEURS = ROOT / "resources" / "demo" / "fleurs"


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "-s", str(ROOT / "Snakefile"), "--directory",
         str(folder), "--cores", "2", "--workflow-profile", str(ROOT / "profiles" / "default")],
        capture_output=True, text=True, cwd=folder, check=False, env=environment,
    )  # fmt: skip


def write_recordings(mirror: Path, code: str) -> None:
    """An archive as FLEURS publishes it, of the sentences that will be chosen: another pace."""
    language = load_languages()[code]
    chosen = choose_sentences(FLEURS, language, ["test"], N_UTTERANCES, 1, [])
    folder = mirror / "data" / language.fleurs
    folder.mkdir(parents=True)
    waves = list(synthesize(chosen["raw_transcription"], language.espeak, 200))
    n_samples = {name: len(wave) for name, wave in zip(chosen["file"], waves, strict=True)}
    lines = []
    for line in (FLEURS / "data" / language.fleurs / "test.tsv").read_text("utf-8").splitlines():
        fields = line.split("\t")
        fields[5] = str(n_samples.get(fields[1], fields[5]))
        lines.append("\t".join(fields) + "\n")
    (folder / "test.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "audio").mkdir()
    with tarfile.open(folder / "audio" / "test.tar.gz", "w:gz") as archive:
        for name, wave in zip(chosen["file"], waves, strict=True):
            write_wav(mirror / name, wave)
            archive.add(mirror / name, f"test/{name}")
            (mirror / name).unlink()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with the demo's model, a mirror of FLEURS with recordings, and a small XTTS."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("config", "resources"):
        (folder / name).symlink_to(ROOT / name)
    for code in LANGUAGES:
        write_recordings(folder / "mirror", code)
    english = folder / "mirror" / "data" / "en_us"
    english.mkdir()
    shutil.copy(FLEURS / "data" / "en_us" / "test.tsv", english)
    write_small_xtts(folder / "xtts")
    settings = {
        "run": "speech",
        "languages": list(LANGUAGES),
        "steps": [1],
        "corpus": {"path": str(folder / "mirror"), "n_utterances": N_UTTERANCES},
        "comparison": {"k": 50, "resamples": 20},
        "steering": {"n_utterances": 2},
        "speech": {
            "xtts": {
                "path": str(folder / "xtts"),
                "revision": None,
                "accept_cpml": True,
                "device": "cpu",
            },
            # What is checked of the audio itself has tests of its own: noise would fail.
            "checks": {
                "min_seconds_per_character": 0.0,
                "max_seconds_per_character": 9.0,
                "max_silent_share": 1.0,
                "max_clipped_share": 1.0,
            },
        },
    }
    (folder / "speech.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def spoken_by_xtts(project):
    """The quality of what XTTS spoke, after asr: with random weights, noise."""
    result = snakemake(
        project, "results/xtts/tables/speech_quality.csv", "--configfile", "speech.yaml",
        "--config", *XTTS_RUN,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    return pd.read_csv(project / "results" / "xtts" / "tables" / "speech_quality.csv")


def test_what_asr_cannot_recognise_is_flagged_and_left_out(spoken_by_xtts):
    """Noise has an error rate near one."""
    assert spoken_by_xtts["engine"].unique().tolist() == ["xtts"]
    assert len(spoken_by_xtts) == len(LANGUAGES) * N_SPOKEN
    misheard = spoken_by_xtts[spoken_by_xtts["cer"] > 0.5]
    assert len(misheard) > N_SPOKEN
    assert misheard["flagged"].all()
    assert misheard["left_out"].all()
    assert misheard["reason"].str.contains("CER").all()


def test_resynthesise_speaks_flagged_utterances_again_and_no_others(project, spoken_by_xtts):
    """With another attempt's seed; the audio of the others stays as it is."""
    options = ("--configfile", "speech.yaml", "--config", *XTTS_RUN)
    asked = snakemake(project, "resynthesise", *options)
    assert asked.returncode == 0, asked.stderr[-4000:]
    path = project / "results" / "xtts" / "speech" / "deu" / "first_attempts.json"
    flagged = spoken_by_xtts[spoken_by_xtts["flagged"]]
    german = flagged[flagged["language"] == "deu"].set_index("utterance")["attempt"]
    assert read_record(path) == {
        "language": "deu",
        "engine": "xtts",
        "attempts": {str(one): n + 1 for one, n in german.sort_index().items()},
    }

    table = project / "results" / "xtts" / "speech" / "deu.parquet"
    before = pd.read_parquet(table).set_index("utterance")
    result = snakemake(project, str(table.relative_to(project)), *options)
    assert result.returncode == 0, result.stderr[-4000:]
    after = pd.read_parquet(table).set_index("utterance")
    for utterance in after.index:
        changed = after["seed"][utterance] != before["seed"][utterance]
        assert changed == (utterance in german.index)
    assert (after["attempt"] - before["attempt"])[german.index].eq(1).all()


def test_the_licence_is_asked_for_before_any_job(project):
    """And not by a dry run."""
    options = (
        "results/unlicensed/speech/deu.parquet", "--configfile", "speech.yaml", "--config",
        "run=unlicensed", "speech={engine: xtts, xtts: {accept_cpml: false}}",
    )  # fmt: skip
    result = snakemake(project, *options)
    assert result.returncode != 0
    assert "Coqui Public Model License" in result.stderr + result.stdout
    assert not (project / "results" / "unlicensed" / "corpus" / "deu.parquet").exists()
    assert snakemake(project, "--dry-run", *options).returncode == 0


def test_a_language_that_the_engine_does_not_speak_is_refused_or_falls_back(project):
    """Swedish: not with XTTS; with a fallback, by that engine's rule. A dry run of the paper's config."""
    options = ("--configfile", "config/paper.yaml", "--dry-run", "--quiet", "rules", "--config",
               "languages=[deu,swe]")  # fmt: skip
    refused = snakemake(project, *options)
    assert refused.returncode != 0
    assert re.search(
        r"xtts cannot speak Swedish \(swe\); it is spoken by recorded, espeak",
        refused.stderr + refused.stdout,
    )
    mixed = snakemake(project, *options, "speech={fallback: [espeak]}")
    assert mixed.returncode == 0, mixed.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", mixed.stdout + mixed.stderr, flags=re.M))
    assert jobs["speech_xtts"] == jobs["speech_espeak"] == "1"
    assert jobs["capture"] == str(4 * 2 * 3)
    assert "fetch_recordings" not in jobs


@pytest.fixture(scope="module")
def compared(project):
    """espeak against recordings, at one step."""
    result = snakemake(
        project, "compare_speech", "--configfile", "speech.yaml",
        "--config", "speech={engine: espeak, other_engine: recorded}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    return project / "results" / "speech"


def test_compare_speech_sets_natural_beside_synthetic(compared):
    """In the encoder and at each step of s2t and asr, with text as the third."""
    table = pd.read_csv(compared / "comparison" / "speech_sources.csv", keep_default_na=False)
    pairs = {("espeak", "recorded"), ("espeak", "text"), ("recorded", "text")}
    for task in ("s2t", "asr"):
        part = table[table["task"] == task]
        assert set(zip(part["one"], part["other"], strict=True)) == pairs
    encoder = table[table["module"] == "speech_encoder"]
    assert list(zip(encoder["one"], encoder["other"], strict=True)) == [("espeak", "recorded")]
    assert table["shared"].between(0, 1).all()
    assert (table["shared_low"] <= table["shared"]).all()
    assert (compared / "figures" / "figure10.svg").is_file()


def test_the_other_voice_is_the_recordings_and_shares_what_sets_say(compared):
    """Audio, rankings and overlap, each by a second way."""
    import soundfile

    from steplens.ranking.table import open_ranking

    table = pd.read_parquet(compared / "other_speech" / "speech" / "deu.parquet")
    assert table["engine"].unique().tolist() == ["recorded"]
    language = load_languages()["deu"]
    mirror = compared.parents[1] / "mirror"
    with tarfile.open(mirror / "data" / language.fleurs / "audio" / "test.tar.gz") as archive:
        row = table.iloc[2]
        original, _ = soundfile.read(archive.extractfile(row["origin"]))
    kept, _ = soundfile.read(compared / "other_speech" / "speech" / row["path"])
    np.testing.assert_allclose(kept, original, atol=2 / 32768)

    tops = []
    for folder in (compared, compared / "other_speech"):
        ap = open_ranking(folder / "ranking" / "decoder" / "asr" / "step-01.zarr").ap
        tops.append([set(np.argsort(-row, kind="stable")[:50].tolist()) for row in ap])
    overlap = [[len(one & other) for other in tops[1]] for one in tops[0]]
    expected = pd.read_csv(compared / "comparison" / "speech_sources_overlap.csv")
    part = expected[
        (expected["task"] == "asr")
        & (expected["one"] == "espeak")
        & (expected["other"] == "recorded")
    ]
    assert part["overlap"].tolist() == [n for line in overlap for n in line]


def test_verify_looks_into_the_other_voice_too(project, compared):
    """One byte of one chunk of a store, and one recording that is lost."""
    options = ("verify", "--configfile", "speech.yaml",
               "--config", "speech={engine: espeak, other_engine: recorded}")  # fmt: skip
    whole = snakemake(project, *options)
    said = whole.stdout + whole.stderr
    assert whole.returncode == 0, said
    assert " 0 problems" in said
    # Corpora once; of both voices audio, encoder, two tasks' texts and stores, and rankings.
    n = len(LANGUAGES)
    checked = int(re.search(r"(\d+) stores, rankings, tables and other files checked", said)[1])
    assert checked >= n + 2 * (n * (1 + 1 + 2 + 2) + 1 + 2)

    other = compared / "other_speech"
    store = other / "decoder" / "s2t" / "cmn" / "step-01.zarr"
    chunk = next((store / "activation").glob("c.*"))
    wave = other / "speech" / pd.read_parquet(other / "speech" / "deu.parquet")["path"][0]
    kept = {path: path.read_bytes() for path in (chunk, wave)}
    try:
        chunk.write_bytes(kept[chunk][:40] + bytes([kept[chunk][40] ^ 1]) + kept[chunk][41:])
        wave.unlink()
        damaged = snakemake(project, *options)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    said = damaged.stdout + damaged.stderr
    assert damaged.returncode != 0
    assert "2 problems" in said
    assert re.search(
        r"other_speech/decoder/s2t/cmn/step-01\.zarr\S*: activation/c\.0\.0: damaged", said
    ), said
    assert re.search(rf"{re.escape(wave.name)}\S*: the audio is lost", said), said
