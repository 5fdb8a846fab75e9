"""Config files and ``--config`` are read strictly, and a configuration means the same everywhere."""

import itertools
import json
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from steplens.config.files import origin_note, read_settings, require_one_option
from steplens.config.run import Config, parse_config
from steplens.errors import ConfigError

# Eight levels of ten aliases: a hundred million values of a file of a few hundred bytes.
BOMB = f"a: &a [{'x, ' * 10}]\n"
for _old, _new in itertools.pairwise("abcdefgh"):
    BOMB += f"{_new}: &{_new} [{f'*{_old}, ' * 10}]\n"


def write(folder, text, name="mine.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(path, *arguments):
    """The lines of the refusal, without its heading."""
    with pytest.raises(ConfigError) as refusal:
        read_settings([path] if path else [], arguments)
    return str(refusal.value).splitlines()[1:]


PLAIN = """\
run: 010
seed: 7
languages: [deu, no, 'jpn', "cmn"]
output_language: on
steps: [1, +6]
model: {revision: ~, device: cpu}
corpus: {n_utterances: 8, splits: [2024-01-01, 1_2]}
speech:
  xtts: {accept_cpml: Yes, speaker: 1:00}
  checks: {leave_out_flagged: off, max_cer: 1, max_silent_share: 5e-1, min_seconds_per_character: .01}
  other_engine:
encoding: {fixed_seconds: .nan}
steering: {pairs: &pairs [[deu, jpn]]}
"""


def test_every_value_is_read_by_the_type_of_its_key(tmp_path):
    """A text is what stands there, whatever YAML 1.1 would make of it; a number is a number."""
    found = read_settings([write(tmp_path, PLAIN)])
    assert found["encoding"]["fixed_seconds"] != found["encoding"].pop(
        "fixed_seconds"
    )  # not a number
    assert found == {
        "run": "010", "seed": 7, "languages": ["deu", "no", "jpn", "cmn"], "output_language": "on",
        "steps": [1, 6], "model": {"revision": None, "device": "cpu"},
        "corpus": {"n_utterances": 8, "splits": ["2024-01-01", "1_2"]},
        "speech": {
            "xtts": {"accept_cpml": True, "speaker": "1:00"},
            "checks": {"leave_out_flagged": False, "max_cer": 1.0, "max_silent_share": 0.5,
                       "min_seconds_per_character": 0.01},
            "other_engine": None,
        },
        "encoding": {}, "steering": {"pairs": [["deu", "jpn"]]},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml", "default.yaml"])
def test_plain_files_are_read_as_yaml_reads_them(name):
    path = ROOT / "config" / name
    assert read_settings([path]) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read_as_well(tmp_path, indent):
    """As a plan hands it on: every key, in any layout."""
    everything = parse_config({"speech": {"xtts": {"speaker": "größe"}}}).model_dump()
    for ascii_only in (True, False):
        text = json.dumps(everything, indent=indent, ensure_ascii=ascii_only)
        assert read_settings([write(tmp_path, text, "all.json")]) == everything


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: 1\n\nsteps: [1]\nseed: 1\n", ["mine.yaml:4: seed: ", "twice, in lines 1 and 4"]),
        ("corpus: {n_utterances: 9}\ncorpus: {splits: [dev]}\n", ["mine.yaml:2: corpus: ", "lines 1 and 2"]),
        ("corpus:\n  n_utterances: 12\n  n_utterances: 40\n",
         ["mine.yaml:3: corpus.n_utterances: ", "lines 2 and 3"]),
        ("seed: yes\n", ["mine.yaml:1: seed: ", "whole number", "got yes", "true", "write the number"]),
        ("seed: Off\n", ["got Off", "takes for false"]),
        ("steering:\n  k: 010\n", ["mine.yaml:2: steering.k: ", "got 010", "octal, 8", "write 10 or 8"]),
        ("steps: [1, 08]\n", ["steps: ", "got 08", "octal", "write 8"]),
        ("seed: 1:00\n", ["got 1:00", "takes for 60", "write 60"]),
        ("seed: 1_2\n", ["got 1_2", "takes for 12", "write 12"]),
        ("seed: 0x1F\n", ["got 0x1F", "takes for 31"]),
        ("seed: 0b11\n", ["got 0b11", "takes for 3"]),
        ("speech: {checks: {max_cer: 1_0.5}}\n", ["speech.checks.max_cer: ", "a number", "takes for 10.5"]),
        ("encoding: {fixed_seconds: 1:30.5}\n", ["encoding.fixed_seconds: ", "takes for 90.5"]),
        ("seed: !!int '3'\n", ["mine.yaml:1: ", "the tag"]),
        ("seed: !!python/object/apply:os.getcwd []\n", ["mine.yaml:1: ", "the tag"]),
        ("seed: [1\nsteps: 2\n", ["mine.yaml:2: expected YAML"]),
        ("\tseed: 1\n", ["mine.yaml:1: expected YAML"]),
        ("a: &a {seed: 1}\ncorpus: {<<: *a}\n", ["mine.yaml:2: corpus: ", "<<, which merges"]),
        ("? [1, 2]\n: 3\n", ["mine.yaml:1: ", "expected a key of letters"]),
        ("- seed\n", ["mine.yaml: expected keys with their values", "['seed']"]),
        ("[" * 100_000, ["mine.yaml:1: ", "at most 12 levels"]),
        ("seed: &a [*a]\n", ["mine.yaml:1: seed: ", "aliases"]),
        (f"{BOMB}languages: *h\n", ["at most 10,000 values", "write the values themselves"]),
        ("#" * 2_000_001, ["mine.yaml: expected at most 2,000,000 bytes", "2,000,001"]),
    ],
    ids=range(24),
)  # fmt: skip
def test_what_yaml_would_take_for_something_else_is_refused_with_its_line(tmp_path, text, words):
    (line,) = problems(write(tmp_path, text))
    assert str(tmp_path) in line
    for one in words:
        assert one in line
    assert len(line) < 500


def test_several_faults_of_several_files_are_told_at_once(tmp_path):
    first, second = (
        write(tmp_path, "seed: 010\nsteps: [yes]"),
        write(tmp_path, "seed: 1_0", "b.yaml"),
    )
    with pytest.raises(ConfigError) as refusal:
        read_settings([first, second])
    assert re.findall(r"(\w+\.yaml:\d): (\w+)", str(refusal.value)) == [
        ("mine.yaml:1", "seed"), ("mine.yaml:2", "steps"), ("b.yaml:1", "seed"),
    ]  # fmt: skip


def test_what_is_no_file_or_no_text_is_refused(tmp_path):
    """A pipe is empty when a job reads it again."""
    assert "expected a file" in problems(tmp_path)[0]
    assert "expected a file" in problems(tmp_path / "missing.yaml")[0]
    (tmp_path / "latin.yaml").write_bytes("run: größe".encode("latin-1"))
    assert "expected UTF-8" in problems(tmp_path / "latin.yaml")[0]


def test_later_sources_go_before_earlier_ones(tmp_path):
    """Sections are merged, lists replaced; the command line is last, and may empty a key."""
    one = write(tmp_path, "seed: 1\nsteps: [1, 6]\ncausal: {step: 6, ks: [1, 2]}", "one.yaml")
    two = write(tmp_path, "steps: [6]\ncausal: {ks: [3]}", "two.yaml")
    found = read_settings(
        [one, two], ["causal={step: null}", "seed=3", "run=mine", "model={revision: None}"]
    )
    assert found == {
        "seed": 3, "steps": [6], "run": "mine", "causal": {"step": None, "ks": [3]},
        "model": {"revision": None},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("steering={k: 010}", ["--config: steering.k: ", "octal, 8"]),
        ("seed=1_2", ["--config: seed: ", "takes for 12"]),
        ("seed=yes", ["--config: seed: ", "true"]),
        ("steering={k: 1, k: 2}", ["--config: steering.k: ", "twice, in the command line"]),
        ("steps=[1", ["--config: steps: expected YAML, got '[1'"]),
    ],
)
def test_the_command_line_is_read_as_strictly(argument, words):
    (line,) = problems(None, argument)
    for one in words:
        assert one in line


def test_a_key_or_an_option_stands_once_on_the_command_line():
    """Two keys of one section may."""
    (line,) = problems(None, "seed=1", "run=a", "seed=2")
    assert "--config: seed: expected each key once" in line
    (line,) = problems(None, "causal={step: 1}", "causal={step: 2}")
    assert "causal.step" in line
    assert read_settings([], ["causal={step: 1}", "causal={ks: [2]}"]) == {
        "causal": {"step": 1, "ks": [2]}
    }
    require_one_option(
        ["snakemake", "--config", "seed=1", "run=a", "--configfile", "a.yaml", "b.yaml"]
    )
    for command in (
        ["--config", "seed=1", "--config", "run=a"],
        ["-C", "seed=1", "--config=run=a"],
        ["--configfile", "a.yaml", "--configfile=b.yaml"],
        ["--configfiles", "a.yaml", "--configfile", "b.yaml"],
    ):
        with pytest.raises(ConfigError, match="expected it once, got it 2 times"):
            require_one_option(command)


def test_a_run_says_where_its_settings_come_from():
    assert "the demo, config/config.yaml" in origin_note(Config(), [])
    assert "the demo's toy model" in origin_note(
        parse_config({"model": {"device": "cpu"}}), ["a.yaml"]
    )
    own = parse_config({"model": {"path": "a/b", "revision": "0" * 40}})
    assert origin_note(own, ["a.yaml", "b.yaml"]) == "Configuration: a.yaml, b.yaml."


# --- Snakemake -------------------------------------------------------------------------------------


def snakemake(folder, *options, project=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(project / "Snakefile"), "--cores", "1",
         *options],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip


def test_a_run_refuses_what_stands_twice(tmp_path):
    """With --quiet all, of a plan and of a dry run, which Snakemake tells on stdout: the reason, once."""
    wrong = write(tmp_path, "seed: 1\nseed: 2\n")
    for target in ("plan", "--dry-run"):
        result = snakemake(tmp_path, target, "--quiet", "all", "--configfile", str(wrong))
        assert result.returncode != 0
        assert (result.stdout + result.stderr).count(
            "mine.yaml:2: seed: expected each key once"
        ) == 1
    result = snakemake(tmp_path, "plan", "--quiet", "all", "--config", "steering={k: 010}")
    assert "steering.k: expected a whole number" in result.stderr
    result = snakemake(tmp_path, "compare_speech", "--quiet", "all")
    assert "compare_speech: expected speech.other_engine" in result.stderr


@pytest.mark.parametrize(
    "given", ["", "run: mine\nlanguages: [deu, cmn]\nsteering: {n_random: 1}\n"]
)
def test_a_configuration_means_the_same_in_every_folder(tmp_path, given):
    """With and without --directory, called from here or there: a plan, down to the bytes, is the same."""
    options = ["plan"]
    if given:
        options += ["--configfile", str(write(tmp_path, given))]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plans = [
        snakemake(tmp_path, *options),
        snakemake(ROOT, *options, "--directory", str(elsewhere), "--nolock"),
    ]
    for one in plans:
        assert one.returncode == 0, one.stderr
    texts = {re.sub(r"(?m)^.*(free|plan:).*$", "", one.stdout) for one in plans}
    assert len(texts) == 1
    assert "Plan of results/" in texts.pop()


def test_a_user_s_file_stands_on_the_defaults(tmp_path):
    """Not on the demo's numbers: the demo steers 200 neurons, the default is 400."""
    demo = parse_config(read_settings([ROOT / "config" / "config.yaml"]))
    assert demo.steering.k != Config().steering.k
    path = write(tmp_path, "run: mine\n")
    result = snakemake(tmp_path, "results/mine/corpus/deu.parquet", "--configfile", str(path))
    assert result.returncode == 0, result.stderr
    assert "It names no model.path" in result.stderr
    assert (tmp_path / "results" / "mine" / "corpus" / "deu.parquet").exists()
