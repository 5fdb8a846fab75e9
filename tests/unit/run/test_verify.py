"""``snakemake verify`` on the finished demo: every file is claimed by one check, and every flip is found."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import LANGUAGES, ROOT
from finished_demo import finished_demo, link

from steplens.files.atomic import read_parquet
from steplens.files.table_metadata import metadata_path
from steplens.run.layout import KINDS, NO_RESULT, REST, described_by, entries, place_of
from steplens.run.verify import (
    Leftover,
    Note,
    Part,
    Verification,
    _checked,
    print_verification,
    verify,
)
from steplens.speech.takes import Journal, first_attempts
from steplens.store.groups import read_root
from steplens.tasks import TASKS

DEMO = ROOT / "results" / "demo"
SEED = 17
# One store of each kind of which every file is flipped; of the others a file each.
STORES = (
    "encoder/speech/deu.zarr", "encoder/text/jpn.zarr", "decoder/asr/fra/step-06.zarr",
    "ranking/speech_encoder.zarr", "ranking/decoder/t2t/step-11.zarr",
    "ranking/modality/asr/step-01/text.zarr", "causal/medians/text_encoder.zarr",
)  # fmt: skip


def demo_verification(results: Path) -> Verification:
    """As the demo's configuration has it; of models and code what the results themselves say."""
    made = {
        "encode_speech": "encoder/speech/deu.zarr", "encode_text": "encoder/text/deu.zarr",
        "capture": "decoder/asr/deu/step-01.zarr",
    }  # fmt: skip
    by = {name: read_root(DEMO / path)["attributes"]["made_by"] for name, path in made.items()}
    return Verification(
        results, list(LANGUAGES), list(TASKS), [1, 6, 11], by, "float16", 60
    )  # fmt: skip


def store_of(path: Path) -> Path:
    """The store or ranking that a file lies in, or the file."""
    return next((one for one in path.parents if one.suffix == ".zarr"), path)


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """The finished demo as hard links: a file is replaced before it is changed."""
    folder = tmp_path_factory.mktemp("verify") / "results" / "demo"
    shutil.copytree(DEMO, folder, copy_function=link)
    return folder


@pytest.fixture(scope="module")
def parts(copied) -> dict[Path, Part]:
    return {part.path: part for part in demo_verification(copied).parts()}


def part_of(parts: dict[Path, Part], results: Path, file: Path) -> Part:
    """The part whose check claims a file."""
    path = store_of(Path(described_by(str(file))))
    if path.suffix == ".wav":
        path = path.parent.with_suffix(".parquet")
    return parts[path]


def said_of(part: Part) -> list[str]:
    return _checked(Part(part.path, part.checks))


def flipped(path: Path, generator: random.Random) -> bytes:
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    return bytes(content)


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def same_json(one: bytes, other: bytes) -> bool:
    """Whether two files hold the same JSON, line by line: such a flip changes nothing."""
    try:
        parsed = [[json.loads(line) for line in each.split(b"\n") if line] for each in (one, other)]
    except ValueError:
        try:
            parsed = [json.loads(each) for each in (one, other)]
        except ValueError:
            return False
    return parsed[0] == parsed[1]


def same_content(path: Path, before: bytes, after: bytes) -> bool:
    """Whether a flip changed nothing: of JSON, or of a table whose values and attributes are the same."""
    if path.suffix != ".parquet":
        return same_json(before, after)
    frames = []
    for content in (before, after):
        replace(path, content)
        frames.append(read_parquet(path))
    pd.testing.assert_frame_equal(*frames)
    return frames[0].attrs == frames[1].attrs


def files_to_flip(results: Path) -> list[Path]:
    generator = random.Random(SEED)
    stores: dict[Path, list[Path]] = {}
    found = []
    for path in sorted(one for one in results.rglob("*") if one.is_file()):
        store = store_of(path)
        if store == path:
            found.append(path)
        else:
            stores.setdefault(store, []).append(path)
    for store, files in stores.items():
        whole = store.relative_to(results).as_posix() in STORES
        found += files if whole else [generator.choice(files)]
    return found


@pytest.mark.demo
def test_every_flipped_bit_of_the_demo_is_found_or_changes_nothing(copied, parts):
    """Every table, figure, journal, metadata and audio file; of stores one of each kind, file by file.

    Nothing is computed from logs, benchmarks and the lock: their flips change no result. Of JSON a flip
    may leave the same content (an exponent's e or E); so may one of kept outputs, whose digest is over
    values and names (Parquet has bytes that no value comes from).
    """
    generator = random.Random(SEED)
    kinds, silent = set(), []
    for file in files_to_flip(copied):
        place = place_of(described_by(store_of(file).relative_to(copied).as_posix()))
        if place.what == NO_RESULT:
            continue
        kinds.add((place.what, file.suffix))
        before = file.read_bytes()
        after = flipped(file, generator)
        replace(file, after)
        if not said_of(part_of(parts, copied, file)) and not same_content(file, before, after):
            silent.append(file)
        replace(file, before)
    assert silent == []
    assert {what for what, _ in kinds} >= KINDS - {NO_RESULT, "first attempts"}
    assert {suffix for _, suffix in kinds} >= {
        ".csv", ".parquet", ".json", ".jsonl", ".wav", ".svg", ".png", ".html", ".0",
    }  # fmt: skip


@pytest.mark.demo
def test_every_file_of_the_demo_has_one_place(copied, parts):
    """And nothing of it is unknown, a rest or of another configuration."""
    for file in copied.rglob("*"):
        if file.is_file():
            within = described_by(store_of(file).relative_to(copied).as_posix())
            place = place_of(within)
            assert place is not None, within
            assert place.what != REST, within
            if place.what != NO_RESULT:
                assert part_of(parts, copied, file)
    assert all(part.can_be_made or place_of(
        part.path.relative_to(copied).as_posix()
    ).what in ("audio", "takes", "part") for part in parts.values())  # fmt: skip


def swap(one: Path, other: Path) -> None:
    """Put two files in each other's places."""
    contents = [one.read_bytes(), other.read_bytes()]
    replace(one, contents[1])
    replace(other, contents[0])


@pytest.mark.demo
@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (
            "steering/texts/asr/deu/step-06.parquet",
            "steering/texts/asr/deu/step-11.parquet",
            "step: expected 6, got 11",
        ),
        (
            "steering/texts/asr/deu/step-06.parquet",
            "steering/texts/tr/deu/step-06.parquet",
            "task: expected 'asr', got 'tr'",
        ),
        (
            "causal/texts/decoder/fra/s2t.parquet",
            "causal/texts/decoder/deu/s2t.parquet",
            "language: expected 'fra', got 'deu'",
        ),
        (
            "causal/texts/speech_encoder/fra/asr.parquet",
            "causal/texts/decoder/fra/asr.parquet",
            "module: expected 'speech_encoder', got 'decoder'",
        ),
        ("corpus/fra.parquet", "corpus/spa.parquet", "language: expected 'fra', got 'spa'"),
        ("speech/fra.parquet", "speech/spa.parquet", "language: expected 'fra', got 'spa'"),
        (
            "tie_sensitivity/texts/tr/fra.parquet",
            "tie_sensitivity/texts/tr/spa.parquet",
            "source: expected 'fra', got 'spa'",
        ),
        ("comparison/overlap.csv", "comparison/spearman.csv", "comparison/overlap.csv"),
        ("tables/table1.csv", "tables/table4.csv", "tables/table1.csv"),
        ("figures/figure2.svg", "figures/figure3.svg", "figures/figure2.svg"),
    ],
)
@pytest.mark.parametrize("with_metadata", [False, True])
def test_swapped_files_are_found(copied, parts, one, other, words, with_metadata):
    """Each is whole by itself; also where its metadata came along."""
    pairs = [(copied / one, copied / other)]
    if with_metadata:
        pairs.append(tuple(metadata_path(path) for path in pairs[0]))
    for pair in pairs:
        swap(*pair)
    said = [said_of(parts[path]) for path in pairs[0]]
    for pair in pairs:
        swap(*pair)
    assert any(words in text for text in said[0]), said[0]
    assert said[1]
    assert said_of(parts[copied / one]) == []


@pytest.mark.demo
def test_what_no_check_knows_is_named_and_leftovers_are_noted(tmp_path):
    """A step and a language that are no longer configured are no damage; a stray file is a problem."""
    results = tmp_path / "results" / "demo"
    for part in ("corpus", "decoding/asr", "decoder/asr/deu", "speech"):
        shutil.copytree(DEMO / part, results / part, copy_function=link)
    strange = [
        "notes.txt", "corpus/deu (copy).parquet", "decoding/asr/deu.csv",
        "decoder/asr/deu/step-01.zarr/activation/c.9.9", "speech/deu/left.wav",
    ]  # fmt: skip
    for name in strange:
        (results / name).write_bytes(b"x")
    rests = ["corpus/.partial-17-deu.parquet", "tables/gone.csv-metadata.json"]
    (results / "tables").mkdir()
    for name in [*rests, "tables/table1.csv-metadata.json"]:
        (results / name).write_bytes(b"x")
    whole = demo_verification(results)
    found = verify(whole, 2)
    named = [name for name in [*strange, rests[1]] if any(name in one for one in found.problems)]
    assert named == [*strange, rests[1]]
    assert not any(name in one for one in found.problems for name in rests[:1])
    assert sum("no check knows this file" in one for one in found.problems) == 5
    (store,) = found.wrong  # of what is strange only what lies in a store can be made again
    assert store.name == "step-01.zarr"
    assert {Path(one.split(": ")[0]).name for one in found.notes} == {
        ".partial-17-deu.parquet", "table1.csv-metadata.json",
    }  # fmt: skip
    for name in (*strange, *rests, "tables/table1.csv-metadata.json"):
        (results / name).unlink()
    fewer = Verification(
        results, ["deu", "fra"], list(TASKS), [1, 6], whole.made_by, "float16", 60
    )  # fmt: skip
    found = verify(fewer, 2)
    assert found.problems == []
    left = [one for one in found.notes if isinstance(one, Leftover)]
    assert len(left) == len(found.notes)
    assert any(one.endswith("step-11.zarr") for one in left)
    assert any(one.endswith("speech/jpn/takes.jsonl") for one in left)
    assert all(isinstance(one, Note) for one in found.notes)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("other_speech/encoder/speech/deu.zarr", "encoder"),
        ("other_speech/speech/deu/first_attempts.json", "first attempts"),
        ("other_speech/tables/speech_quality.csv", "table"),
        ("comparison/speech_sources.csv", "table"),
        ("comparison/speech_sources/asr/step-06/overlap.csv", "table"),
        ("comparison/speech_sources/speech_encoder/step-00/summary.csv", "table"),
        ("logs/other_speech/speech/deu.log", NO_RESULT),
        ("corpus/.partial-99-deu.parquet", REST),
        ("other_speech/corpus/deu.parquet", None),
        ("steering/deu.parquet", None),
        ("tables/table6.csv", None),
        ("decoder/asr/deu/step-6.zarr", None),
        ("speech/deu/takes.jsonl~", None),
    ],
)
def test_a_path_has_the_place_that_rules_give_it(path, what):
    place = place_of(path)
    assert (place and place.what) == what


def snakemake(*options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "verify", *options],
        cwd=ROOT, env=os.environ | {"COLUMNS": "200"}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.demo
def test_the_finished_demo_has_no_problem_and_nothing_strange():
    status, said = snakemake()
    assert status == 0, said[-3000:]
    assert " checked, 0 problems, 0 not there yet" in said
    assert "note: " not in said


@pytest.mark.demo
def test_results_under_other_settings_are_named():
    """As after a run that heeded file times alone."""
    status, said = snakemake("--config", "steering={k: 60}")
    assert status != 0
    assert "results/demo/steering/texts/asr/deu/step-06.parquet: k: expected 60, got " in said
    assert "results/demo/corpus/deu.parquet" not in said


def away(path: Path, folder: Path) -> None:
    """Move a folder elsewhere, and link it back."""
    shutil.move(path, folder / path.name)
    path.symlink_to(folder / path.name)


def pipe(path: Path) -> None:
    """A named pipe in place of what lies there."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def flip(path: Path) -> None:
    replace(path, flipped(path, random.Random(SEED)))


@pytest.mark.demo
def test_linked_folders_are_entered_once(tmp_path):
    """As the message on a full disk advises; a link to a folder that it lies in ends nowhere."""
    results = tmp_path / "results" / "demo"
    for part in ("corpus", "decoding/asr/deu.parquet", "decoder/asr/deu"):
        source, target = DEMO / part, results / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=link)
        else:
            link(source, target)
    before = list(entries(results))
    (tmp_path / "other_disk").mkdir()
    away(results / "decoder" / "asr", tmp_path / "other_disk")
    assert list(entries(results)) == before
    whole = verify(demo_verification(results), 2)
    assert whole.problems == []
    chunk = results / "decoder" / "asr" / "deu" / "step-06.zarr" / "activation" / "c.0.0"
    flip(chunk)
    (results / "decoder" / "asr" / "deu" / "again").symlink_to(results)
    strange, damaged = sorted(verify(demo_verification(results), 2).problems)
    assert "decoder/asr/deu/again: this folder is not entered" in strange
    assert "step-06.zarr: activation/c.0.0: damaged" in damaged


# What the rules of the demo name, and the checks of one result alone do not.
LOST = (
    "causal/medians/text_encoder.zarr/zarr.json", "steering/texts/asr/deu/step-01.parquet",
    "causal/texts/decoder/deu/asr.parquet", "steering/effects.csv", "report.html",
)  # fmt: skip
OTHER_KIND = {
    "figures/figure4.png": "a named pipe", "modality/neurons.csv": "a folder",
    "speech/deu/takes.jsonl": "a named pipe", "speech/fra/takes.jsonl": "a folder",
    "speech/fra/first_attempts.json": "a named pipe", "inequality/gini.csv": "a link that leads nowhere",
}  # fmt: skip
PIPES_WITHIN = (
    "figures/figure6.svg-metadata.json", "decoder/tr/spa/step-01.zarr/activation/c.0.0",
    "ranking/speech_encoder.zarr/zarr.json-metadata.json", "encoder/text/jpn.zarr/dump.json",
)  # fmt: skip


@pytest.mark.demo
def test_lost_results_other_kinds_of_files_and_linked_folders_are_named(tmp_path):
    """By the rules' own word for what they make; no named pipe is waited for."""
    results = finished_demo(tmp_path) / "results" / "demo"
    for name in LOST:
        (results / name).unlink()
        metadata_path(results / name).unlink()
    for name, kind in OTHER_KIND.items():
        path = results / name
        path.unlink(missing_ok=True)
        if kind == "a named pipe":
            pipe(path)
        elif kind == "a folder":
            path.mkdir()
        else:
            path.symlink_to("nothing")
    for name in PIPES_WITHIN:
        pipe(results / name)
    (tmp_path / "other_disk").mkdir()
    away(results / "decoder" / "asr", tmp_path / "other_disk")
    flip(results / "decoder" / "asr" / "jpn" / "step-11.zarr" / "activation" / "c.0.0")
    (results / "notes\nof mine").write_text("x")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2",
         "--directory", str(tmp_path), "verify"],
        cwd=tmp_path, env=os.environ | {"COLUMNS": "200"}, text=True, capture_output=True, check=False,
        timeout=300,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"problems, {len(LOST)} not there yet" in said
    (line,) = [one for one in said.splitlines() if one.startswith("not there yet, or lost: ")]
    for name in LOST:
        assert f"results/demo/{name.removesuffix('/zarr.json')}" in line
    for name, kind in OTHER_KIND.items():
        assert f"results/demo/{name}: expected a file, got {kind}" in said
    for name in PIPES_WITHIN:
        lines = [one for one in said.splitlines() if one.startswith(f"results/demo/{name}: ")]
        assert lines
        assert all("a named pipe" in one for one in lines)
    assert "results/demo/decoder/asr/jpn/step-11.zarr: activation/c.0.0: damaged" in said
    assert "not of this configuration" not in said
    lines = said.splitlines()
    assert any(one.startswith("results/demo/notes\\nof mine: no check knows") for one in lines)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file", "expected the folder of a store, got a file"),
        ("pipe", "expected the folder of a store, got a named pipe"),
        ("link", "expected the folder of a store, got a link that leads nowhere"),
        ("mark", "zarr.json: expected a file, got a named pipe"),
        ("lost", "its zarr.json was lost"),
    ],
)
def test_what_lies_in_place_of_a_store_is_named(tmp_path, name, words):
    path = tmp_path / "encoder" / "text" / "deu.zarr"
    path.parent.mkdir(parents=True)
    if name == "file":
        path.write_bytes(b"x")
    elif name == "pipe":
        pipe(path)
    elif name == "link":
        path.symlink_to("nothing")
    else:
        path.mkdir()
        if name == "mark":
            pipe(path / "zarr.json")
    (part,) = Verification(tmp_path, ["deu"], ["t2t"], [1], {}, "float16", 60).parts()
    (said,) = _checked(part)
    assert words in said
    assert isinstance(said, Note) == (name == "lost")


@pytest.mark.demo
def test_commands_name_ten_results_and_then_rules(tmp_path, capsys):
    results = tmp_path / "results" / "demo"
    for part in ("corpus", "decoder", "decoding"):
        shutil.copytree(DEMO / part, results / part, copy_function=link)
    damaged = sorted((results / "decoder").glob("*/*/step-01.zarr"))
    for store in damaged:
        flip(store / "activation" / "c.0.0")
    wanted = demo_verification(results)
    with pytest.raises(ValueError, match=f"{len(damaged)} problems"):
        print_verification(
            2, results=results, languages=wanted.languages, tasks=wanted.tasks, steps=wanted.steps,
            made_by=wanted.made_by, dtype="float16", n_utterances=60,
        )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    (removed,) = [one for one in lines if one.startswith("rm -r ")]
    (again, rules) = [one for one in lines if one.startswith("snakemake ")]
    assert removed.split()[2:] == [str(store) for store in damaged[:10]]
    assert again.split()[3:] == [str(store / "zarr.json") for store in damaged[:10]]
    assert f"and {len(damaged) - 10} more (above)" in "\n".join(lines)
    assert rules == "snakemake --cores all --forcerun capture"


def test_journals_wait_for_no_named_pipe(tmp_path):
    (tmp_path / "deu").mkdir()
    for name in ("takes.jsonl", "first_attempts.json"):
        pipe(tmp_path / "deu" / name)
    with pytest.raises(ValueError, match="expected a file, got a named pipe"):
        Journal(tmp_path / "deu" / "takes.jsonl")
    assert first_attempts(tmp_path / "deu" / "first_attempts.json", "espeak") == {}
